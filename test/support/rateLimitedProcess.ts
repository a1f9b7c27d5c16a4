/** A process that lists jobs as often as it may, by a limit that it shares with others. It starts when it is told to. */
import { RetryPolicy, StacksClient } from "@stacksapi/core"
import { NodeStacksClient } from "@stacksapi/node"
import * as RedisRateLimit from "@stacksapi/node/RedisRateLimit"
import { Effect, Layer, Logger } from "effect"

/** From the environment: BUILDKITE_AGENT_ENDPOINT, BUILDKITE_CLUSTER_TOKEN, REDIS_URL, STACKSAPI_PROCESSES. */
const client = NodeStacksClient.layerConfig.pipe(
  Layer.provide(RedisRateLimit.layerConfig),
  Layer.provide(RetryPolicy.layerNone)
)

const program = Effect.gen(function* () {
  const { listScheduledJobs, registerStack } = yield* StacksClient.StacksClient
  // Connects, and loads what is loaded at the first use.
  yield* registerStack({ key: "s", type: "custom", queueKey: "q" })
  yield* Effect.callback<void>((resume) => {
    process.once("message", () => resume(Effect.void))
    process.send?.("ready")
  })
  const call = Effect.ignore(listScheduledJobs({ stackKey: "s", clusterQueueKey: "q" }))
  yield* Effect.forEach(Array.from({ length: 5 }), () => Effect.forever(call), {
    concurrency: "unbounded",
    discard: true
  })
})

// Its parent ends it.
process.once("disconnect", () => process.exit())
Effect.runFork(program.pipe(Effect.provide([client, Logger.layer([])])))
