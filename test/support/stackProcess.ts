/**
 * A stack in a process of its own, which tells its parent what it runs: half of the jobs by itself, half by agents that the
 * parent keeps. It starts when it is told to.
 */
import { JobRunner, RateLimit, Stack, StacksClient } from "@stacksapi/core"
import { NodeStacksClient } from "@stacksapi/node"
import { Context, Effect, Layer, Logger, Redacted } from "effect"

/** From the process to its parent. */
export type Message =
  | { readonly type: "ready" }
  | { readonly type: "began" | "ended"; readonly jobUuid: string }
  | { readonly type: "agent"; readonly token: string }

const tell = (message: Message): Effect.Effect<void> =>
  Effect.callback((resume) => {
    process.send?.(message, () => resume(Effect.void))
  })

/** The parent's next word. */
const told = Effect.callback<void>((resume) => {
  process.once("message", () => resume(Effect.void))
})

const isEven = (jobUuid: string) => Number.parseInt(jobUuid.slice(-1), 16) % 2 === 0

const runner = JobRunner.layer(({ acquisitionToken, job }) =>
  Effect.gen(function* () {
    yield* tell({ type: "began", jobUuid: job.id })
    yield* Effect.sleep(100 + (Number.parseInt(job.id.slice(-2), 16) % 200))
    if (isEven(job.id)) yield* tell({ type: "agent", token: Redacted.value(yield* acquisitionToken) })
    yield* tell({ type: "ended", jobUuid: job.id })
    return isEven(job.id) ? JobRunner.AgentOwned : JobRunner.Finished({ exitStatus: 0, detail: "done" })
  })
)

const client = NodeStacksClient.layer({
  token: Redacted.make("bkct_emulator"),
  baseUrl: process.argv[2] ?? StacksClient.DefaultBaseUrl
})

const program = Effect.gen(function* () {
  // All that is loaded at the first use is loaded before the start.
  const context = yield* Layer.build(Layer.merge(client, runner))
  yield* tell({ type: "ready" })
  yield* told
  return yield* Effect.provideContext(
    Stack.run({ key: "s", queueKey: "q", maxInFlight: 20, reservationExpiry: "2 seconds" }),
    Context.add(context, RateLimit.RateLimit, RateLimit.none)
  )
})

Effect.runFork(program.pipe(Effect.scoped, Effect.provide(Logger.layer([]))))
