/** The way of a request: it is logged, may meet a fault, is authenticated, counted, decoded and answered. */
import * as ByteSize from "effect/ByteSize"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiError from "effect/http-api/HttpApiError"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { Limit } from "../../StacksApi.ts"
import * as AgentRoutes from "./agentRoutes.ts"
import * as Arrival from "./arrival.ts"
import type { FaultPlan } from "./faults.ts"
import { suffer } from "./misfortune.ts"
import * as RateLimits from "./rateLimits.ts"
import * as Refusal from "./refusal.ts"
import { type Entry, isDeep, parseJson, type RequestLog } from "./requestLog.ts"
import * as Routes from "./routes.ts"
import { settle } from "./settle.ts"
import type { State } from "./state.ts"

export interface ServiceOptions {
  readonly state: State
  readonly token: Redacted.Redacted
  readonly limiter: RateLimits.RateLimiter
  readonly faults: FaultPlan
  readonly log: RequestLog
}

/** The service as one effect, which answers the current request. */
export const make = Effect.fnUntraced(function* ({ faults, limiter, log, state, token }: ServiceOptions) {
  const app = yield* HttpRouter.toHttpEffect(
    HttpApiBuilder.layer(Routes.Api).pipe(Layer.provide([Routes.layer(state), HttpServer.layerServices]))
  )

  const process = Effect.fnUntraced(function* (arrival: Arrival.Arrival) {
    const { limit, request, stackKey, text } = arrival
    const answer = (response: HttpServerResponse.HttpServerResponse, admission = RateLimits.untouched(limit)) =>
      HttpServerResponse.setHeaders(response, RateLimits.headers(admission))

    if (!Arrival.isAuthenticated(arrival, token) && !isAgent(arrival)) {
      return answer(Refusal.toResponse(unauthorized))
    }
    if (arrival.endpoint === undefined) return answer(Refusal.toResponse(unknownPath(request)))
    // Limits are a stack's own. Nothing is known of one for requests that name no stack.
    const admission =
      stackKey === "" ? RateLimits.untouched(limit) : limiter.admit(stackKey, limit, yield* Clock.currentTimeMillis)
    if (!admission.admitted) return answer(RateLimits.tooManyRequests(admission), admission)
    if (isDeep(text)) return answer(Refusal.toResponse(tooDeep), admission)
    const response = yield* Effect.scoped(app).pipe(
      Effect.catchCause((cause) => explainFailure(cause, text)),
      Effect.provideService(HttpServerRequest.HttpServerRequest, request)
    )
    return answer(response, admission)
  })

  /** An agent that asks for what the emulator does not have: it is to learn that, not that it is nobody. */
  const isAgent = ({ endpoint, request }: Arrival.Arrival): boolean =>
    endpoint === undefined && state.accessTokens.has(Arrival.tokenOf(request) ?? "")

  const processAgent = (route: AgentRoutes.Route, request: HttpServerRequest.HttpServerRequest, body: Uint8Array) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      settle(state, now)
      const query = new URLSearchParams(request.url.split("?", 2)[1])
      const { headers } = request
      const { params } = route
      return Result.match(
        route.handle({
          state,
          clusterToken: token,
          token: Arrival.tokenOf(request),
          params,
          query,
          headers,
          body,
          now
        }),
        {
          onFailure: Refusal.toResponse,
          onSuccess: (answer) => HttpServerResponse.jsonUnsafe(answer)
        }
      )
    })

  /** Writes a request into the log, and lets happen to it what has to. */
  const answered = Effect.fnUntraced(function* <E, R>(
    arrived: Omit<Entry, "time" | "status" | "fault">,
    limit: Limit["Service"],
    process: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
  ) {
    const time = yield* Clock.currentTimeMillis
    const fault = faults.next(arrived.endpoint)
    const entry = log.add({ ...arrived, time, status: undefined, fault: fault?._tag })
    const response = yield* fault === undefined ? process : suffer(fault, limit, process)
    entry.status = response.status
    return response.headers["date"] === undefined
      ? HttpServerResponse.setHeader(response, "date", Headers.formatHttpDate(yield* DateTime.now))
      : response
  })

  const fromStack = Effect.fnUntraced(function* (original: HttpServerRequest.HttpServerRequest) {
    const request = withJsonType(original)
    const body = yield* Effect.option(request.text)
    const text = Option.getOrElse(body, () => "")
    const arrival = Arrival.make(request, text)
    const { headers, method, url } = original
    return yield* answered(
      { endpoint: arrival.endpoint, agentOperation: undefined, method, url, headers, text },
      arrival.limit,
      Option.isNone(body) ? Effect.succeed(Refusal.toResponse(tooLarge)) : process(arrival)
    )
  })

  /** An agent compresses what it uploads, and does not count against the limits of stacks. */
  const fromAgent = (original: HttpServerRequest.HttpServerRequest, route: AgentRoutes.Route) =>
    Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const body = yield* Effect.option(Effect.map(request.arrayBuffer, (buffer) => new Uint8Array(buffer)))
      const { headers, method, url } = original
      const { operation: agentOperation } = route
      // The log of requests is no place for the output of jobs.
      const text = agentOperation === "uploadLogChunk" ? "" : new TextDecoder().decode(Option.getOrUndefined(body))
      return yield* answered(
        { endpoint: undefined, agentOperation, method, url, headers, text },
        Arrival.defaultLimit,
        Option.match(body, {
          onNone: () => Effect.succeed(Refusal.toResponse({ status: 400, message: "The body can't be read" })),
          onSome: (body) => processAgent(route, original, body)
        })
      )
    }).pipe(HttpMiddleware.decompression())

  const httpEffect = Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const route = AgentRoutes.find(request.method, request.url)
    return yield* route === undefined ? fromStack(request) : fromAgent(request, route)
  }).pipe(Effect.provideService(HttpIncomingMessage.MaxBodySize, maxBodySize))

  return { httpEffect }
})

/** More than twice the largest request that is valid: 1000 notifications of 256 characters. */
const maxBodySize = ByteSize.mebibytes(8)

const tooLarge: Refusal.Refusal = { status: 413, message: "The body can't be read: it may have 8 MiB" }

const tooDeep: Refusal.Refusal = { status: 400, message: "The body is nested too deeply" }

const unauthorized: Refusal.Refusal = {
  status: 401,
  message: "Authentication required. Please supply a valid cluster token: Authorization: Token <token>"
}

const unknownPath = (request: HttpServerRequest.HttpServerRequest): Refusal.Refusal => ({
  status: 404,
  message: `Not found: ${request.method} ${request.url.split("?", 1)[0]}`
})

/** Every body is read as JSON, whatever its sender calls it. To be done before the body is read: it can be read once. */
const withJsonType = (request: HttpServerRequest.HttpServerRequest) =>
  request.headers["content-type"] === "application/json"
    ? request
    : request.modify({ headers: Headers.set(request.headers, "content-type", "application/json") })

/** What does not decode is a bad parameter, a body that is no JSON, or a body that breaks the rules. */
const explainFailure = Effect.fnUntraced(function* (cause: Cause.Cause<unknown>, text: string) {
  if (Cause.hasInterrupts(cause)) return yield* Effect.interrupt
  const defect = Option.getOrUndefined(Result.getSuccess(Cause.findDefect(cause)))
  if (!HttpApiError.HttpApiSchemaError.is(defect) || defect.kind === "Body") {
    yield* Effect.logError("The emulator failed to answer", cause)
    return Refusal.toResponse({ status: 500, message: "Internal server error" })
  }
  const message = defect.cause.message.replaceAll(/\s+/g, " ")
  if (defect.kind !== "Payload") return Refusal.toResponse({ status: 400, message })
  return text !== "" && Option.isNone(parseJson(text))
    ? Refusal.toResponse({ status: 400, message: "The body is not valid JSON" })
    : Refusal.toResponse({ status: 422, message })
})
