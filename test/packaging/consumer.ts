/** The program that `scripts/smoke.ts` runs against the packed tarballs, as a user of them would. */
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Layer } from "effect"

const program = Effect.gen(function* () {
  const client = yield* StacksClient.StacksClient
  const stack = yield* client.registerStack({ key: "smoke", type: "custom", queueKey: "default" })
  yield* Effect.log(`registered ${stack.key}`)
})

await Effect.runPromise(Effect.provide(program, Layer.provide(StacksEmulator.layerClient, StacksEmulator.layer())))
