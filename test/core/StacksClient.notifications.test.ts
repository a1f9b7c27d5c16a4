/** The single form of a notification: a batch of one, whose error is the caller's. */
import { assert, describe, it } from "@effect/vitest"
import { StacksError } from "@stacksapi/core"
import { Effect } from "effect"
import { jobUuid } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

const notify = (answer: Scripted.Answer) =>
  Effect.gen(function* () {
    const service = Scripted.make(answer)
    const client = yield* Scripted.client(service)
    const result = yield* Effect.result(
      client.createStackNotification({ stackKey: "s", jobUuid, detail: "pulling the image" })
    )
    return { result, service }
  })

const rejected = (error: string) => Scripted.json(200, { errors: [{ error, indexes: [0] }] })

describe("createStackNotification", () => {
  it.effect("succeeds if the service has stored it", () =>
    Effect.gen(function* () {
      for (const body of [{ errors: [] }, {}, { errors: [], more: true }]) {
        const { result } = yield* notify(Scripted.json(200, body))
        assert(result._tag === "Success")
        assert.isUndefined(result.success)
      }
    })
  )

  it.effect.each([
    "detail is required",
    "detail exceeds its length limit of 256",
    "job stack notification count exceeded"
  ])("fails with NotificationRejected: %s", (text) =>
    Effect.gen(function* () {
      const { result, service } = yield* notify(rejected(text))
      assert(result._tag === "Failure")
      const error = result.failure
      assert(error._tag === "NotificationRejected")
      assert.strictEqual(error.error, text)
      assert.strictEqual(error.jobUuid, jobUuid)
      assert.strictEqual(error.operation, "createStackNotification")
      assert.strictEqual(error.message, `The notification about job ${jobUuid} was rejected: ${text}`)
      assert.isFalse(error.isRetryable)
      assert.strictEqual(service.requests.length, 1)
    })
  )

  it.effect("fails with NotificationRejected, which differs from failures of the call", () =>
    Effect.gen(function* () {
      const { result } = yield* notify(rejected("no"))
      assert(result._tag === "Failure")
      assert.isFalse(StacksError.isStacksError(result.failure))
      assert.isFalse(StacksError.isRetryable(result.failure))
      assert.isFalse(StacksError.isFatal(result.failure))
    })
  )

  it.effect("has its own name as the operation of a failure", () =>
    Effect.gen(function* () {
      const { result } = yield* notify(Scripted.json(404, { message: "no such stack" }))
      assert(result._tag === "Failure")
      assert.strictEqual(result.failure.operation, "createStackNotification")
      assert.strictEqual(result.failure._tag, "ErrorResponse")
    })
  )
})
