/**
 * Calls an endpoint: encodes the request, waits for the rate limit, sends, reads and decodes, and retries by the policy.
 *
 * A success at the first attempt must stay cheap. So spans are made only if a tracer is installed, log lines only if debug logs are
 * on, and the retry schedule only after a failure.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Headers from "effect/http/Headers"
import * as HttpBody from "effect/http/HttpBody"
import type * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as UrlParams from "effect/http/UrlParams"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as RateLimit from "../../RateLimit.ts"
import * as RetryPolicy from "../../RetryPolicy.ts"
import type { Operation } from "../../StacksApi.ts"
import * as StacksError from "../../StacksError.ts"
import { CurrentMeter } from "../meter.ts"
import { FallbackRateLimit, MapRateLimit } from "../rateLimit/references.ts"
import * as ResponseHeaders from "../responseHeaders.ts"
import * as RetryPlan from "../retry/plan.ts"
import { AttemptLog, withAttemptSpan, withOperationSpan } from "../telemetry.ts"
import { atMostOnce, doneWhenGone } from "./atMostOnce.ts"
import * as Attempt from "./attempt.ts"
import { AttemptTimeout } from "./attemptTimeout.ts"
import type { CompiledEndpoint, EncodedRequest } from "./endpoint.ts"
import type * as Failures from "./failures.ts"
import { CurrentRecorder } from "./recorder.ts"
import * as Redact from "./redact.ts"
import { CurrentServiceClock } from "./serviceClock.ts"

export interface TransportOptions {
  readonly httpClient: HttpClient.HttpClient
  readonly token: Redacted.Redacted
  readonly baseUrl: string
  readonly userAgent: string
  readonly timeout: Duration.Duration
  readonly logPayloads: boolean
  /** The policy and the limiter that the client was built with. Those around a call take precedence. */
  readonly retryPolicy: RetryPolicy.Policy | undefined
  readonly rateLimit: RateLimit.Limiter | undefined
}

interface CallOptions {
  readonly operation: Operation
  /** The stack whose rate limits the request uses. */
  readonly stackKey: string
  /** For a request that must take effect at most once. Called after an ambiguous failure; returns whether the request took effect. */
  readonly tookEffect?: ((onAttempt: () => void) => Effect.Effect<boolean, StacksError.StacksError>) | undefined
  /** For a request that removes something: after an ambiguous failure, a 404 is a success. */
  readonly isDoneWhenGone?: boolean | undefined
  /** Set for a nested call. Invoked for each request that the nested call sends. A nested call's attempts are not recorded. */
  readonly onNestedRequest?: (() => void) | undefined
}

export interface Transport {
  readonly call: <Request, Success>(
    endpoint: CompiledEndpoint<Request, Success>,
    request: Request,
    options: CallOptions
  ) => Effect.Effect<Success, StacksError.StacksError>
}

export const make = (options: TransportOptions): Transport => {
  const token = Redacted.value(options.token).trim()
  const baseUrl = options.baseUrl.replace(/\/+$/, "")
  const invalidSetup = findInvalidSetup(token, baseUrl, options)
  // An invalid URL may have credentials anywhere.
  const shownBaseUrl = invalidSetup === undefined ? baseUrl : baseUrl.replace(/^(\w+:\/\/)?.*@/s, "$1")
  const headers = Headers.fromInput({
    accept: "application/json",
    authorization: `Token ${token}`,
    "content-type": "application/json",
    "user-agent": options.userAgent
  })
  const redact = Redact.make(token)
  const send = Attempt.make({ httpClient: options.httpClient, timeout: options.timeout, redact })

  const run = <A>(
    fiber: Fiber.Fiber<unknown, unknown>,
    endpoint: CompiledEndpoint<never, A>,
    encoded: EncodedRequest,
    { onNestedRequest, isDoneWhenGone, operation, stackKey, tookEffect }: CallOptions
  ): Effect.Effect<A, StacksError.StacksError> => {
    const { cache, context } = fiber
    const info: Failures.RequestInfo = { operation, method: endpoint.method, url: shownBaseUrl + encoded.path }
    const request = HttpClientRequest.makeWith(
      endpoint.method,
      baseUrl + encoded.path,
      UrlParams.empty,
      Option.none(),
      headers,
      encoded.body === undefined ? HttpBody.empty : HttpBody.text(encoded.body, "application/json")
    )
    const recorder = Context.getOrUndefined(context, CurrentRecorder)
    const meter = Context.getOrUndefined(context, CurrentMeter)
    const serviceClock = Context.getOrUndefined(context, CurrentServiceClock)
    const chosen =
      Context.getOrUndefined(context, RateLimit.RateLimit) ??
      options.rateLimit ??
      Context.get(context, FallbackRateLimit) ??
      RateLimit.none
    const limiter = Context.get(context, MapRateLimit)?.(chosen) ?? chosen
    const isLogged = LogLevel.isLessThanOrEqualTo(cache.minimumLogLevel, "Debug")
    let attempts = 0
    /** The requests that were sent, including nested calls. */
    let sent = 0
    const countSent = () => void sent++

    const attemptOnce = (
      observe: (response: RateLimit.Observation) => void
    ): Effect.Effect<A, StacksError.StacksError> => {
      const attempt = ++attempts
      countSent()
      onNestedRequest?.()
      if (recorder !== undefined && onNestedRequest === undefined) recorder.attempts = attempt
      return withAttemptSpan(fiber, info, attempt, isLogged, (requestId, onStatus) => {
        const log = isLogged
          ? new AttemptLog(
              { ...info, requestId, attempt },
              options.logPayloads ? redact.text(encoded.body ?? "") : undefined
            )
          : undefined
        const onDate = serviceClock?.expectResponse(Context.get(context, Clock.Clock))
        const sending = send({
          endpoint,
          info,
          request,
          timeout: Duration.min(options.timeout, Context.get(context, AttemptTimeout)),
          log,
          onResponse: (response) => {
            onStatus?.(response.status)
            onDate?.(response.headers)
            if (recorder !== undefined) {
              recorder.status = response.status
              recorder.headers = response.headers
            }
            return limiter === RateLimit.none
              ? undefined
              : Effect.map(Clock.currentTimeMillis, (now) =>
                  observe({
                    status: response.status,
                    headers: response.headers,
                    retryAfter: ResponseHeaders.retryAfter(response.headers, now)
                  })
                )
          }
        })
        const response = meter === undefined ? sending : meter(operation, attempt, sending)
        return log === undefined ? response : log.around(response)
      })
    }

    const limited = Effect.suspend(() => limiter.limit({ operation, stackKey }, attemptOnce))
    const { success } = endpoint
    const once =
      success._tag === "Json"
        ? limited
        : tookEffect !== undefined
          ? atMostOnce(limited, success.value, tookEffect(countSent))
          : isDoneWhenGone === true
            ? doneWhenGone(limited, success.value)
            : limited

    return Effect.catch(once, (failure) => {
      if (!failure.isRetryable) return Effect.fail(failure)
      const plan =
        Context.getOrUndefined(context, RetryPolicy.RetryPolicy)?.select(operation) ??
        options.retryPolicy?.select(operation) ??
        RetryPolicy.standard.select(operation)
      return plan === undefined ? Effect.fail(failure) : RetryPlan.retry(once, failure, plan, () => sent)
    })
  }

  return {
    call: (endpoint, request, callOptions) =>
      Effect.withFiber((fiber) => {
        const refuse = (issue: string) =>
          Effect.fail(
            new StacksError.InvalidRequest({
              operation: callOptions.operation,
              method: endpoint.method,
              url: shownBaseUrl + endpoint.pathTemplate,
              issue
            })
          )
        if (invalidSetup !== undefined) return refuse(invalidSetup)
        const encoded = endpoint.encode(request)
        if (Result.isFailure(encoded)) return refuse(encoded.failure.message)
        return withOperationSpan(fiber, callOptions, (fiber) => run(fiber, endpoint, encoded.success, callOptions))
      })
  }
}

/** Why the client's settings are invalid, if they are. The text does not contain the token. */
const findInvalidSetup = (
  token: string,
  baseUrl: string,
  { timeout, userAgent }: Pick<TransportOptions, "timeout" | "userAgent">
): string | undefined => {
  if (token === "") return "The token is empty: use a cluster token (bkct_…)"
  if (!/^[\x21-\x7e]+$/.test(token)) return "The token has invalid characters: use a cluster token (bkct_…)"
  if (!/^[\x20-\x7e]*$/.test(userAgent)) return "The user agent prefix has invalid characters"
  if (!(Duration.toMillis(timeout) > 0)) return "The timeout must be longer than 0: the default is 60 seconds"
  const url = /^https?:\/\//i.test(baseUrl) && URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
  if (url === undefined) return "The base URL is not an HTTP URL: use something like https://agent.buildkite.com/v3/"
  if (url.username !== "" || url.password !== "") return "The base URL has credentials"
  return /[?#]/.test(baseUrl) ? "The base URL has a query or a fragment" : undefined
}
