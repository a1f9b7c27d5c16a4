/** A stack with many agents elsewhere, in a process of its own. The parent keeps the agents. Started by `main.ts`. */
import { AgentProvider, Stack } from "@stacksapi/core"
import { FileJobStore, NodeStacksClient } from "@stacksapi/node"
import { Effect, Layer, Logger, Redacted, Stream } from "effect"

export interface Settings {
  readonly baseUrl: string
  readonly store: string
  readonly count: number
  readonly seconds: number
  /** Those that an earlier process has created. */
  readonly agents: ReadonlyArray<AgentProvider.Agent>
}

/** From the process to its parent. */
export type Message =
  | { readonly type: "created"; readonly agent: AgentProvider.Agent; readonly token: string }
  | { readonly type: "loaded" }
  | { readonly type: "watched"; readonly seconds: number; readonly creates: number }
  | { readonly type: "idle"; readonly core: number; readonly listings: number; readonly megabytes: number }

const tell = (message: Message) =>
  Effect.callback<void>((resume) => {
    process.send?.(message, () => resume(Effect.void))
  })

const main = Effect.fnUntraced(function* ({ agents, baseUrl, count, seconds, store }: Settings) {
  const all = new Map(agents.map((agent) => [agent.name, agent]))
  const calls = { list: 0, create: 0 }
  const Provider = Layer.succeed(AgentProvider.AgentProvider, {
    create: ({ job, name, token }) => {
      calls.create++
      const agent: AgentProvider.Agent = { name, jobUuid: job.id, phase: "Running" }
      all.set(name, agent)
      return tell({ type: "created", agent, token: Redacted.value(token) })
    },
    list: () =>
      Effect.sync(() => {
        calls.list++
        // As an API gives them: new values each time.
        return Array.from(all.values(), (agent) => ({ ...agent }))
      }),
    delete: ({ name }) => Effect.sync(() => void all.delete(name))
  })
  yield* tell({ type: "loaded" })
  const begin = performance.now()
  return yield* Effect.gen(function* () {
    const stack = yield* Stack.make({ key: "s", queueKey: "q", maxInFlight: count })
    yield* stack.events.pipe(
      Stream.filter(({ _tag }) => _tag === "Started"),
      Stream.take(count),
      Stream.runDrain
    )
    // The next listing tells every job's run what its agent does.
    const listed = calls.list
    yield* Effect.sync(() => calls.list > listed).pipe(Effect.delay(10), Effect.repeat({ until: (is) => is }))
    yield* tell({ type: "watched", seconds: (performance.now() - begin) / 1000, creates: calls.create })
    if (seconds === 0) return yield* Effect.never
    // What the start has left behind is collected meanwhile.
    yield* Effect.sleep("30 seconds")
    const before = process.cpuUsage()
    const listings = calls.list
    yield* Effect.sleep(seconds * 1000)
    const { system, user } = process.cpuUsage(before)
    const megabytes = process.memoryUsage().rss / 1e6
    yield* tell({ type: "idle", core: (system + user) / 1e6 / seconds, listings: calls.list - listings, megabytes })
    return yield* Effect.never
  }).pipe(
    Effect.scoped,
    Effect.provide([
      Layer.provide(AgentProvider.layerRunner({ createConcurrency: 100 }), Provider),
      FileJobStore.layer({ path: store }),
      NodeStacksClient.layer({ baseUrl, token: Redacted.make("bkct_emulator") })
    ])
  )
})

process.once("message", (settings: Settings) => {
  Effect.runFork(main(settings).pipe(Effect.provide(Logger.layer([]))))
})
