/** What is left in the type after a failure was handled. */
import type { StacksClient, StacksSchema } from "@stacksapi/core"
import { StacksError } from "@stacksapi/core"
import { type Duration, Effect } from "effect"
import { describe, expect, test } from "tstyche"

declare const client: StacksClient.Service

const call = client.getJob({ stackKey: "s", jobUuid: "j" })
const later = Effect.succeed("later" as const)

type Left<T> = T extends Effect.Effect<infer _A, infer E, infer _R> ? E : never

describe("the union", () => {
  test("has four members and two halves", () => {
    expect<StacksError.StacksError["_tag"]>().type.toBe<
      "ErrorResponse" | "TransportError" | "DecodeError" | "InvalidRequest"
    >()
    expect<StacksError.StacksError>().type.toBe<
      StacksError.ErrorResponse | StacksError.TransportError | StacksError.DecodeError | StacksError.InvalidRequest
    >()
    expect<StacksError.StacksError>().type.toBe<StacksError.RetryableError | StacksError.FatalError>()
    expect<StacksError.RetryableError["isRetryable"]>().type.toBe<true>()
    expect<StacksError.FatalError["isRetryable"]>().type.toBe<false>()
    expect<StacksError.ErrorReason["_tag"]>().type.toBe<
      | "BadRequest"
      | "Unauthorized"
      | "Forbidden"
      | "NotFound"
      | "Unprocessable"
      | "RateLimited"
      | "ServerError"
      | "UnexpectedStatus"
    >()
  })
})

describe("catchIf", () => {
  test("isRetryable leaves only the fatal ones", () => {
    const handled = call.pipe(Effect.catchIf(StacksError.isRetryable, () => later))
    expect(handled).type.toBe<Effect.Effect<StacksSchema.JobDetails | "later", StacksError.FatalError>>()
  })

  test("isFatal leaves only the retryable ones", () => {
    const handled = call.pipe(Effect.catchIf(StacksError.isFatal, () => later))
    expect(handled).type.toBe<Effect.Effect<StacksSchema.JobDetails | "later", StacksError.RetryableError>>()
  })

  test("both leave nothing", () => {
    const handled = call.pipe(
      Effect.catchIf(StacksError.isRetryable, () => later),
      Effect.catchIf(StacksError.isFatal, () => later)
    )
    expect<Left<typeof handled>>().type.toBe<never>()
  })

  test("the handler gets the half that it is for", () => {
    const handled = call.pipe(
      Effect.catchIf(StacksError.isRetryable, (error) => {
        expect(error).type.toBe<StacksError.RetryableError>()
        return later
      })
    )
    expect<Left<typeof handled>>().type.toBe<StacksError.FatalError>()
  })

  test("a rejected notification is in neither half", () => {
    const notified = client
      .createStackNotification({ stackKey: "s", jobUuid: "j", detail: "d" })
      .pipe(Effect.catchIf(StacksError.isRetryable, () => Effect.void))
    expect<Left<typeof notified>>().type.toBe<StacksError.FatalError | StacksError.NotificationRejected>()
  })
})

describe("catchTag", () => {
  test("takes out one member", () => {
    const handled = call.pipe(Effect.catchTag("TransportError", () => later))
    expect<Left<typeof handled>["_tag"]>().type.toBe<"ErrorResponse" | "DecodeError" | "InvalidRequest">()
  })

  test("of all leaves nothing", () => {
    const handled = call.pipe(
      Effect.catchTags({
        ErrorResponse: () => later,
        TransportError: () => later,
        DecodeError: () => later,
        InvalidRequest: () => later
      })
    )
    expect<Left<typeof handled>>().type.toBe<never>()
  })

  test("NotificationRejected", () => {
    const handled = client
      .createStackNotification({ stackKey: "s", jobUuid: "j", detail: "d" })
      .pipe(Effect.catchTag("NotificationRejected", (error) => Effect.log(error.error, error.jobUuid)))
    expect<Left<typeof handled>>().type.toBe<StacksError.StacksError>()
  })
})

describe("reasons", () => {
  test("catchReason hands over the reason", () => {
    const handled = call.pipe(
      Effect.catchReason("ErrorResponse", "RateLimited", (reason) => {
        expect(reason).type.toBe<StacksError.RateLimited>()
        expect(reason.retryAfter).type.toBe<Duration.Duration | undefined>()
        return later
      })
    )
    expect<Left<typeof handled>>().type.toBeAssignableTo<StacksError.StacksError>()
  })

  test("a reason that does not exist is refused", () => {
    const catchTeapot = <T extends StacksError.ErrorReason["_tag"]>(tag: T) =>
      call.pipe(Effect.catchReason("ErrorResponse", tag, () => later))
    expect(catchTeapot).type.toBeCallableWith("NotFound")
    expect(catchTeapot).type.not.toBeCallableWith("Teapot")
  })

  test("unwrapReason puts the reasons in the place of the response", () => {
    const unwrapped = call.pipe(Effect.unwrapReason("ErrorResponse"))
    expect<Left<typeof unwrapped>["_tag"]>().type.toBe<
      StacksError.ErrorReason["_tag"] | "TransportError" | "DecodeError" | "InvalidRequest"
    >()
  })

  test("an unwrapped reason can be caught by its tag", () => {
    const handled = call.pipe(
      Effect.unwrapReason("ErrorResponse"),
      Effect.catchTag("NotFound", () => later)
    )
    expect<Left<typeof handled>["_tag"]>().type.toBe<
      Exclude<StacksError.ErrorReason["_tag"], "NotFound"> | "TransportError" | "DecodeError" | "InvalidRequest"
    >()
  })

  test("the reason narrows the response", () => {
    const error = null as unknown as StacksError.ErrorResponse<StacksError.RetryableReason>
    expect(error.isRetryable).type.toBe<true>()
    expect(error.reason._tag).type.toBe<"RateLimited" | "ServerError">()
    expect(error.retryAfter).type.toBe<Duration.Duration | undefined>()
  })
})

describe("guards", () => {
  test("narrow what is unknown", () => {
    const error = null as unknown
    if (StacksError.isStacksError(error)) expect(error).type.toBe<StacksError.StacksError>()
    if (StacksError.isRetryable(error)) expect(error).type.toBe<StacksError.RetryableError>()
    if (StacksError.isFatal(error)) expect(error).type.toBe<StacksError.FatalError>()
  })
})
