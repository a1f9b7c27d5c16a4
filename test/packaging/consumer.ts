/** The program that `scripts/smoke/main.ts` runs against the packed tarballs, as a user of them would. */
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Layer } from "effect"

const program = Effect.gen(function* () {
  const client = yield* StacksClient.StacksClient
  const stack = yield* client.registerStack({ key: "smoke", type: "custom", queueKey: "default" })
  yield* Effect.log(`registered ${stack.key}`)
})

/** The emulator's page has files of its own. */
const page = Effect.gen(function* () {
  const { baseUrl } = yield* StacksEmulator.StacksEmulator
  for (const path of ["/", "/ui/page.css", "/ui/main.js"]) {
    const { status } = yield* Effect.promise(() => fetch(new URL(path, baseUrl)))
    if (status !== 200) return yield* Effect.die(`${path}: ${status}`)
  }
})

await Effect.runPromise(Effect.provide(page, NodeStacksEmulator.layer()))
await Effect.runPromise(Effect.provide(program, Layer.provide(StacksEmulator.layerClient, StacksEmulator.layer())))
