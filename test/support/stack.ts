/** A registered stack on the emulator, in process. */
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Layer } from "effect"

export const stackKey = "s"

export const layer = StacksEmulator.layerClient.pipe(Layer.provideMerge(StacksEmulator.layer()))

/** Registers the stack, adds jobs to its queue, and gives their ids. */
export const jobs = Effect.fnUntraced(function* (count: number) {
  const client = yield* StacksClient.StacksClient
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* client.registerStack({ key: stackKey, type: "custom", queueKey: "q" })
  const added = yield* emulator.addJobs(Array.from({ length: count }, () => ({ queueKey: "q" })))
  return added.map(({ id }) => id)
})

/** The requests of one operation that arrived. */
export const requestsOf = Effect.fnUntraced(function* (operation: string) {
  const { requests } = yield* StacksEmulator.StacksEmulator
  return (yield* requests).filter((request) => request.operation === operation)
})
