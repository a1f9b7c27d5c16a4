/**
 * Typed failures of the Stacks API.
 *
 * Every call fails with a {@link StacksError}: an {@link ErrorResponse} (the service said no, and its `reason` says how), a
 * {@link TransportError} (no complete response), a {@link DecodeError} (a success that can't be read) or an
 * {@link InvalidRequest} (refused here, nothing was sent). Each knows its `operation`, the request's `method` and `url`, and
 * whether it `isRetryable`. None of them ever holds the token.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type * as Headers from "effect/http/Headers"
import type { Operation } from "./StacksApi.ts"

/** What every failure knows of its request. */
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
  /** What the service said, or the status' standard phrase where it said nothing. */
  readonly message: string
}

/**
 * 400: a bad parameter. Fatal.
 *
 * @since 0.1.0
 * @category reasons
 */
export class BadRequest extends Data.TaggedError("BadRequest")<ReasonProps> {
  readonly isRetryable = false
}

/**
 * 401: the token is missing, invalid or expired. Fatal: use a cluster token (`bkct_…`); REST and GraphQL tokens do not work.
 *
 * @since 0.1.0
 * @category reasons
 */
export class Unauthorized extends Data.TaggedError("Unauthorized")<ReasonProps> {
  readonly isRetryable = false
}

/**
 * 403: not allowed; for `registerStack`, the organization's limit of active stacks is exceeded. Fatal.
 *
 * @since 0.1.0
 * @category reasons
 */
export class Forbidden extends Data.TaggedError("Forbidden")<ReasonProps> {
  readonly isRetryable = false
}

/**
 * 404: no such stack, job or queue. Fatal. A stack that lapsed answers this too: register it again.
 *
 * @since 0.1.0
 * @category reasons
 */
export class NotFound extends Data.TaggedError("NotFound")<ReasonProps> {
  readonly isRetryable = false
}

/**
 * 422: the service's validation failed. Fatal.
 *
 * @since 0.1.0
 * @category reasons
 */
export class Unprocessable extends Data.TaggedError("Unprocessable")<ReasonProps> {
  readonly isRetryable = false
}

/**
 * 429: too many requests. Retryable, not before `retryAfter`. The other fields are there where the service sent them.
 *
 * @since 0.1.0
 * @category reasons
 */
export class RateLimited extends Data.TaggedError("RateLimited")<
  ReasonProps & {
    /** How long to wait: `Retry-After`, else the body's `reset`, else the header `RateLimit-Reset`. */
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
 * 5xx: trouble on the service's side. Retryable.
 *
 * @since 0.1.0
 * @category reasons
 */
export class ServerError extends Data.TaggedError("ServerError")<
  ReasonProps & {
    /** How long to wait, where the service sent `Retry-After`. */
    readonly retryAfter?: Duration.Duration | undefined
  }
> {
  readonly isRetryable = true
}

/**
 * Any other status, a redirect for example. Fatal.
 *
 * @since 0.1.0
 * @category reasons
 */
export class UnexpectedStatus extends Data.TaggedError("UnexpectedStatus")<ReasonProps> {
  readonly isRetryable = false
}

/**
 * The reasons that may pass by themselves.
 *
 * @since 0.1.0
 * @category reasons
 */
export type RetryableReason = RateLimited | ServerError

/**
 * The reasons for which trying again does not help.
 *
 * @since 0.1.0
 * @category reasons
 */
export type FatalReason = BadRequest | Unauthorized | Forbidden | NotFound | Unprocessable | UnexpectedStatus

/**
 * Why the service said no.
 *
 * @since 0.1.0
 * @category reasons
 */
export type ErrorReason = RetryableReason | FatalReason

// -----------------------------------------------------------------------------
// Failures
// -----------------------------------------------------------------------------

/** Keeps a response's body at hand without it showing up wherever the error is printed or serialized. */
const setRawBody = (self: object, rawBody: string) =>
  Object.defineProperty(self, "rawBody", { value: rawBody, enumerable: false })

/**
 * The class behind {@link ErrorResponse}, which its reason tells apart into what is retryable and what is fatal. Exported so that
 * declarations of programs can name it; use {@link ErrorResponse}.
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

  /** Whether trying again may help: 429 and 5xx. */
  get isRetryable(): R["isRetryable"] {
    return this.reason.isRetryable
  }

  /** How long the service asks to wait before the next attempt. */
  get retryAfter(): Duration.Duration | undefined {
    return "retryAfter" in this.reason ? this.reason.retryAfter : undefined
  }
}

/**
 * The service answered with a status outside 2xx. The `reason` says what that means; `message` reads
 * `METHOD URL: STATUS text`.
 *
 * **Details**
 *
 * `rawBody` is the body as text, whatever its kind, at most its first 64 KiB. It is not part of any rendering of the error.
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
 * The service answered with a status outside 2xx, for one of the reasons `R`.
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
  /** No connection: refused, unreachable, unknown host, a certificate that doesn't fit. */
  | "NotConnected"
  /** The connection broke before the response's headers. */
  | "Reset"
  /** No complete response within the attempt's timeout. */
  | "Timeout"
  /** The connection broke within the response. */
  | "CutShort"

/**
 * There was no complete response: refused, reset, timed out or cut short. Retryable.
 *
 * **Gotchas**
 *
 * `mayHaveBeenProcessed` says whether the service may have acted on the request: only where no connection was made is it
 * certain that it has not.
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
  /** The proxy that did not let the request through, without its name and password. Set by `@stacksapi/node`'s client. */
  readonly proxy?: string | undefined
  readonly cause?: unknown
}

/**
 * A 2xx whose body is not what was declared. Fatal: the service may have acted on the request, and asking again would not
 * change its answer.
 *
 * **Details**
 *
 * `rawBody` is the body as text, at most its first 64 KiB, and empty where it may hold secrets. It is not part of any
 * rendering of the error.
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
 * The request breaks a rule of the API and was not sent. Fatal: `issue` says what to change.
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
 * The service did not store the one notification of `createStackNotification`, for the reason in `error`. Fatal.
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
  /** The service's text, for example `job stack notification count exceeded`. */
  readonly error: string
}

/**
 * The service says that another page of scheduled jobs follows, but its cursor leads nowhere: there is none, or it was used
 * before. Fatal: going on would read the same pages for ever. What was read until then is valid.
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
        ? "listScheduledJobs: another page follows, but there is no cursor to ask for it"
        : `listScheduledJobs: the cursor "${cursor}" was used before, it does not advance`
    super({ cursor, message })
  }
}

/**
 * An option has a value that can't be right. Nothing was started or sent.
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
  /** What the option may be, and what it was. */
  readonly issue: string
}

interface StalledProps {
  /** The cursor that came with the last page. */
  readonly cursor: string | null
}

// -----------------------------------------------------------------------------
// The union and its halves
// -----------------------------------------------------------------------------

/**
 * The failures that may pass by themselves.
 *
 * @since 0.1.0
 * @category models
 */
export type RetryableError = ErrorResponse<RetryableReason> | TransportError

/**
 * The failures for which trying again does not help.
 *
 * @since 0.1.0
 * @category models
 */
export type FatalError = ErrorResponse<FatalReason> | DecodeError | InvalidRequest

/**
 * Every way in which a call can fail.
 *
 * @since 0.1.0
 * @category models
 */
export type StacksError = RetryableError | FatalError

/**
 * Whether it is a {@link StacksError}.
 *
 * @since 0.1.0
 * @category guards
 */
export const isStacksError = (u: unknown): u is StacksError =>
  u instanceof ErrorResponse || u instanceof TransportError || u instanceof DecodeError || u instanceof InvalidRequest

/**
 * Whether it is a failure that may pass by itself: 429, 5xx, or no complete response. After
 * `Effect.catchIf(StacksError.isRetryable, …)` only fatal failures are left in the type.
 *
 * @since 0.1.0
 * @category guards
 */
export const isRetryable = (u: unknown): u is RetryableError => isStacksError(u) && u.isRetryable

/**
 * Whether it is a failure for which trying again does not help.
 *
 * @since 0.1.0
 * @category guards
 */
export const isFatal: (u: unknown) => u is FatalError = (u): u is FatalError => isStacksError(u) && !u.isRetryable
