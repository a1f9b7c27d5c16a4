/**
 * Step 1: the service on your own machine.
 *
 *     node examples/guide/01-emulator.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Console, Effect, Layer } from "effect"

// The emulator over HTTP, on a free port of this machine, and a client for it.
const Emulated = Layer.provideMerge(NodeStacksEmulator.layerClient, NodeStacksEmulator.layer())

const program = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs([
    { queueKey: "_default", command: "make lint", pipeline: { slug: "my-app" }, build: { number: 7 } },
    { queueKey: "_default", command: "make test", pipeline: { slug: "my-app" }, build: { number: 7 } }
  ])

  const client = yield* StacksClient.StacksClient
  yield* client.registerStack({ key: "guide", type: "custom", queueKey: "_default" })
  const { jobs } = yield* client.listScheduledJobs({ stackKey: "guide", clusterQueueKey: "_default" })
  for (const { build, id, pipeline } of jobs) {
    const { command } = yield* client.getJob({ stackKey: "guide", jobUuid: id })
    yield* Console.log(`${pipeline.slug} #${build.number} waits with: ${command}`)
  }
  yield* client.deregisterStack({ stackKey: "guide" })
})

NodeRuntime.runMain(Effect.provide(program, Emulated))
