import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Result from "effect/Result"

/** What the service answers when it does not do what was asked. */
export interface Refusal {
  readonly status: 400 | 401 | 403 | 404 | 422 | 500
  readonly message: string
}

export const refuse = (status: Refusal["status"], message: string): Result.Result<never, Refusal> =>
  Result.fail({ status, message })

export const toResponse = ({ message, status }: Refusal): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe({ message }, { status })
