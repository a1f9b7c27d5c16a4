/** The process that is flooded: a stack with a health server: `node bench/flood/target.ts <base URL of the service>`. */
import { JobRunner, RateLimit, Stack } from "@stacksapi/core"
import { HealthServer, NodeStacksClient } from "@stacksapi/node"
import { Effect, Layer, Redacted } from "effect"

const client = NodeStacksClient.layer({ token: Redacted.make("bkct_emulator"), baseUrl: process.argv[2] ?? "" })

let peak = 0
setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss())
}, 50)

process.on("message", () => process.send?.({ rss: process.memoryUsage.rss(), peak, cpu: process.cpuUsage().user }))

await Effect.runPromise(
  Effect.gen(function* () {
    const health = yield* HealthServer.HealthServer
    const stack = yield* Stack.make({ key: "flooded", queueKey: "q", pollInterval: "1 second" })
    yield* health.watch(stack)
    process.send?.({ url: health.url })
    return yield* stack.awaitFailure
  }).pipe(
    Effect.scoped,
    Effect.provide([HealthServer.layer({ port: 0 }), JobRunner.layer(() => Effect.never)]),
    Effect.provide(Layer.mergeAll(client, RateLimit.layerMemory))
  )
)
