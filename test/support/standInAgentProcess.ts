/** A stack in a process of its own, whose jobs are run by stand-in agents, as a user's program would be. */
import { NodeRuntime } from "@effect/platform-node"
import { RateLimit, Stack } from "@stacksapi/core"
import { AgentRunner, NodeStacksClient } from "@stacksapi/node"
import { Effect, Layer } from "effect"

const [agentPath = "", buildPath = "", plans = ""] = process.argv.slice(2)

Stack.run({
  key: "s",
  queueKey: "q",
  maxInFlight: 8,
  shutdownGrace: "30 seconds",
  onEvent: (event) => Effect.sync(() => void process.send?.(event._tag))
}).pipe(
  Effect.provide(
    Layer.mergeAll(
      NodeStacksClient.layerConfig,
      RateLimit.layerNone,
      AgentRunner.layer({
        agentPath,
        buildPath,
        cancelGracePeriod: "1 second",
        env: { STAND_IN_PLANS: plans },
        logDirectory: `${buildPath}/logs`
      })
    )
  ),
  NodeRuntime.runMain
)
