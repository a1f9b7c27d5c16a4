/** Sends requests without retries or rate limits, and returns responses whatever their status. */
import * as Bytes from "effect/Bytes"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

export interface Response {
  readonly status: number
  readonly headers: Headers.Headers
  /** The JSON of the body; undefined without one. */
  readonly body: unknown
  /** Whether the body is empty or JSON. */
  readonly isJson: boolean
}

/** The times of a request and its response. */
export interface Exchange {
  readonly millis: number
  /** The local time between sending the request and receiving the response. */
  readonly at: number
  /** The service's time, from the header `Date`; NaN if there is none. */
  readonly date: number
}

export class Service extends Context.Service<
  Service,
  {
    /** Fails with a sentence if there is no complete response. */
    readonly send: (
      method: "GET" | "POST" | "PUT",
      path: string,
      options?: { readonly body?: unknown; readonly token?: string }
    ) => Effect.Effect<Response, string>
    /** Those of every response so far. */
    readonly exchanges: ReadonlyArray<Exchange>
  }
>()("@stacksapi/node/internal/doctor/service") {}

const timeout = Duration.seconds(15)

const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

export const make = (options: {
  readonly baseUrl: URL
  readonly token: Redacted.Redacted
  readonly userAgent: string
}): Effect.Effect<Service["Service"], never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (client) => {
    const exchanges: Array<Exchange> = []
    const send: Service["Service"]["send"] = Effect.fnUntraced(function* (method, path, { body, token } = {}) {
      const base = HttpClientRequest.make(method)(new URL(path, options.baseUrl)).pipe(
        HttpClientRequest.setHeaders({
          accept: "application/json",
          authorization: `Token ${token ?? Redacted.value(options.token)}`,
          "user-agent": options.userAgent
        })
      )
      const request =
        body === undefined
          ? base
          : HttpClientRequest.bodyUint8Array(base, new TextEncoder().encode(JSON.stringify(body)), "application/json")
      const start = yield* Clock.currentTimeMillis
      const received = yield* client.execute(request).pipe(
        Effect.flatMap((response) => Effect.map(textOf(response), (text) => ({ response, text }))),
        Effect.mapError((error) => (Predicate.isString(error) ? error : reasonOf(error))),
        Effect.timeoutOrElse({
          duration: timeout,
          orElse: () => Effect.fail(`no response within ${Duration.toSeconds(timeout)} seconds`)
        })
      )
      const end = yield* Clock.currentTimeMillis
      const json = received.text === "" ? Option.some(undefined) : decodeJson(received.text)
      const { headers, status } = received.response
      exchanges.push({ millis: end - start, at: (start + end) / 2, date: Date.parse(headers["date"] ?? "") })
      return { status, headers, body: Option.getOrUndefined(json), isJson: Option.isSome(json) }
    })
    return { send, exchanges }
  })

/** More than any response to the doctor has. */
const maxBodyBytes = 8 * 1024 * 1024

/** The body as a text. Fails with a sentence if it is too large. */
const textOf = ({ stream }: HttpClientResponse.HttpClientResponse) =>
  stream.pipe(
    Stream.runFoldEffect(
      (): { readonly chunks: ReadonlyArray<Uint8Array>; readonly size: number } => ({ chunks: [], size: 0 }),
      ({ chunks, size }, chunk) =>
        size + chunk.length > maxBodyBytes
          ? Effect.fail("the body is larger than 8 MiB")
          : Effect.succeed({ chunks: [...chunks, chunk], size: size + chunk.length })
    ),
    Effect.map(({ chunks }) => new TextDecoder().decode(Bytes.concat(chunks)))
  )

/** The cause of a failure, which names no secret: the innermost one, because the others only wrap it. */
const reasonOf = (error: HttpClientError.HttpClientError): string => {
  let cause: unknown = "cause" in error.reason ? error.reason.cause : undefined
  while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : undefined
  return cause instanceof Error
    ? `${cause.message || error.reason._tag}${code === undefined ? "" : ` (${code})`}`
    : error.reason._tag
}
