/** Answers a stack's request: authenticates it, counts it towards a rate limit, decodes it and calls its endpoint. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiError from "effect/http-api/HttpApiError"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Agents from "./agents.ts"
import * as ErrorResponse from "./errorResponse.ts"
import * as RateLimits from "./rateLimits.ts"
import * as RequestInfo from "./requestInfo.ts"
import { isDeep, parseJson } from "./requestLog.ts"
import * as Routes from "./routes.ts"
import type { ServiceOptions } from "./service.ts"

/** Makes the function that answers a stack's request. */
export const make = Effect.fnUntraced(function* ({
  limiter,
  state,
  token
}: Pick<ServiceOptions, "limiter" | "state" | "token">) {
  const app = yield* HttpRouter.toHttpEffect(
    HttpApiBuilder.layer(Routes.Api).pipe(Layer.provide([Routes.layer(state), HttpServer.layerServices]))
  )

  /** An agent that sends an unknown request gets a 404, not a 401. */
  const isAgent = ({ endpoint, request }: RequestInfo.RequestInfo): boolean =>
    endpoint === undefined && Result.isSuccess(Agents.authenticateJob(state, RequestInfo.tokenOf(request)))

  return Effect.fnUntraced(function* (info: RequestInfo.RequestInfo) {
    const { limit, request, stackKey, text } = info
    const answer = (response: HttpServerResponse.HttpServerResponse, admission = RateLimits.uncounted(limit)) =>
      HttpServerResponse.setHeaders(response, RateLimits.headers(admission))

    if (!RequestInfo.isAuthenticated(info, token) && !isAgent(info)) {
      return answer(ErrorResponse.toHttpResponse(unauthorized))
    }
    if (info.endpoint === undefined) return answer(ErrorResponse.toHttpResponse(unknownPath(request)))
    // The service counts requests by stack. Requests without one have no known limit.
    const admission =
      stackKey === "" ? RateLimits.uncounted(limit) : limiter.admit(stackKey, limit, yield* Clock.currentTimeMillis)
    if (!admission.admitted) return answer(RateLimits.tooManyRequests(admission), admission)
    if (isDeep(text)) return answer(ErrorResponse.toHttpResponse(tooDeep), admission)
    const response = yield* Effect.scoped(app).pipe(
      Effect.catchCause((cause) => explainFailure(cause, text)),
      Effect.provideService(HttpServerRequest.HttpServerRequest, request)
    )
    return answer(response, admission)
  })
})

/** Reads every body as JSON, whatever its content type. Call it before the body is read, which is possible once. */
export const withJsonType = (request: HttpServerRequest.HttpServerRequest) =>
  request.headers["content-type"] === "application/json"
    ? request
    : request.modify({ headers: Headers.set(request.headers, "content-type", "application/json") })

const tooDeep: ErrorResponse.ErrorResponse = { status: 400, message: "The body is nested too deeply" }

const unauthorized: ErrorResponse.ErrorResponse = {
  status: 401,
  message: "Authentication required. Please supply a valid cluster token: Authorization: Token <token>"
}

const unknownPath = (request: HttpServerRequest.HttpServerRequest): ErrorResponse.ErrorResponse => ({
  status: 404,
  message: `Not found: ${request.method} ${request.url.split("?", 1)[0]}`
})

/** Turns a decoding failure into a 400 or a 422. */
const explainFailure = Effect.fnUntraced(function* (cause: Cause.Cause<unknown>, text: string) {
  if (Cause.hasInterrupts(cause)) return yield* Effect.interrupt
  const defect = Option.getOrUndefined(Result.getSuccess(Cause.findDefect(cause)))
  if (!HttpApiError.HttpApiSchemaError.is(defect) || defect.kind === "Body") {
    yield* Effect.logError("The emulator failed to answer", cause)
    return ErrorResponse.toHttpResponse({ status: 500, message: "Internal server error" })
  }
  const message = defect.cause.message.replaceAll(/\s+/g, " ")
  if (defect.kind !== "Payload") return ErrorResponse.toHttpResponse({ status: 400, message })
  return text !== "" && Option.isNone(parseJson(text))
    ? ErrorResponse.toHttpResponse({ status: 400, message: "The body is not valid JSON" })
    : ErrorResponse.toHttpResponse({ status: 422, message })
})
