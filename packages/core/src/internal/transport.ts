/**
 * How a call of an endpoint travels: encode, wait for the rate limit, send, read, decode, and try again as the policy says.
 *
 * The common case, a success at the first attempt, must stay cheap: spans are only made when a tracer is installed, log
 * lines only when debug logs are wanted, and the retry schedule is only set up after a failure.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { constTrue, constVoid } from "effect/Function"
import * as Headers from "effect/http/Headers"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as UrlParams from "effect/http/UrlParams"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as RateLimit from "../RateLimit.ts"
import * as RetryPolicy from "../RetryPolicy.ts"
import type { Operation } from "../StacksApi.ts"
import * as StacksError from "../StacksError.ts"
import type { CompiledEndpoint, EncodedRequest } from "./endpoint.ts"
import * as Failures from "./failures.ts"
import { CurrentRecorder } from "./recorder.ts"
import * as ResponseBody from "./responseBody.ts"
import * as ResponseHeaders from "./responseHeaders.ts"

export interface TransportOptions {
  readonly httpClient: HttpClient.HttpClient
  readonly token: Redacted.Redacted
  readonly baseUrl: string
  readonly userAgent: string
  readonly timeout: Duration.Duration
  readonly logPayloads: boolean
  /** The policy and the limiter that the client was built with; what surrounds a call goes before them. */
  readonly retryPolicy: RetryPolicy.Policy | undefined
  readonly rateLimit: RateLimit.Limiter | undefined
}

export interface CallOptions {
  readonly operation: Operation
  /** The stack that the request is counted for. */
  readonly stackKey: string
  /**
   * For a request that must not run twice: finds out, after a failure that leaves it open, whether it took effect.
   */
  readonly tookEffect?: Effect.Effect<boolean, StacksError.StacksError> | undefined
}

export interface Transport {
  readonly call: <Request, Success>(
    endpoint: CompiledEndpoint<Request, Success>,
    request: Request,
    options: CallOptions
  ) => Effect.Effect<Success, StacksError.StacksError>
}

/** Whether the service may have acted on a request that failed like this. */
const isAmbiguous = (error: StacksError.StacksError): boolean =>
  error._tag === "TransportError" ? error.mayHaveBeenProcessed : error._tag === "ErrorResponse" && error.status >= 500

export const make = (options: TransportOptions): Transport => {
  const token = Redacted.value(options.token)
  const baseUrl = options.baseUrl.replace(/\/+$/, "")
  const shownBaseUrl = withoutCredentials(baseUrl)
  const headers = Headers.fromInput({
    accept: "application/json",
    authorization: `Token ${token}`,
    "content-type": "application/json",
    "user-agent": options.userAgent
  })
  const withoutToken = (text: string) =>
    token !== "" && text.includes(token) ? text.replaceAll(token, "<redacted>") : text

  // ---------------------------------------------------------------------------
  // One attempt
  // ---------------------------------------------------------------------------

  const receive = <A>(
    endpoint: CompiledEndpoint<never, A>,
    info: Failures.RequestInfo,
    response: HttpClientResponse,
    log: AttemptLog | undefined
  ): Effect.Effect<A, StacksError.StacksError> => {
    const { status } = response
    if (status < 200 || status > 299) {
      return Effect.flatMap(
        ResponseBody.read(response, ResponseBody.MaxRawBodyBytes, (_, text) =>
          Effect.succeed({ text, isCropped: true })
        ),
        ({ text }) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const rawBody = withoutToken(text)
            log?.received(response, rawBody)
            const headers = Headers.fromInput(
              Object.entries(response.headers).map(([name, value]) => [name, withoutToken(value ?? "")] as const)
            )
            return Effect.fail(Failures.errorResponse(info, { status, headers, rawBody }, now))
          })
      )
    }
    const { success } = endpoint
    if (success._tag === "Constant") {
      return Effect.map(
        ResponseBody.read(response, ResponseBody.MaxRawBodyBytes, (_, text) =>
          Effect.succeed({ text, isCropped: true })
        ),
        ({ text }) => {
          log?.received(response, text)
          return success.value
        }
      )
    }
    return Effect.flatMap(
      ResponseBody.read(response, ResponseBody.MaxBodyBytes, (error) => Effect.fail(Failures.cutShort(info, error))),
      ({ isCropped, text }) => {
        log?.received(response, endpoint.isSensitive ? "<redacted>" : text)
        const decodeError = (issue: string) =>
          Effect.fail(
            new StacksError.DecodeError({
              ...info,
              status,
              headers: response.headers,
              issue,
              rawBody: endpoint.isSensitive ? "" : withoutToken(text.slice(0, ResponseBody.MaxRawBodyBytes))
            })
          )
        if (isCropped) return decodeError(`the body is larger than ${ResponseBody.MaxBodyBytes} bytes`)
        if (text === "") return decodeError("the body is empty")
        const json = Failures.parseJson(text)
        if (Result.isFailure(json)) return decodeError("the body is not JSON")
        const value = success.decode(json.success)
        return Result.isFailure(value) ? decodeError(value.failure.message) : Effect.succeed(value.success)
      }
    )
  }

  const send = <A>(
    endpoint: CompiledEndpoint<never, A>,
    info: Failures.RequestInfo,
    request: HttpClientRequest.HttpClientRequest,
    observe: ((response: RateLimit.Observation) => void) | undefined,
    onResponse: (response: HttpClientResponse) => void,
    log: AttemptLog | undefined
  ): Effect.Effect<A, StacksError.StacksError> =>
    Effect.matchEffect(options.httpClient.execute(request), {
      onSuccess: (response) => {
        onResponse(response)
        if (observe === undefined) return receive(endpoint, info, response, log)
        return Effect.flatMap(Clock.currentTimeMillis, (now) => {
          observe({
            status: response.status,
            headers: response.headers,
            retryAfter: ResponseHeaders.retryAfter(response.headers, now)
          })
          return receive(endpoint, info, response, log)
        })
      },
      onFailure: (error: HttpClientError.HttpClientError) => {
        // A client may come with a status filter of its own: its failure still holds the response.
        if (error.reason._tag === "StatusCodeError") {
          onResponse(error.reason.response)
          return receive(endpoint, info, error.reason.response, log)
        }
        return Effect.fail(Failures.notSent(info, error))
      }
    }).pipe(
      Effect.provideService(HttpClient.TracerDisabledWhen, constTrue),
      Effect.timeoutOrElse({
        duration: options.timeout,
        orElse: () => Effect.fail(Failures.timedOut(info, options.timeout))
      })
    )

  // ---------------------------------------------------------------------------
  // A whole call
  // ---------------------------------------------------------------------------

  const run = <A>(
    fiber: Fiber.Fiber<unknown, unknown>,
    endpoint: CompiledEndpoint<never, A>,
    encoded: EncodedRequest,
    { operation, stackKey, tookEffect }: CallOptions
  ): Effect.Effect<A, StacksError.StacksError> => {
    const context = fiber.context
    const info: Failures.RequestInfo = {
      operation,
      method: endpoint.method,
      url: shownBaseUrl + encoded.path
    }
    const request = HttpClientRequest.makeWith(
      endpoint.method,
      baseUrl + encoded.path,
      UrlParams.empty,
      Option.none(),
      headers,
      encoded.body === undefined ? HttpBody.empty : HttpBody.text(encoded.body, "application/json")
    )
    const recorder = Context.getOrUndefined(context, CurrentRecorder)
    const limiter = Context.getOrUndefined(context, RateLimit.RateLimit) ?? options.rateLimit ?? RateLimit.none
    const isTraced = fiber.cache.tracer !== undefined && fiber.cache.tracerEnabled
    const isLogged = LogLevel.isLessThanOrEqualTo(fiber.cache.minimumLogLevel, "Debug")
    let attempts = 0

    const attemptOnce = (
      observe: ((response: RateLimit.Observation) => void) | undefined
    ): Effect.Effect<A, StacksError.StacksError> => {
      const attempt = ++attempts
      const onResponse =
        recorder === undefined
          ? constVoid
          : (response: HttpClientResponse) => {
              recorder.status = response.status
              recorder.headers = response.headers
              recorder.attempts = attempt
            }
      if (!isTraced && !isLogged) return send(endpoint, info, request, observe, onResponse, undefined)
      return traced(fiber, info, attempt, isTraced, (requestId, span) => {
        const log = isLogged
          ? new AttemptLog(
              info,
              requestId,
              attempt,
              options.logPayloads ? (encoded.body === undefined ? "" : withoutToken(encoded.body)) : undefined
            )
          : undefined
        const sent = send(
          endpoint,
          info,
          request,
          observe,
          (response) => {
            span?.(response.status)
            onResponse(response)
          },
          log
        )
        return log === undefined ? sent : log.around(sent)
      })
    }

    const limited: Effect.Effect<A, StacksError.StacksError> =
      limiter === RateLimit.none
        ? Effect.suspend(() => attemptOnce(undefined))
        : limiter.limit({ operation, stackKey }, attemptOnce)
    const once =
      tookEffect === undefined || endpoint.success._tag !== "Constant"
        ? limited
        : atMostOnce(limited, endpoint.success.value, tookEffect)

    return Effect.catch(once, (failure) => {
      if (!failure.isRetryable) return Effect.fail(failure)
      const schedule =
        Context.getOrUndefined(context, RetryPolicy.RetryPolicy)?.select(operation) ??
        options.retryPolicy?.select(operation) ??
        RetryPolicy.standard.select(operation)
      if (schedule === undefined) return Effect.fail(failure)
      let first = true
      return Effect.retry(
        Effect.suspend((): Effect.Effect<A, StacksError.StacksError> => {
          if (!first) return once
          first = false
          return Effect.fail(failure)
        }),
        { schedule, while: StacksError.isRetryable }
      )
    })
  }

  return {
    call: (endpoint, request, callOptions) =>
      Effect.withFiber((fiber) => {
        const encoded = endpoint.encode(request)
        if (Result.isFailure(encoded)) {
          return Effect.fail(
            new StacksError.InvalidRequest({
              operation: callOptions.operation,
              method: endpoint.method,
              url: shownBaseUrl + endpoint.pathTemplate,
              issue: encoded.failure.message
            })
          )
        }
        if (fiber.cache.tracer === undefined || !fiber.cache.tracerEnabled) {
          return run(fiber, endpoint, encoded.success, callOptions)
        }
        return Effect.useSpan(
          `StacksClient.${callOptions.operation}`,
          { attributes: { "stacksapi.operation": callOptions.operation, "stacksapi.stack_key": callOptions.stackKey } },
          (span) =>
            Effect.withParentSpan(
              Effect.withFiber((fiber) => run(fiber, endpoint, encoded.success, callOptions)),
              span,
              { captureStackTrace: false }
            )
        )
      })
  }
}

// -----------------------------------------------------------------------------
// Requests that must not run twice
// -----------------------------------------------------------------------------

/**
 * Sends again only after it is known that the earlier request did not take effect. Where that can't be found out, the
 * earlier failure stands, and the policy decides whether to ask again.
 */
const atMostOnce = <A>(
  attempt: Effect.Effect<A, StacksError.StacksError>,
  done: A,
  tookEffect: Effect.Effect<boolean, StacksError.StacksError>
): Effect.Effect<A, StacksError.StacksError> => {
  let open: StacksError.StacksError | undefined
  const ask = (
    failure: StacksError.StacksError,
    otherwise: Effect.Effect<A, StacksError.StacksError>
  ): Effect.Effect<A, StacksError.StacksError> =>
    Effect.matchEffect(tookEffect, {
      onFailure: () => Effect.fail(failure),
      onSuccess: (didIt) => (didIt ? Effect.succeed(done) : otherwise)
    })
  const sendOnce = Effect.catch(attempt, (failure) => {
    const earlier = open
    if (isAmbiguous(failure)) open = failure
    return earlier !== undefined && !failure.isRetryable ? ask(failure, Effect.fail(failure)) : Effect.fail(failure)
  })
  return Effect.suspend(() => (open === undefined ? sendOnce : ask(open, sendOnce)))
}

// -----------------------------------------------------------------------------
// Spans and logs
// -----------------------------------------------------------------------------

/** Runs an attempt with an id of its own, in a span where a tracer is installed. */
const traced = <A, E>(
  fiber: Fiber.Fiber<unknown, unknown>,
  info: Failures.RequestInfo,
  attempt: number,
  isTraced: boolean,
  f: (requestId: string, onStatus: ((status: number) => void) | undefined) => Effect.Effect<A, E>
): Effect.Effect<A, E> => {
  const requestId = globalThis.crypto.randomUUID()
  if (!isTraced) return f(requestId, undefined)
  return Effect.useSpan(
    info.method,
    {
      kind: "client",
      parent: fiber.cache.span,
      attributes: {
        "http.request.method": info.method,
        "url.full": info.url,
        "stacksapi.request_id": requestId,
        "stacksapi.attempt": attempt
      }
    },
    (span) => f(requestId, (status) => span.attribute("http.response.status_code", status))
  )
}

/** The debug log lines of one attempt. */
class AttemptLog {
  readonly info: Failures.RequestInfo
  readonly requestId: string
  readonly attempt: number
  readonly requestBody: string | undefined
  private response: { readonly status: number; readonly body: string } | undefined

  constructor(info: Failures.RequestInfo, requestId: string, attempt: number, requestBody: string | undefined) {
    this.info = info
    this.requestId = requestId
    this.attempt = attempt
    this.requestBody = requestBody
  }

  received(response: HttpClientResponse, body: string): void {
    this.response = { status: response.status, body }
  }

  around<A, E>(sent: Effect.Effect<A, E>): Effect.Effect<A, E> {
    const withPayload = this.requestBody !== undefined
    const annotations = {
      operation: this.info.operation,
      method: this.info.method,
      url: this.info.url,
      request_id: this.requestId,
      attempt: this.attempt
    }
    return Effect.logDebug("sending request").pipe(
      Effect.annotateLogs(withPayload ? { ...annotations, request_body: this.requestBody } : annotations),
      Effect.andThen(Effect.timed(Effect.result(sent))),
      Effect.flatMap(([duration, result]) =>
        Effect.logDebug(Result.isSuccess(result) ? "received response" : "request failed").pipe(
          Effect.annotateLogs({
            ...annotations,
            ...(this.response === undefined ? {} : { status: this.response.status }),
            ...(withPayload && this.response !== undefined ? { response_body: this.response.body } : {}),
            ...(Result.isFailure(result) ? { error: String(result.failure) } : {}),
            duration: Duration.format(duration)
          }),
          Effect.andThen(Effect.fromResult(result))
        )
      )
    )
  }
}

const withoutCredentials = (url: string): string => url.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/@]*@/i, "$1")
