/**
 * Step 8: logs, metrics and health checks. For OTLP, see examples/observability.ts.
 *
 *     node examples/guide/08-observability.ts
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { HealthServer, NodeStacksEmulator } from "@stacksapi/node"
import { Console, Effect, Layer, Logger } from "effect"
import { HttpClient } from "effect/http"

const Runner = JobRunner.layer(
  Effect.fn(function* ({ job }) {
    yield* Effect.log("running").pipe(Effect.annotateLogs({ job: job.id, pipeline: job.pipeline.slug }))
    return JobRunner.Finished({ exitStatus: 0, detail: "done" })
  })
)

const program = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs([{ id: "job", queueKey: "_default", pipeline: { slug: "my-app" } }])

  // The server comes first: it responds before the stack is registered, and while it drains.
  const health = yield* HealthServer.HealthServer
  const stack = yield* Stack.make({ key: "guide", queueKey: "_default" })
  yield* health.watch(stack)
  yield* Effect.raceFirst(stack.awaitIdle, stack.awaitFailure)

  const get = (path: string) => Effect.flatMap(HttpClient.get(`${health.url}${path}`), (response) => response.text)
  yield* Console.log(yield* get("/readyz"))
  const metrics = yield* get("/metrics")
  yield* Console.log(metrics.split("\n").find((line) => line.startsWith("stacksapi_jobs_started_total")))
}).pipe(Effect.scoped)

const Emulated = Layer.provideMerge(NodeStacksEmulator.layerClient, NodeStacksEmulator.layer())
NodeRuntime.runMain(
  Effect.provide(program, [
    Runner,
    Emulated,
    HealthServer.layer({ port: 0 }),
    // One JSON object per line, as log collectors expect.
    Logger.layer([Logger.consoleJson]),
    NodeHttpClient.layerUndici
  ])
)
