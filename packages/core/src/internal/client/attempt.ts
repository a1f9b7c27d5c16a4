/** One attempt: sends a request, reads the response within limits of memory and time, and decodes it. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { constTrue } from "effect/Function"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import type { HttpClientRequest } from "effect/http/HttpClientRequest"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as Result from "effect/Result"
import * as StacksError from "../../StacksError.ts"
import { oneLine } from "../schema/text.ts"
import type { AttemptLog } from "../telemetry.ts"
import type { CompiledEndpoint } from "./endpoint.ts"
import * as Failures from "./failures.ts"
import { OnJson } from "./onJson.ts"
import type { Redact } from "./redact.ts"
import * as ResponseBody from "./responseBody.ts"

/**
 * `execute` of `@stacksapi/node`'s client has a variant that limits the time itself, which costs less than fibers. The variant makes no
 * spans, and follows no redirects. It is a property of the function, so that a client with another `execute` does not have it.
 */
interface Execute {
  (request: HttpClientRequest): ReturnType<HttpClient.HttpClient["execute"]>
  readonly within?: (request: HttpClientRequest, timeout: Duration.Duration) => ReturnType<Execute>
}

export interface AttemptOptions {
  readonly httpClient: HttpClient.HttpClient
  readonly timeout: Duration.Duration
  /** Removes tokens from responses. */
  readonly redact: Redact
}

export interface Attempt<A> {
  readonly endpoint: CompiledEndpoint<never, A>
  readonly info: Failures.RequestInfo
  readonly request: HttpClientRequest
  readonly timeout: Duration.Duration
  /** Called with the response's headers, before its body. */
  readonly onResponse: (response: HttpClientResponse) => Effect.Effect<void> | undefined
  readonly log: AttemptLog | undefined
}

/**
 * Turns off the HTTP client's spans, so that no tracing headers reach a third party. Turns off redirects, which fetch would
 * follow.
 */
const withRequestDefaults = (context: Context.Context<never>): Context.Context<never> =>
  Context.add(Context.add(context, HttpClient.TracerDisabledWhen, constTrue), FetchHttpClient.RequestInit, {
    ...Context.getOrUndefined(context, FetchHttpClient.RequestInit),
    redirect: "manual"
  })

type Received<A> = Effect.Effect<A, StacksError.StacksError>

/** Makes the function that runs attempts. */
export const make = ({ httpClient, redact, timeout }: AttemptOptions) => {
  /** The timeout for bodies that are not decoded. */
  const bodyTimeout = Duration.millis(Math.min(Duration.toMillis(timeout) / 2, 5000))

  const receiveError = <A>({ info, log }: Attempt<A>, response: HttpClientResponse): Received<A> =>
    Effect.flatMap(ResponseBody.readSome(response, bodyTimeout), (body) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        log?.received(response, redact.body(body))
        const { headers, status } = response
        return Effect.fail(Failures.errorResponse(info, { status, headers, body }, now, redact))
      })
    )

  const receiveConstant = <A>({ log }: Attempt<A>, response: HttpClientResponse, value: A): Received<A> =>
    Effect.map(ResponseBody.readSome(response, bodyTimeout), (body) => {
      log?.received(response, redact.body(body))
      return value
    })

  const receiveJson = <A>(
    { endpoint, info, log }: Attempt<A>,
    response: HttpClientResponse,
    decode: (json: unknown, redact: Redact["text"]) => Result.Result<A, { readonly message: string }>
  ): Received<A> =>
    Effect.matchEffect(ResponseBody.readWhole(response), {
      onFailure: (error) => Effect.fail(Failures.cutShort(info, error, redact)),
      onSuccess: (body) => {
        const { isCropped, text } = body
        log?.received(response, endpoint.isSensitive ? "<redacted>" : redact.body(body))
        const decodeError = (issue: string) =>
          Effect.fail(
            new StacksError.DecodeError({
              ...info,
              status: response.status,
              headers: redact.headers(response.headers),
              issue: oneLine(redact.text(issue)),
              rawBody: endpoint.isSensitive ? "" : redact.body(body).slice(0, ResponseBody.MaxRawBodyBytes)
            })
          )
        if (isCropped) return decodeError(`the body is larger than ${ResponseBody.MaxBodyBytes} bytes`)
        if (text === "") return decodeError("the body is empty")
        const json = Failures.parseJson(text)
        if (Result.isFailure(json)) {
          const encoding = response.headers["content-encoding"]
          return decodeError(`the body is not JSON${encoding ? `, but ${encoding}` : ""}`)
        }
        const finish = Effect.suspend(() => {
          const value = decode(json.success, redact.text)
          if (Result.isSuccess(value)) return Effect.succeed(value.success)
          return decodeError(endpoint.isSensitive ? "the body has another shape than declared" : value.failure.message)
        })
        return Effect.flatMap(OnJson, (onJson) =>
          onJson === undefined ? finish : Effect.andThen(onJson(json.success), finish)
        )
      }
    })

  const receive = <A>(attempt: Attempt<A>, response: HttpClientResponse): Received<A> => {
    if (response.status < 200 || response.status > 299) return receiveError(attempt, response)
    const { success } = attempt.endpoint
    return success._tag === "Constant"
      ? receiveConstant(attempt, response, success.value)
      : receiveJson(attempt, response, success.decode)
  }

  return <A>(attempt: Attempt<A>): Received<A> => {
    const onResponse = (response: HttpClientResponse): Received<A> => {
      const observed = attempt.onResponse(response)
      return observed === undefined ? receive(attempt, response) : Effect.andThen(observed, receive(attempt, response))
    }
    const { request, timeout } = attempt
    const execute: Execute = httpClient.execute
    const sent = execute.within?.(request, timeout)
    const received = Effect.matchEffect(sent ?? httpClient.execute(request), {
      onSuccess: onResponse,
      onFailure: (error) =>
        // A client may have a status filter. Its failure has the response.
        error.reason._tag === "StatusCodeError"
          ? onResponse(error.reason.response)
          : Effect.fail(Failures.notSent(attempt.info, error, redact))
    })
    return sent === undefined
      ? Effect.timeoutOrElse(Effect.updateContext(received, withRequestDefaults), {
          duration: timeout,
          orElse: () => Effect.fail(Failures.timedOut(attempt.info, timeout))
        })
      : received
  }
}
