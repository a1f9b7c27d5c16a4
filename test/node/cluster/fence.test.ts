/** Requests of a process that lost what they are about while they waited for a connection. */
import { assert, it } from "@effect/vitest"
import { RetryPolicy, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksClient, NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Layer } from "effect"
import { Fence } from "../../../packages/node/src/internal/client/fence.ts"

it.effect("A request that waits for a connection is not sent if the lease has ended", () =>
  Effect.gen(function* () {
    const { baseUrl, requests, token } = yield* StacksEmulator.StacksEmulator
    const register = Effect.gen(function* () {
      const client = yield* StacksClient.StacksClient
      return yield* client.registerStack({ key: "s", type: "custom", queueKey: "q" })
    }).pipe(Effect.provide(NodeStacksClient.layer({ baseUrl, token })))
    let asked = 0
    const fence = () => {
      asked++
      return false
    }
    const error = yield* Effect.flip(Effect.provideService(register, Fence, fence))
    assert.strictEqual(error._tag, "TransportError")
    assert.isAbove(asked, 0)
    assert.isEmpty(yield* requests)
    yield* register
    assert.lengthOf(yield* requests, 1)
  }).pipe(Effect.provide(Layer.merge(NodeStacksEmulator.layer({ page: false }), RetryPolicy.layerNone)))
)
