/** Turns error responses and broken connections into typed failures. */
import * as Duration from "effect/Duration"
import type * as Headers from "effect/http/Headers"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type { Operation } from "../../StacksApi.ts"
import * as StacksError from "../../StacksError.ts"
import * as ResponseHeaders from "../responseHeaders.ts"
import { oneLine } from "../schema/text.ts"
import type { Redact } from "./redact.ts"
import type * as ResponseBody from "./responseBody.ts"

export { oneLine }

export interface RequestInfo {
  readonly operation: Operation
  readonly method: string
  readonly url: string
}

// -----------------------------------------------------------------------------
// Responses
// -----------------------------------------------------------------------------

const phrases: Readonly<Record<number, string>> = {
  301: "Moved Permanently",
  302: "Found",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  413: "Content Too Large",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout"
}

export const parseJson = (text: string): Result.Result<unknown, unknown> =>
  Result.try(() => JSON.parse(text) as unknown)

const numberIn = (body: unknown, key: string): number | undefined =>
  Predicate.hasProperty(body, key) && Predicate.isNumber(body[key]) ? body[key] : undefined

const textIn = (body: unknown, key: string): string | undefined =>
  Predicate.hasProperty(body, key) && Predicate.isString(body[key]) && body[key].trim() !== "" ? body[key] : undefined

/** The failure for a response outside 2xx. The status decides its type, the body its message. */
export const errorResponse = (
  request: RequestInfo,
  response: { readonly status: number; readonly headers: Headers.Headers; readonly body: ResponseBody.Body },
  nowMillis: number,
  redact: Redact
): StacksError.StacksError => {
  const { headers, status } = response
  const body = Result.getOrUndefined(parseJson(response.body.text))
  const bodyMessage = textIn(body, "message")
  const message = bodyMessage === undefined ? (phrases[status] ?? "Unknown status") : oneLine(redact.text(bodyMessage))
  // The headers and the body are read before they are redacted.
  const props = { ...request, status, headers: redact.headers(headers), rawBody: redact.body(response.body) }
  const retryAfter = ResponseHeaders.retryAfter(headers, nowMillis)
  const fatal = (reason: StacksError.FatalReason) => new StacksError.ErrorResponse({ ...props, reason })
  switch (status) {
    case 400:
      return fatal(new StacksError.BadRequest({ message }))
    case 401:
      return fatal(new StacksError.Unauthorized({ message }))
    case 403:
      return fatal(new StacksError.Forbidden({ message }))
    case 404:
      return fatal(new StacksError.NotFound({ message }))
    case 422:
      return fatal(new StacksError.Unprocessable({ message }))
    case 429: {
      const reason = new StacksError.RateLimited({
        message,
        // If `Retry-After` is 0 or in the past, use the reset.
        retryAfter:
          retryAfter !== undefined && Duration.toMillis(retryAfter) > 0
            ? retryAfter
            : (ResponseHeaders.secondsToDuration(numberIn(body, "reset")) ??
              ResponseHeaders.rateLimitStatus(headers).reset ??
              retryAfter),
        scope: redact.text(textIn(body, "scope") ?? "") || props.headers["ratelimit-scope"],
        limit: numberIn(body, "limit"),
        current: numberIn(body, "current")
      })
      return new StacksError.ErrorResponse({ ...props, reason })
    }
    default:
      return status >= 500
        ? new StacksError.ErrorResponse({ ...props, reason: new StacksError.ServerError({ message, retryAfter }) })
        : fatal(new StacksError.UnexpectedStatus({ message }))
  }
}

// -----------------------------------------------------------------------------
// Transport
// -----------------------------------------------------------------------------

/**
 * Codes of failures before a connection was made, including those of certificates, and the code with which the client of
 * `@stacksapi/node` says so.
 */
const notConnected =
  /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EAI_FAIL|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|UND_ERR_CONNECT_TIMEOUT|ERR_NOT_SENT)$|CERT|SIGNATURE/

/** The error codes in a chain of causes: clients wrap the socket's error in their own. */
const codesOf = (error: unknown, depth = 0): ReadonlyArray<string> => {
  if (depth > 4 || !Predicate.isObject(error)) return []
  const { cause, code, errors } = error
  const inner = codesOf(cause ?? (Array.isArray(errors) && errors[0]), depth + 1)
  return Predicate.isString(code) ? [code, ...inner] : inner
}

const transportError = (
  request: RequestInfo,
  kind: StacksError.TransportFailure,
  text: string,
  cause: unknown,
  redact: Redact
): StacksError.TransportError => {
  const code = codesOf(cause).at(-1)
  return new StacksError.TransportError({
    ...request,
    kind: code === "ERR_TIMEOUT" ? "Timeout" : kind,
    mayHaveBeenProcessed: kind !== "NotConnected",
    // The client of `@stacksapi/node` describes such a failure, and its timeouts, itself.
    description: redact.text(textIn(cause, "whyNotSent") ?? (code === undefined ? text : `${text} (${code})`)),
    proxy: textIn(cause, "notSentBy"),
    cause: redact.cause(cause)
  })
}

/** The failure for a request that got no response. */
export const notSent = (
  request: RequestInfo,
  { reason }: HttpClientError.HttpClientError,
  redact: Redact
): StacksError.TransportError | StacksError.InvalidRequest => {
  if (reason._tag === "InvalidUrlError" || reason._tag === "EncodeError") {
    return new StacksError.InvalidRequest({
      ...request,
      issue: reason.description ?? "The base URL is not an HTTP URL: use something like https://agent.buildkite.com/v3/"
    })
  }
  return codesOf(reason.cause).some((code) => notConnected.test(code))
    ? transportError(request, "NotConnected", "no connection could be made", reason.cause, redact)
    : transportError(request, "Reset", "the connection broke before a response came", reason.cause, redact)
}

/** The failure for a success whose body is incomplete. */
export const cutShort = (
  request: RequestInfo,
  { reason }: HttpClientError.HttpClientError,
  redact: Redact
): StacksError.TransportError =>
  transportError(request, "CutShort", "the connection broke within the response", reason.cause, redact)

/** The failure for an attempt that took too long. */
export const timedOut = (request: RequestInfo, timeout: Duration.Duration): StacksError.TransportError =>
  new StacksError.TransportError({
    ...request,
    kind: "Timeout",
    mayHaveBeenProcessed: true,
    description: `no complete response within ${Duration.format(timeout)}`
  })
