/** The service's responses to requests that it refuses. */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Result from "effect/Result"

export interface ErrorResponse {
  readonly status: 400 | 401 | 403 | 404 | 413 | 422 | 423 | 500
  readonly message: string
  /** Seconds. */
  readonly retryAfter?: number | undefined
}

export const errorResponse = (
  status: ErrorResponse["status"],
  message: string,
  retryAfter?: number
): Result.Result<never, ErrorResponse> => Result.fail({ status, message, retryAfter })

export const toHttpResponse = ({ message, retryAfter, status }: ErrorResponse): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe(
    { message },
    { status, headers: retryAfter === undefined ? {} : { "retry-after": String(retryAfter) } }
  )
