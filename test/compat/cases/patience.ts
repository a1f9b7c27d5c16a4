/** Timeouts and interruptions: nothing is left behind. */
import { RetryPolicy, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Exit, Fiber } from "effect"
import { Emulator, rawServer } from "../support/remote.ts"
import { type Cases, clientWith, jobs, must, same, stackKey } from "../support/scene.ts"

const { Fault } = StacksEmulator

const job = { stackKey, jobUuid: "a" }

export const patience: Cases = {
  "an attempt that takes too long is a TransportError, and its connection is closed": Effect.gen(function* () {
    const server = yield* rawServer()
    const client = yield* clientWith({ baseUrl: server.baseUrl, timeout: "300 millis" })
    const error = yield* client.getJob(job).pipe(RetryPolicy.withPolicy(RetryPolicy.none), Effect.flip)
    must(error._tag === "TransportError", `${error} is a TransportError`)
    same([error.kind, error.mayHaveBeenProcessed], ["Timeout", true])
    yield* server.closed
  }),

  "an attempt that takes too long is tried again": Effect.gen(function* () {
    const { setFaults } = yield* Emulator
    const [id = ""] = yield* jobs(1)
    const client = yield* clientWith({ timeout: "3 seconds" })
    yield* setFaults([Fault.Stall({ times: 1 })])
    same((yield* client.getJob({ stackKey, jobUuid: id })).id, id)
  }),

  "an interruption ends a call at once, and closes its connection": Effect.gen(function* () {
    const server = yield* rawServer()
    const client = yield* clientWith({ baseUrl: server.baseUrl })
    const call = yield* Effect.forkChild(client.getJob(job))
    yield* server.request
    yield* Fiber.interrupt(call)
    must(Exit.hasInterrupts(yield* Fiber.await(call)), "it was interrupted")
    yield* server.closed
  }),

  "an interruption within a body closes the connection too": Effect.gen(function* () {
    const server = yield* rawServer({ body: `{"id": "a", "env": {}}`, half: true })
    const client = yield* clientWith({ baseUrl: server.baseUrl })
    const call = yield* Effect.forkChild(client.getJob(job))
    yield* server.request
    yield* Effect.sleep("100 millis")
    yield* Fiber.interrupt(call)
    yield* server.closed
  }),

  "Effect.timeout around a call ends it, retries and all": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const { setFaults } = yield* Emulator
    yield* setFaults([Fault.Stall({})])
    const call = client.getJob(job).pipe(Effect.timeout("200 millis"), Effect.flip)
    same((yield* call)._tag, "TimeoutError")
  }),

  "an AbortSignal interrupts, for those without Effect": Effect.gen(function* () {
    const server = yield* rawServer()
    const client = yield* clientWith({ baseUrl: server.baseUrl })
    const controller = new AbortController()
    const promise = Effect.runPromise(client.getJob(job), { signal: controller.signal }).then(
      () => "an answer",
      () => "aborted"
    )
    yield* server.request
    controller.abort()
    same(yield* Effect.promise(() => promise), "aborted")
    yield* server.closed
  })
}
