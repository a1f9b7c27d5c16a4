/** One attempt: send a request, read the response within bounds of memory and time, and decode it. */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { constTrue } from "effect/Function"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import type { HttpClientRequest } from "effect/http/HttpClientRequest"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as Result from "effect/Result"
import * as StacksError from "../StacksError.ts"
import type { CompiledEndpoint } from "./endpoint.ts"
import * as Failures from "./failures.ts"
import type { Redact } from "./redact.ts"
import * as ResponseBody from "./responseBody.ts"
import type { AttemptLog } from "./telemetry.ts"

export interface AttemptOptions {
  readonly httpClient: HttpClient.HttpClient
  readonly timeout: Duration.Duration
  /** Takes tokens out of what came from outside. */
  readonly redact: Redact
}

export interface Attempt<A> {
  readonly endpoint: CompiledEndpoint<never, A>
  readonly info: Failures.RequestInfo
  readonly request: HttpClientRequest
  /** Called as soon as the response's headers are there. */
  readonly onResponse: (response: HttpClientResponse) => Effect.Effect<void> | undefined
  readonly log: AttemptLog | undefined
}

type Received<A> = Effect.Effect<A, StacksError.StacksError>

/** Makes the function that runs attempts. */
export const make = ({ httpClient, redact, timeout }: AttemptOptions) => {
  const redactHeaders = (headers: Headers.Headers): Headers.Headers =>
    Headers.fromInput(Object.entries(headers).map(([name, value]) => [name, redact.text(value ?? "")] as const))

  /** Reads what is not decoded: as far as it goes, and no further than the bound. */
  const readRaw = (response: HttpClientResponse) =>
    Effect.map(
      ResponseBody.read(response, ResponseBody.MaxRawBodyBytes, (_, text) => Effect.succeed({ text, isCropped: true })),
      ({ isCropped, text }) => (isCropped ? redact.cutText(text) : redact.text(text))
    )

  const receiveError = <A>({ info, log }: Attempt<A>, response: HttpClientResponse): Received<A> =>
    Effect.flatMap(readRaw(response), (rawBody) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        log?.received(response, rawBody)
        const headers = redactHeaders(response.headers)
        return Effect.fail(Failures.errorResponse(info, { status: response.status, headers, rawBody }, now))
      })
    )

  const receiveConstant = <A>({ log }: Attempt<A>, response: HttpClientResponse, value: A): Received<A> =>
    Effect.map(readRaw(response), (rawBody) => {
      log?.received(response, rawBody)
      return value
    })

  const receiveJson = <A>(
    { endpoint, info, log }: Attempt<A>,
    response: HttpClientResponse,
    decode: (json: unknown) => Result.Result<A, { readonly message: string }>
  ): Received<A> =>
    Effect.flatMap(
      ResponseBody.read(response, ResponseBody.MaxBodyBytes, (error) =>
        Effect.fail(Failures.cutShort(info, error, redact))
      ),
      ({ isCropped, text }) => {
        log?.received(response, endpoint.isSensitive ? "<redacted>" : redact.text(text))
        const decodeError = (issue: string) =>
          Effect.fail(
            new StacksError.DecodeError({
              ...info,
              status: response.status,
              headers: redactHeaders(response.headers),
              issue,
              rawBody: endpoint.isSensitive ? "" : redact.text(text).slice(0, ResponseBody.MaxRawBodyBytes)
            })
          )
        if (isCropped) return decodeError(`the body is larger than ${ResponseBody.MaxBodyBytes} bytes`)
        if (text === "") return decodeError("the body is empty")
        const json = Failures.parseJson(text)
        if (Result.isFailure(json)) return decodeError("the body is not JSON")
        const value = decode(json.success)
        if (Result.isSuccess(value)) return Effect.succeed(value.success)
        return decodeError(
          endpoint.isSensitive ? "the body has another shape than declared" : redact.text(value.failure.message)
        )
      }
    )

  const receive = <A>(attempt: Attempt<A>, response: HttpClientResponse): Received<A> => {
    if (response.status < 200 || response.status > 299) return receiveError(attempt, response)
    const { success } = attempt.endpoint
    return success._tag === "Constant"
      ? receiveConstant(attempt, response, success.value)
      : receiveJson(attempt, response, success.decode)
  }

  return <A>(attempt: Attempt<A>): Received<A> => {
    const got = (response: HttpClientResponse): Received<A> => {
      const seen = attempt.onResponse(response)
      return seen === undefined ? receive(attempt, response) : Effect.andThen(seen, receive(attempt, response))
    }
    return Effect.matchEffect(httpClient.execute(attempt.request), {
      onSuccess: got,
      onFailure: (error) =>
        // A client may come with a status filter of its own: its failure still holds the response.
        error.reason._tag === "StatusCodeError"
          ? got(error.reason.response)
          : Effect.fail(Failures.notSent(attempt.info, error, redact))
    }).pipe(
      // Spans are ours to make, and a third party gets no tracing headers.
      Effect.provideService(HttpClient.TracerDisabledWhen, constTrue),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => Effect.fail(Failures.timedOut(attempt.info, timeout))
      })
    )
  }
}
