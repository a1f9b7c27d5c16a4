/**
 * Step 9: the program for production. All settings come from the environment.
 *
 *     BUILDKITE_CLUSTER_TOKEN=… STACK_BUILD_PATH=/var/lib/my-stack STACK_QUEUE=linux node main.ts
 *
 * `node main.ts --try-out` needs no settings: it runs on the emulator, with one job and without agents, and then stops as it does on
 * SIGTERM.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { AgentRunner, HealthServer, NodeStacksClient, NodeStacksEmulator } from "@stacksapi/node"
import { Config, Console, Effect, Fiber, Layer, Logger, Schema } from "effect"

// -----------------------------------------------------------------------------
// Settings
// -----------------------------------------------------------------------------

// Comma-separated, for example os=linux,arch=arm64: the tags of the agents. The stack takes only jobs whose rules they meet.
const tags = Config.withDefault(Config.Array(Schema.String, "STACK_TAGS"), [])

const stackSettings = Config.all({
  tags,
  // No two processes may have the same key, because they would run jobs twice.
  key: Config.withDefault(Config.String("STACK_KEY"), "my-stack"),
  queueKey: Config.withDefault(Config.String("STACK_QUEUE"), "_default"),
  maxInFlight: Config.withDefault(Config.Int("STACK_SLOTS"), 4),
  // How long running jobs may take to end after SIGTERM. The supervisor must wait 25 seconds longer before it kills the process.
  shutdownGrace: Config.withDefault(Config.Duration("STACK_SHUTDOWN_GRACE"), "10 minutes")
})

const healthSettings = Config.all({
  host: Config.withDefault(Config.String("HEALTH_HOST"), "127.0.0.1"),
  port: Config.withDefault(Config.Int("HEALTH_PORT"), 9090)
})

// -----------------------------------------------------------------------------
// The program
// -----------------------------------------------------------------------------

const program = Effect.gen(function* () {
  const health = yield* HealthServer.HealthServer
  const stack = yield* Stack.make(yield* stackSettings)
  yield* health.watch(stack)
  return yield* stack.awaitFailure
}).pipe(Effect.scoped)

const Health = Layer.unwrap(Effect.map(healthSettings, (settings) => HealthServer.layer(settings)))
const Agents = Layer.unwrap(
  Effect.map(Config.all({ buildPath: Config.String("STACK_BUILD_PATH"), tags }), (settings) =>
    AgentRunner.layer(settings)
  )
)
const Json = Logger.layer([Logger.consoleJson])

const production = Effect.provide(program, [Agents, Health, Json, NodeStacksClient.layerConfig])

// -----------------------------------------------------------------------------
// A demonstration
// -----------------------------------------------------------------------------

const Runner = JobRunner.layer(() => Effect.succeed(JobRunner.Finished({ exitStatus: 0, detail: "Nothing was run" })))

const tryOut = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs([{ id: "job", queueKey: "_default" }])
  const running = yield* Effect.forkChild(program)
  const isFinished = Effect.map(emulator.jobs, ([job]) => job?.state === "finished")
  const finished = Effect.repeat(Effect.delay(isFinished, "100 millis"), { until: (it) => it })
  yield* Effect.raceFirst(finished, Fiber.join(running))
  yield* Fiber.interrupt(running)
  yield* Console.log(
    `finished ${(yield* emulator.jobs).length} job, ${(yield* emulator.stacks).length} stacks are left`
  )
}).pipe(
  Effect.provide([
    Runner,
    HealthServer.layer({ port: 0 }),
    Json,
    Layer.provideMerge(NodeStacksEmulator.layerClient, NodeStacksEmulator.layer())
  ])
)

// -----------------------------------------------------------------------------
// The start
// -----------------------------------------------------------------------------

const main = process.argv.includes("--try-out") ? tryOut : production

// A missing setting ends the program with one sentence.
NodeRuntime.runMain(
  Effect.catchTag(main, "ConfigError", ({ message }) =>
    Effect.fail(`A setting is missing or can't be used: ${message.replace(/\s+/g, " ")}`)
  )
)
