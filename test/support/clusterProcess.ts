/** A process of a cluster, which tells its parent what it runs. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner } from "@stacksapi/core"
import { NodeStacksClient } from "@stacksapi/node"
import * as ClusterStack from "@stacksapi/node/ClusterStack"
import { Effect, Redacted, Schedule } from "effect"
import * as Postgres from "./postgres.ts"

/** What the parent decides. */
export interface Order {
  readonly baseUrl: string
  readonly databaseUrl: string
  readonly options: ClusterStack.Options
  /** Hands its jobs to agents, which the parent keeps. */
  readonly withAgents: boolean
}

/** From the process to its parent. */
export type Message =
  | { readonly type: "began" | "ended"; readonly jobUuid: string }
  | { readonly type: "agent"; readonly jobUuid: string; readonly token: string }
  | { readonly type: "status"; readonly leading: ReadonlyArray<string>; readonly running: number }

const tell = (message: Message): Effect.Effect<void> =>
  Effect.callback((resume) => {
    process.send?.(message, () => resume(Effect.void))
  })

const order: Order = JSON.parse(process.argv[2] ?? "")

const runner = JobRunner.layer(({ acquisitionToken, job, state }) =>
  Effect.gen(function* () {
    yield* tell({ type: "began", jobUuid: job.id })
    if (order.withAgents) {
      yield* tell({ type: "agent", jobUuid: job.id, token: Redacted.value(yield* acquisitionToken) })
      // The agent ends when the job is over.
      yield* state.pipe(
        Effect.repeat({ schedule: Schedule.spaced("500 millis"), until: (state) => state === "finished" })
      )
    } else {
      yield* Effect.sleep(100 + Number.parseInt(job.id.slice(-2), 16))
    }
    yield* tell({ type: "ended", jobUuid: job.id })
    return order.withAgents ? JobRunner.AgentOwned : JobRunner.Finished({ exitStatus: 0, detail: "done" })
  })
)

const program = Effect.gen(function* () {
  const cluster = yield* ClusterStack.make(order.options)
  const report = Effect.flatMap(cluster.status, ({ leading, running }) =>
    tell({ type: "status", leading: leading.map(({ stackKey }) => stackKey), running: running.length })
  )
  yield* Effect.forkScoped(Effect.repeat(report, Schedule.spaced("250 millis")))
  return yield* cluster.awaitFailure
}).pipe(
  Effect.scoped,
  Effect.provide([
    runner,
    NodeStacksClient.layer({ token: Redacted.make("bkct_emulator"), baseUrl: order.baseUrl }),
    Postgres.layerClient(order.databaseUrl)
  ])
)

NodeRuntime.runMain(program)
