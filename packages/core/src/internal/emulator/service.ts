/** Handles a request of a stack or of an agent: logs it, applies a fault or has it answered, and responds. */
import * as ByteSize from "effect/ByteSize"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Headers from "effect/http/Headers"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import type * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { Limit } from "../../StacksApi.ts"
import { advance } from "./advance.ts"
import * as AgentRoutes from "./agentRoutes.ts"
import { applyFault } from "./applyFault.ts"
import * as Artifacts from "./artifacts.ts"
import * as ErrorResponse from "./errorResponse.ts"
import type { FaultPlan } from "./faults.ts"
import type * as RateLimits from "./rateLimits.ts"
import * as RequestInfo from "./requestInfo.ts"
import type { LogEntry, RequestLog } from "./requestLog.ts"
import * as StackRequests from "./stackRequests.ts"
import type { State } from "./state.ts"

export interface ServiceOptions {
  readonly state: State
  readonly token: Redacted.Redacted
  readonly limiter: RateLimits.RateLimiter
  readonly faults: FaultPlan
  /** The queue of uploaded jobs whose rules name none. */
  readonly defaultQueueKey: string
  readonly log: RequestLog
}

/** Makes the effect that responds to the current request. */
export const make = Effect.fnUntraced(function* ({
  defaultQueueKey,
  faults,
  limiter,
  log,
  state,
  token
}: ServiceOptions) {
  const answerStack = yield* StackRequests.make({ limiter, state, token })

  const processAgent = (route: AgentRoutes.Route, request: HttpServerRequest.HttpServerRequest, body: Uint8Array) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      advance(state, now)
      const query = new URLSearchParams(request.url.split("?", 2)[1])
      const { headers } = request
      const { params } = route
      return Result.match(
        route.handle({
          state,
          clusterToken: token,
          defaultQueueKey,
          token: RequestInfo.tokenOf(request),
          params,
          query,
          headers,
          body,
          now
        }),
        {
          onFailure: ErrorResponse.toHttpResponse,
          onSuccess: (answer) =>
            HttpServerResponse.isHttpServerResponse(answer) ? answer : HttpServerResponse.jsonUnsafe(answer)
        }
      )
    })

  /** Logs a request, then applies a fault or processes it. */
  const respond = Effect.fnUntraced(function* <E, R>(
    arrived: Omit<LogEntry, "time" | "status" | "response" | "fault">,
    limit: Limit["Service"],
    process: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
  ) {
    const time = yield* Clock.currentTimeMillis
    const fault = faults.next(arrived.endpoint)
    const entry = log.add({ ...arrived, time, status: undefined, response: undefined, fault: fault?._tag })
    const response = yield* fault === undefined ? process : applyFault(fault, limit, process)
    // A job's artifacts are not logged.
    const isLogged = response.body._tag === "Uint8Array" && arrived.agentOperation !== "downloadArtifact"
    log.answer(entry, response.status, isLogged ? response.body.body : undefined)
    return response.headers["date"] === undefined
      ? HttpServerResponse.setHeader(response, "date", Headers.formatHttpDate(yield* DateTime.now))
      : response
  })

  const fromStack = Effect.fnUntraced(function* (original: HttpServerRequest.HttpServerRequest) {
    const request = StackRequests.withJsonType(original)
    const body = yield* Effect.result(request.text)
    const text = Result.getOrElse(body, () => "")
    const info = RequestInfo.make(request, text)
    const { headers, method, url } = original
    return yield* respond(
      { endpoint: info.endpoint, agentOperation: undefined, method, url, headers, text },
      info.limit,
      Result.isFailure(body) ? refuseBody(body.failure, maxBodyMebibytes) : answerStack(info)
    )
  })

  /** Agents compress their uploads, and stacks' rate limits do not apply to them. */
  const fromAgent = (original: HttpServerRequest.HttpServerRequest, route: AgentRoutes.Route) =>
    Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const body = yield* Effect.result(Effect.map(request.arrayBuffer, (buffer) => new Uint8Array(buffer)))
      const { headers, method, url } = original
      const { operation: agentOperation } = route
      const limit = agentOperation === "uploadArtifact" ? maxUploadMebibytes : maxBodyMebibytes
      // The output and the artifacts of jobs are not logged.
      const text =
        agentOperation === "uploadLogChunk" || agentOperation === "uploadArtifact"
          ? ""
          : new TextDecoder().decode(Result.getOrUndefined(body))
      return yield* respond(
        { endpoint: undefined, agentOperation, method, url, headers, text },
        RequestInfo.defaultLimit,
        Result.match(body, {
          onFailure: (error) => refuseBody(error, limit),
          onSuccess: (body) => processAgent(route, original, body)
        })
      )
    }).pipe(
      HttpMiddleware.decompression(),
      route.operation === "uploadArtifact"
        ? Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.mebibytes(maxUploadMebibytes))
        : identity
    )

  const httpEffect = Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const route = AgentRoutes.find(request.method, request.url)
    return yield* route === undefined ? fromStack(request) : fromAgent(request, route)
  }).pipe(Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.mebibytes(maxBodyMebibytes)))

  return { httpEffect }
})

/** More than twice the largest valid request: 1000 notifications of 256 characters. */
const maxBodyMebibytes = 8

/** An artifact, and the form around it. */
const maxUploadMebibytes = Artifacts.maxFileMebibytes + 1

/** The response to a body that is too large, or that can't be read. */
const refuseBody = ({ reason }: HttpServerError.HttpServerError, limit: number) =>
  Effect.succeed(
    ErrorResponse.toHttpResponse(
      reason._tag === "RequestParseError" && reason.reason === "BodyTooLarge"
        ? { status: 413, message: `The body is larger than ${limit} MiB` }
        : { status: 400, message: "The body can't be read" }
    )
  )
