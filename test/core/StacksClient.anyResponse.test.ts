/** Whatever a service answers, a call ends: in a value or in a typed failure, never in a defect. */
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, StacksError } from "@stacksapi/core"
import { Arbitrary, Cause, Effect, Exit, Stream } from "effect"
import { HttpBody, HttpServerResponse } from "effect/http"
import { type AnyResponse, anyResponse, piecesOf } from "../support/anyResponse.ts"
import { calls } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

/** Fails the test unless the call ended as it may. */
const assertTyped = (exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isSuccess(exit)) return
  for (const reason of exit.cause.reasons) {
    assert(reason._tag === "Fail", Cause.pretty(exit.cause))
    const { error } = reason
    assert.isTrue(
      StacksError.isStacksError(error) || error instanceof StacksError.NotificationRejected,
      Cause.pretty(exit.cause)
    )
    // All of it can be read and shown.
    assert.isAbove(`${error} ${JSON.stringify(error)} ${Cause.pretty(exit.cause)}`.length, 0)
  }
}

const whole = ({ body, headers, status }: AnyResponse) => HttpServerResponse.uint8Array(body, { status, headers })

const inPieces = (answer: AnyResponse, contentLength?: number) =>
  HttpServerResponse.empty({ status: answer.status, headers: answer.headers }).pipe(
    HttpServerResponse.setBody(
      HttpBody.stream(
        answer.breaksOff
          ? Stream.concat(Stream.fromIterable(piecesOf(answer)), Stream.fail(new Error("gone")))
          : Stream.fromIterable(piecesOf(answer)),
        undefined,
        contentLength
      )
    )
  )

const endOf = Effect.fnUntraced(function* (answer: AnyResponse, response: HttpServerResponse.HttpServerResponse) {
  const client = yield* Scripted.client(Scripted.make(() => response))
  const exit = yield* Effect.exit(calls[answer.operation](client).pipe(RetryPolicy.withPolicy(RetryPolicy.none)))
  assertTyped(exit)
  return exit
})

describe("Every call ends in a value or a typed failure", () => {
  it.effect.prop("whatever comes at once", [anyResponse], ([answer]) => Effect.scoped(endOf(answer, whole(answer))), {
    arbitrary: { runs: 2500, seed: 7 }
  })

  it.effect.prop(
    "whatever comes in pieces, and breaks off",
    [anyResponse],
    ([answer]) => Effect.scoped(endOf(answer, inPieces(answer))),
    { arbitrary: { runs: 2500, seed: 8 } }
  )

  it.effect.prop(
    "whatever length it says it has",
    [anyResponse],
    ([answer]) => Effect.scoped(endOf(answer, inPieces(answer, answer.body.length + 1))),
    { arbitrary: { runs: 500, seed: 9 } }
  )

  it.effect.prop(
    "and the same, in pieces or at once",
    [anyResponse],
    ([answer]) =>
      Effect.scoped(
        Effect.gen(function* () {
          const one = yield* endOf(answer, whole(answer))
          const other = yield* endOf(answer, inPieces({ ...answer, breaksOff: false }))
          assert.strictEqual(String(one), String(other))
        })
      ),
    { arbitrary: { runs: 500, seed: 10 } }
  )

  it.effect("with responses of all kinds", () =>
    Effect.gen(function* () {
      const sample = yield* Arbitrary.sampleEffect(anyResponse, { count: 1500, seed: 8 })
      const ends = yield* Effect.forEach(sample, (answer) =>
        Effect.map(Effect.scoped(endOf(answer, inPieces(answer))), (exit) =>
          Exit.isSuccess(exit) ? "value" : String(Object(Cause.squash(exit.cause))._tag)
        )
      )
      assert.deepStrictEqual(Array.from(new Set(ends)).sort(), [
        "DecodeError",
        "ErrorResponse",
        "NotificationRejected",
        "TransportError",
        "value"
      ])
    })
  )
})
