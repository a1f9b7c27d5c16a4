/**
 * Typed failures of the Stacks API.
 *
 * A call fails with a {@link StacksError}: an {@link ErrorResponse} (a status outside 2xx, with a `reason`), a {@link TransportError}
 * (no complete response), a {@link DecodeError} (a success that can't be decoded) or an {@link InvalidRequest} (not sent). Each has
 * the `operation`, the request's `method` and `url`, and `isRetryable`. None holds the token.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type * as Headers from "effect/http/Headers"
import type { Operation } from "./StacksApi.ts"

/** The request of a failure. */
interface RequestInfo {
  /** The method of the client that failed, for example `getJob`. */
  readonly operation: Operation
  /** The HTTP method. */
  readonly method: string
  /** The whole URL, without credentials. */
  readonly url: string
}

// -----------------------------------------------------------------------------
// Reasons of an error response
// -----------------------------------------------------------------------------

interface ReasonProps {
  /** The service's message, or the standard phrase of the status. */
  readonly message: string
}

/**
 * 400: a bad parameter. Fatal.
 *
 * @since 0.1.0
 * @category errors
 */
export class BadRequest extends Data.TaggedError("BadRequest")<ReasonProps> {
  readonly isRetryable = false
}

/**
 * 401: the token is missing, invalid or expired. Fatal: use a cluster token (`bkct_…`); REST and GraphQL tokens do not work.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unauthorized extends Data.TaggedError("Unauthorized")<ReasonProps> {
  readonly isRetryable = false
}

/**
 * 403: not allowed; for `registerStack`, the organization's limit of active stacks is exceeded. Fatal.
 *
 * @since 0.1.0
 * @category errors
 */
export class Forbidden extends Data.TaggedError("Forbidden")<ReasonProps> {
  readonly isRetryable = false
}

/**
 * 404: no such stack, job or queue. Fatal. A stack that has lapsed gets a 404 too: register it again.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotFound extends Data.TaggedError("NotFound")<ReasonProps> {
  readonly isRetryable = false
}

/**
 * 422: the service's validation failed. Fatal.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unprocessable extends Data.TaggedError("Unprocessable")<ReasonProps> {
  readonly isRetryable = false
}

/**
 * 429: too many requests. Retryable after `retryAfter`.
 *
 * @since 0.1.0
 * @category errors
 */
export class RateLimited extends Data.TaggedError("RateLimited")<
  ReasonProps & {
    /** How long to wait: `Retry-After`, or the body's `reset`, or the header `RateLimit-Reset`. */
    readonly retryAfter?: Duration.Duration | undefined
    /** The limit that was hit, for example `batch-reserve`. */
    readonly scope?: string | undefined
    /** Requests allowed in a second. */
    readonly limit?: number | undefined
    /** Requests that were counted. */
    readonly current?: number | undefined
  }
> {
  readonly isRetryable = true
}

/**
 * 5xx: an error of the service. Retryable.
 *
 * @since 0.1.0
 * @category errors
 */
export class ServerError extends Data.TaggedError("ServerError")<
  ReasonProps & {
    /** How long to wait, if the service sends `Retry-After`. */
    readonly retryAfter?: Duration.Duration | undefined
  }
> {
  readonly isRetryable = true
}

/**
 * Any other status, for example a redirect. Fatal.
 *
 * @since 0.1.0
 * @category errors
 */
export class UnexpectedStatus extends Data.TaggedError("UnexpectedStatus")<ReasonProps> {
  readonly isRetryable = false
}

/**
 * The reasons for which a retry may succeed.
 *
 * @since 0.1.0
 * @category errors
 */
export type RetryableReason = RateLimited | ServerError

/**
 * The reasons for which a retry does not help.
 *
 * @since 0.1.0
 * @category errors
 */
export type FatalReason = BadRequest | Unauthorized | Forbidden | NotFound | Unprocessable | UnexpectedStatus

/**
 * The reason of an {@link ErrorResponse}.
 *
 * @since 0.1.0
 * @category errors
 */
export type ErrorReason = RetryableReason | FatalReason

// -----------------------------------------------------------------------------
// Failures
// -----------------------------------------------------------------------------

/** Adds a response's body that is not printed or serialized with the error. */
const setRawBody = (self: object, rawBody: string) =>
  Object.defineProperty(self, "rawBody", { value: rawBody, enumerable: false })

/**
 * The class of {@link ErrorResponse}. It is exported only because declarations of programs refer to it: use {@link ErrorResponse}.
 *
 * @since 0.2.0
 * @category errors
 */
export class ErrorResponseOf<out R extends ErrorReason> extends Data.TaggedError("ErrorResponse")<
  RequestInfo & {
    readonly message: string
    readonly status: number
    readonly headers: Headers.Headers
    readonly reason: R
  }
> {
  /** The body as text, at most its first 64 KiB. */
  declare readonly rawBody: string

  constructor(
    props: RequestInfo & {
      readonly status: number
      readonly headers: Headers.Headers
      readonly reason: R
      readonly rawBody: string
    }
  ) {
    const { headers, method, operation, rawBody, reason, status, url } = props
    super({ message: `${method} ${url}: ${status} ${reason.message}`, operation, method, url, status, headers, reason })
    setRawBody(this, rawBody)
  }

  /** Whether a retry may succeed: 429 and 5xx. */
  get isRetryable(): R["isRetryable"] {
    return this.reason.isRetryable
  }

  /** How long the service asks to wait before the next attempt. */
  get retryAfter(): Duration.Duration | undefined {
    return "retryAfter" in this.reason ? this.reason.retryAfter : undefined
  }
}

/**
 * A response with a status outside 2xx. Its `reason` is an error for that status. Its `message` is `METHOD URL: STATUS text`.
 *
 * **Details**
 *
 * `rawBody` is the body as text, at most its first 64 KiB. It is not printed or serialized with the error.
 *
 * **Example** (Handling one reason)
 *
 * ```ts
 * import * as StacksClient from "@stacksapi/core/StacksClient"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* StacksClient.StacksClient
 *   return yield* client.getJob({ stackKey: "my-stack", jobUuid: "0193b1a6-…" })
 * }).pipe(
 *   Effect.catchReason("ErrorResponse", "NotFound", () => Effect.succeed(undefined))
 * )
 * ```
 *
 * @alias
 * @since 0.1.0
 * @category errors
 */
export const ErrorResponse = ErrorResponseOf

/**
 * A response with a status outside 2xx, for one of the reasons `R`.
 *
 * @since 0.1.0
 * @category errors
 */
export type ErrorResponse<R extends ErrorReason = ErrorReason> = [R] extends [RetryableReason] | [FatalReason]
  ? ErrorResponseOf<R>
  : ErrorResponseOf<RetryableReason> | ErrorResponseOf<FatalReason>

/**
 * How a request failed without a complete response.
 *
 * @since 0.1.0
 * @category errors
 */
export type TransportFailure =
  /** No connection: refused, unreachable, unknown host, or an invalid certificate. */
  | "NotConnected"
  /** The connection broke before the response's headers. */
  | "Reset"
  /** No complete response within the attempt's timeout. */
  | "Timeout"
  /** The connection broke during the response. */
  | "CutShort"

/**
 * There was no complete response. Retryable.
 *
 * **Gotchas**
 *
 * The service may have acted on the request if `mayHaveBeenProcessed` is true, which it is unless no connection was made.
 *
 * @since 0.1.0
 * @category errors
 */
export class TransportError extends Data.TaggedError("TransportError")<TransportProps & { readonly message: string }> {
  readonly isRetryable = true

  constructor(props: TransportProps) {
    super({ ...props, message: `${props.method} ${props.url}: ${props.description}` })
  }
}

interface TransportProps extends RequestInfo {
  readonly kind: TransportFailure
  /** Whether the service may have acted on the request. */
  readonly mayHaveBeenProcessed: boolean
  readonly description: string
  /** The proxy that refused the request, without credentials. Set by the client of `@stacksapi/node`. */
  readonly proxy?: string | undefined
  readonly cause?: unknown
}

/**
 * A success whose body does not decode. Fatal: a retry would get the same body. The service has acted on the request.
 *
 * **Details**
 *
 * `rawBody` is the body as text, at most its first 64 KiB, and empty if it may hold secrets. It is not printed or serialized with the
 * error.
 *
 * @since 0.1.0
 * @category errors
 */
export class DecodeError extends Data.TaggedError("DecodeError")<
  RequestInfo & {
    readonly message: string
    readonly status: number
    readonly headers: Headers.Headers
    /** What is wrong with the body, and where. */
    readonly issue: string
  }
> {
  readonly isRetryable = false
  declare readonly rawBody: string

  constructor(
    props: RequestInfo & {
      readonly status: number
      readonly headers: Headers.Headers
      readonly issue: string
      readonly rawBody: string
    }
  ) {
    const { rawBody, ...rest } = props
    const { issue, method, status, url } = rest
    super({ ...rest, message: `${method} ${url}: ${status} with a body that does not decode: ${issue}` })
    setRawBody(this, rawBody)
  }
}

/**
 * The request breaks a rule of the API and was not sent. Fatal. Its `issue` says what to change.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidRequest extends Data.TaggedError("InvalidRequest")<InvalidProps & { readonly message: string }> {
  readonly isRetryable = false

  constructor(props: InvalidProps) {
    super({ ...props, message: `${props.operation}: ${props.issue}` })
  }
}

interface InvalidProps extends RequestInfo {
  /** What is wrong with the request, and where. */
  readonly issue: string
}

/**
 * The service has not stored the notification of `createStackNotification`, for the reason in `error`. Fatal.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotificationRejected extends Data.TaggedError("NotificationRejected")<
  RejectedProps & { readonly message: string }
> {
  readonly operation = "createStackNotification"
  readonly isRetryable = false

  constructor(props: RejectedProps) {
    super({ ...props, message: `The notification about job ${props.jobUuid} was rejected: ${props.error}` })
  }
}

interface RejectedProps {
  readonly jobUuid: string
  /** The service's message, for example `job stack notification count exceeded`. */
  readonly error: string
}

/**
 * Another page of scheduled jobs follows, but its cursor is missing or was used before. Fatal: the stream would read the same pages
 * for ever. The pages before are valid.
 *
 * @since 0.1.0
 * @category errors
 */
export class CursorStalled extends /*#__PURE__*/ Data.TaggedError("CursorStalled")<
  StalledProps & { readonly message: string }
> {
  readonly operation = "listScheduledJobs"
  readonly isRetryable = false

  constructor({ cursor }: StalledProps) {
    const message =
      cursor === null || cursor === ""
        ? "listScheduledJobs: another page follows, but its cursor is missing"
        : `listScheduledJobs: the cursor "${cursor}" was used before`
    super({ cursor, message })
  }
}

interface StalledProps {
  /** The cursor that came with the last page. */
  readonly cursor: string | null
}

/**
 * An option is invalid. Nothing was started or sent.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidOptions extends /*#__PURE__*/ Data.TaggedError("InvalidOptions")<
  OptionsProps & { readonly message: string }
> {
  readonly isRetryable = false

  constructor(props: OptionsProps) {
    super({ ...props, message: `Option ${props.option}: ${props.issue}` })
  }
}

interface OptionsProps {
  /** The option's name, for example `maxInFlight`. */
  readonly option: string
  /** The valid range, and the value. */
  readonly issue: string
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The failures for which a retry may succeed.
 *
 * @since 0.1.0
 * @category models
 */
export type RetryableError = ErrorResponse<RetryableReason> | TransportError

/**
 * The failures for which a retry does not help.
 *
 * @since 0.1.0
 * @category models
 */
export type FatalError = ErrorResponse<FatalReason> | DecodeError | InvalidRequest

/**
 * All failures of a call.
 *
 * @since 0.1.0
 * @category models
 */
export type StacksError = RetryableError | FatalError

// -----------------------------------------------------------------------------
// Guards
// -----------------------------------------------------------------------------

/**
 * Whether a value is a {@link StacksError}.
 *
 * @since 0.1.0
 * @category guards
 */
export const isStacksError = (u: unknown): u is StacksError =>
  u instanceof ErrorResponse || u instanceof TransportError || u instanceof DecodeError || u instanceof InvalidRequest

/**
 * Whether a value is a failure for which a retry may succeed: 429, 5xx, or no complete response.
 *
 * **When to use**
 *
 * Use it with `Effect.catchIf(StacksError.isRetryable, …)`. The remaining failures are typed as {@link FatalError}.
 *
 * @see {@link isFatal}
 *
 * @since 0.1.0
 * @category guards
 */
export const isRetryable = (u: unknown): u is RetryableError => isStacksError(u) && u.isRetryable

/**
 * Whether a value is a failure for which a retry does not help.
 *
 * @since 0.1.0
 * @category guards
 */
export const isFatal: (u: unknown) => u is FatalError = (u): u is FatalError => isStacksError(u) && !u.isRetryable
