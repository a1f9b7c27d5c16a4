/** Telling failures apart, and handling them with Effect's own combinators. */
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, type StacksClient, StacksError } from "@stacksapi/core"
import { Duration, Effect } from "effect"
import { jobUuid } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

const failing = (answer: Scripted.Answer) =>
  Effect.flatMap(Scripted.client(Scripted.make(answer)), (client: StacksClient.Service) =>
    client.getJob({ stackKey: "s", jobUuid })
  ).pipe(RetryPolicy.withPolicy(RetryPolicy.none))

const notFound = failing(Scripted.json(404, { message: "no such job" }))
const unavailable = failing(Scripted.empty(503, { "Retry-After": "2" }))
const limited = failing(Scripted.json(429, { message: "slow down", reset: 1 }))
const reset = failing(Scripted.broken())
const garbled = failing(Scripted.text(200, "<html>"))
const invalid = Effect.flatMap(Scripted.client(Scripted.make(Scripted.empty(200))), (client) =>
  client.getJob({ stackKey: "", jobUuid })
)

const all = { notFound, unavailable, limited, reset, garbled, invalid }

describe("guards", () => {
  it.effect("isRetryable or isFatal, and never both, hold for every failure", () =>
    Effect.gen(function* () {
      const halves = yield* Effect.all(
        Object.values(all).map((call) =>
          Effect.map(Effect.flip(call), (error) => {
            assert.isTrue(StacksError.isStacksError(error))
            assert.notStrictEqual(StacksError.isRetryable(error), StacksError.isFatal(error))
            assert.strictEqual(StacksError.isRetryable(error), error.isRetryable)
            return error.isRetryable
          })
        )
      )
      assert.deepStrictEqual(halves, [false, true, true, true, false, false])
    })
  )

  it("isRetryable and isFatal are false for values that are no failures", () => {
    const others = [
      undefined,
      null,
      0,
      "ErrorResponse",
      new Error("x"),
      { _tag: "TransportError", isRetryable: true },
      new StacksError.NotFound({ message: "x" }),
      new StacksError.ServerError({ message: "x" }),
      new StacksError.NotificationRejected({ jobUuid: "j", error: "x" })
    ]
    for (const other of others) {
      assert.isFalse(StacksError.isStacksError(other))
      assert.isFalse(StacksError.isRetryable(other))
      assert.isFalse(StacksError.isFatal(other))
    }
  })
})

describe("with Effect's combinators", () => {
  it.effect("catchTag handles one kind of failure", () =>
    Effect.gen(function* () {
      const status = yield* notFound.pipe(Effect.catchTag("ErrorResponse", (error) => Effect.succeed(error.status)))
      assert.strictEqual(status, 404)
      const kind = yield* reset.pipe(Effect.catchTag("TransportError", (error) => Effect.succeed(error.kind)))
      assert.strictEqual(kind, "Reset")
      const issue = yield* invalid.pipe(Effect.catchTag("InvalidRequest", (error) => Effect.succeed(error.issue)))
      assert.include(issue, "stackKey")
      const body = yield* garbled.pipe(Effect.catchTag("DecodeError", (error) => Effect.succeed(error.rawBody)))
      assert.strictEqual(body, "<html>")
    })
  )

  it.effect("catchReason handles one reason and passes on the others", () =>
    Effect.gen(function* () {
      const handle = <A>(call: Effect.Effect<A, StacksError.StacksError, never>) =>
        call.pipe(Effect.catchReason("ErrorResponse", "NotFound", (reason) => Effect.succeed(reason.message)))
      assert.strictEqual(yield* Effect.scoped(handle(Effect.scoped(notFound))), "no such job")
      const left = yield* Effect.flip(handle(Effect.scoped(unavailable)))
      assert.strictEqual(left._tag, "ErrorResponse")
    })
  )

  it.effect("catchReasons handles several reasons", () =>
    Effect.gen(function* () {
      const wait = limited.pipe(
        Effect.catchReasons("ErrorResponse", {
          RateLimited: (reason) => Effect.succeed(reason.retryAfter),
          ServerError: (reason) => Effect.succeed(reason.retryAfter)
        })
      )
      assert.deepStrictEqual(yield* wait, Duration.seconds(1))
    })
  )

  it.effect("unwrapReason replaces the response by its reasons", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(unavailable.pipe(Effect.unwrapReason("ErrorResponse")))
      assert(error._tag === "ServerError")
      assert.deepStrictEqual(error.retryAfter, Duration.seconds(2))
    })
  )

  it.effect("catchIf(isRetryable) passes on fatal failures", () =>
    Effect.gen(function* () {
      const handle = <A>(call: Effect.Effect<A, StacksError.StacksError>) =>
        call.pipe(Effect.catchIf(StacksError.isRetryable, () => Effect.succeed("later" as const)))
      for (const call of [unavailable, limited, reset]) {
        assert.strictEqual(yield* handle(Effect.scoped(call)), "later")
      }
      for (const call of [notFound, garbled, invalid]) {
        assert.isTrue(StacksError.isFatal(yield* Effect.flip(handle(Effect.scoped(call)))))
      }
    })
  )
})

describe("every failure", () => {
  it.effect("has its operation, method and URL", () =>
    Effect.gen(function* () {
      for (const call of Object.values(all)) {
        const error = yield* Effect.flip(call)
        assert.strictEqual(error.operation, "getJob")
        assert.strictEqual(error.method, "GET")
        assert.match(error.url, /^http:\/\/stacks\.test\/v3\/stacks\//)
        assert.isTrue(error instanceof Error)
        assert.strictEqual(error.name, error._tag)
        assert.isAbove(error.message.length, 10)
      }
    })
  )
})
