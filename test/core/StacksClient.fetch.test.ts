/** The client over the platform's `fetch`, as in a browser or a worker. */
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, StacksClient } from "@stacksapi/core"
import { Context, Deferred, Effect, Fiber, Layer, Redacted, Tracer } from "effect"
import { FetchHttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import * as RawServer from "../support/rawServer.ts"
import { answerTo, calls, operations } from "../support/samples.ts"

const clientOf = (baseUrl: string) =>
  StacksClient.layer({ token: Redacted.make("bkct_test"), baseUrl }).pipe(
    Layer.provide([FetchHttpClient.layer, RetryPolicy.layerNone]),
    Layer.build,
    Effect.map((context) => Context.get(context, StacksClient.StacksClient))
  )

describe("The client over fetch", () => {
  it.effect.each(operations)("%s works, and sends no tracing headers", (operation) =>
    Effect.gen(function* () {
      const { body, status } = answerTo(operation)
      const server = yield* RawServer.make(
        RawServer.always({ status, body: body === undefined ? "" : JSON.stringify(body) })
      )
      const client = yield* clientOf(server.baseUrl)
      yield* calls[operation](client).pipe(
        Effect.withSpan("the caller"),
        Effect.provideService(Tracer.Tracer, Tracer.nativeTracer)
      )
      const request = yield* server.firstRequest
      assert.strictEqual(RawServer.header(request, "authorization"), "Token bkct_test")
      assert.strictEqual(RawServer.header(request, "content-type"), "application/json")
      assert.strictEqual(RawServer.header(request, "accept"), "application/json")
      for (const name of ["traceparent", "tracestate", "b3"]) assert.strictEqual(RawServer.header(request, name), "")
    })
  )

  it.effect("keeps ids encoded, and the base path", () =>
    Effect.gen(function* () {
      const server = yield* RawServer.make(RawServer.always({ status: 404 }))
      const client = yield* clientOf(`${server.origin}/proxy/v3`)
      yield* Effect.exit(client.getJob({ stackKey: "a.b/c", jobUuid: "%2E ä" }))
      assert.strictEqual((yield* server.firstRequest).target, "/proxy/v3/stacks/a%2Eb%2Fc/jobs/%252E%20%C3%A4")
    })
  )

  it.effect("reports a refused connection as not processed", () =>
    Effect.gen(function* () {
      const { baseUrl } = yield* Effect.scoped(RawServer.make(RawServer.reset))
      const error = yield* Effect.flip(calls.getJob(yield* clientOf(baseUrl)))
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, "NotConnected")
      assert.isFalse(error.mayHaveBeenProcessed)
    })
  )

  it.effect("reports a reset connection as possibly processed", () =>
    Effect.gen(function* () {
      const server = yield* RawServer.make(RawServer.reset)
      const error = yield* Effect.flip(calls.getJob(yield* clientOf(server.baseUrl)))
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, "Reset")
      assert.isTrue(error.mayHaveBeenProcessed)
    })
  )

  it.effect("closes the connection after a timeout or an interruption", () =>
    Effect.gen(function* () {
      for (const stop of ["timeout", "interruption"]) {
        const server = yield* RawServer.make(() => {})
        const call = yield* Effect.forkChild(Effect.exit(calls.getJob(yield* clientOf(server.baseUrl))))
        const { closed } = yield* server.firstRequest
        if (stop === "timeout") yield* TestClock.adjust("60 seconds")
        else yield* Fiber.interrupt(call)
        yield* Deferred.await(closed)
      }
    })
  )
})
