import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Result from "effect/Result"

/** What the service answers when it does not do what was asked. */
export interface Refusal {
  readonly status: 400 | 401 | 403 | 404 | 413 | 422 | 423 | 500
  readonly message: string
  /** Seconds after which to ask again. */
  readonly retryAfter?: number | undefined
}

export const refuse = (
  status: Refusal["status"],
  message: string,
  retryAfter?: number
): Result.Result<never, Refusal> => Result.fail({ status, message, retryAfter })

export const toResponse = ({ message, retryAfter, status }: Refusal): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe(
    { message },
    { status, headers: retryAfter === undefined ? {} : { "retry-after": String(retryAfter) } }
  )
