/** A process of a cluster, which tells its parent what it runs. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner } from "@stacksapi/core"
import { HealthServer, NodeStacksClient } from "@stacksapi/node"
import * as ClusterStack from "@stacksapi/node/ClusterStack"
import * as RedisRateLimit from "@stacksapi/node/RedisRateLimit"
import { Clock, Effect, Layer, Redacted, Schedule } from "effect"
import * as Postgres from "./postgres.ts"

/** What the parent decides. */
export interface Order {
  /** What its requests are known by. */
  readonly name: string
  readonly baseUrl: string
  readonly databaseUrl: string
  /** By which it shares the rate limits with the others. */
  readonly redisUrl: string | undefined
  readonly options: ClusterStack.Options
  /** Hands its jobs to agents, which the parent keeps. */
  readonly withAgents: boolean
}

/** From the process to its parent. */
export type Message =
  | { readonly type: "began" | "continues" | "ended"; readonly jobUuid: string; readonly at: number }
  | { readonly type: "agent"; readonly jobUuid: string; readonly token: string }
  | { readonly type: "health"; readonly url: string }
  | { readonly type: "status"; readonly leading: ReadonlyArray<string>; readonly running: number }

const tell = (message: Message): Effect.Effect<void> =>
  Effect.callback((resume) => {
    process.send?.(message, () => resume(Effect.void))
  })

const order: Order = JSON.parse(process.argv[2] ?? "")

const tellOf = (jobUuid: string, type: "began" | "continues" | "ended") =>
  Effect.flatMap(Clock.currentTimeMillis, (at) => tell({ type, jobUuid, at }))

/** A job's command says how many milliseconds it takes. It shows now and then that it goes on. */
const step = 100

const runner = JobRunner.layer(({ acquisitionToken, details, job, state }) =>
  Effect.gen(function* () {
    const { command } = yield* details
    yield* tellOf(job.id, "began")
    if (order.withAgents) {
      yield* tell({ type: "agent", jobUuid: job.id, token: Redacted.value(yield* acquisitionToken) })
      // The agent ends when the job is over.
      yield* state.pipe(
        Effect.repeat({ schedule: Schedule.spaced("500 millis"), until: (state) => state === "finished" })
      )
    } else {
      for (let left = Number(command); left > 0; left -= step) {
        yield* Effect.sleep(Math.min(left, step))
        yield* tellOf(job.id, "continues")
      }
    }
    return order.withAgents ? JobRunner.AgentOwned : JobRunner.Finished({ exitStatus: 0, detail: "done" })
  }).pipe(Effect.ensuring(tellOf(job.id, "ended")))
)

const limits =
  order.redisUrl === undefined
    ? Layer.empty
    : RedisRateLimit.layer({ url: Redacted.make(order.redisUrl), processes: 3 })

const client = NodeStacksClient.layer({
  token: Redacted.make("bkct_emulator"),
  baseUrl: order.baseUrl,
  userAgentPrefix: order.name
}).pipe(Layer.provide(limits))

const program = Effect.gen(function* () {
  const cluster = yield* ClusterStack.make(order.options)
  const health = yield* HealthServer.make({ port: 0 })
  yield* health.watch(cluster)
  yield* tell({ type: "health", url: health.url })
  const report = Effect.flatMap(cluster.status, ({ leading, running }) =>
    tell({ type: "status", leading: leading.map(({ stackKey }) => stackKey), running: running.length })
  )
  yield* Effect.forkScoped(Effect.repeat(report, Schedule.spaced("250 millis")))
  return yield* cluster.awaitFailure
}).pipe(Effect.scoped, Effect.provide([runner, client, Postgres.layerClient(order.databaseUrl)]))

// Without its parent nobody would end it.
process.once("disconnect", () => process.exit(1))
NodeRuntime.runMain(program)
