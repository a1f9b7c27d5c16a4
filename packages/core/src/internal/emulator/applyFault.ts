/** Applies a fault to a request. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Predicate from "effect/Predicate"
import type { Limit } from "../../StacksApi.ts"
import { BrokenConnection } from "./brokenConnection.ts"
import { Fault } from "./faults.ts"
import * as RateLimits from "./rateLimits.ts"

/** Responds as the fault says. `process` makes the service act on the request and gives its response. */
export const applyFault = <E, R>(
  fault: Fault,
  limit: Limit["Service"],
  process: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, E | BrokenConnection, R> =>
  Fault.$match(fault, {
    Status: (fault) => Effect.succeed(statusResponse(fault, limit)),
    Html: ({ status = 502 }) =>
      Effect.succeed(HttpServerResponse.text(proxyPage(status), { status, contentType: "text/html" })),
    Malformed: ({ body = '{"unfinished": ', status }) =>
      Effect.map(process, (response) =>
        HttpServerResponse.setStatus(
          HttpServerResponse.setBody(response, HttpBody.text(body, "application/json")),
          malformedStatus(response.status, status)
        )
      ),
    Reset: () => breakConnection(),
    Stall: ({ duration }) => (duration === undefined ? Effect.never : Effect.delay(process, duration)),
    Truncate: () => Effect.flatMap(process, (response) => breakConnection(firstHalf(response))),
    LostResponse: () => Effect.flatMap(process, () => breakConnection()),
    SlowDown: ({ retryAfter }) =>
      Effect.map(process, HttpServerResponse.setHeader("retry-after", toSeconds(retryAfter)))
  })

/** A malformed body never turns an error into a success. A 204 becomes a 200, because it can't have a body. */
const malformedStatus = (answered: number, given: number | undefined): number =>
  given !== undefined && (isErrorStatus(given) || !isErrorStatus(answered)) ? given : answered === 204 ? 200 : answered

const isErrorStatus = (status: number): boolean => status >= 400

const breakConnection = (sent?: BrokenConnection["sent"]) => Effect.fail(new BrokenConnection({ sent }))

/** Undefined if there is no body: such a response would be complete. */
const firstHalf = (response: HttpServerResponse.HttpServerResponse): BrokenConnection["sent"] => {
  if (response.body._tag !== "Uint8Array" || response.body.contentLength < 2) return undefined
  const bytes = response.body.body
  return { response, body: bytes.subarray(0, bytes.length >>> 1) }
}

const statusResponse = (fault: Extract<Fault, { readonly _tag: "Status" }>, limit: Limit["Service"]) => {
  const { body, headers, retryAfter, status } = fault
  const response =
    body === undefined
      ? defaultResponse(status, limit)
      : Predicate.isString(body)
        ? HttpServerResponse.text(body, { status })
        : HttpServerResponse.jsonUnsafe(body, { status })
  return HttpServerResponse.setHeaders(response, {
    ...RateLimits.headers(RateLimits.uncounted(limit)),
    ...(retryAfter !== undefined && { "retry-after": toSeconds(retryAfter) }),
    ...headers
  })
}

const defaultResponse = (status: number, limit: Limit["Service"]): HttpServerResponse.HttpServerResponse => {
  if (status === 204) return HttpServerResponse.empty({ status })
  const message = `An emulated fault: status ${status}`
  const details = status === 429 ? { scope: limit.scope, limit: limit.limit, current: limit.limit + 1, reset: 1 } : {}
  return HttpServerResponse.jsonUnsafe({ message, ...details }, { status })
}

/** The page of a proxy that can't reach the service. */
const proxyPage = (status: number): string => `<!DOCTYPE html>
<html>
<head><title>${status}</title></head>
<body><center><h1>${status}</h1></center><hr><center>proxy</center></body>
</html>
`

const toSeconds = (duration: Duration.Input): string =>
  String(Math.ceil(Duration.toSeconds(Duration.fromInputUnsafe(duration))))
