/** A client of a Docker Engine's API: Effect's `HttpClient` over a unix socket or TCP, with the API version that the Engine has. */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import type * as HttpMethod from "effect/http/HttpMethod"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Endpoint } from "./endpoint.ts"

/** The oldest and the newest version whose requests and responses are known to be as written here. */
const oldest = [1, 40] as const
const newest = [1, 51] as const

const connectTimeout = Duration.seconds(5)
const defaultTimeout = Duration.seconds(30)

/** A call failed. Without a status the Engine did not answer, and nothing is known about what the call did. */
export class EngineError extends Data.TaggedError("EngineError")<{
  readonly host: string
  readonly status: number | undefined
  /** What the Engine says, or why there is no answer. */
  readonly message: string
  readonly cause?: unknown
}> {}

interface Call {
  readonly query?: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly headers?: Readonly<Record<string, string>>
  /** A JSON value, or an archive. */
  readonly body?: object | Uint8Array
  /** Until the response's head is there. Default 30 seconds. */
  readonly timeout?: Duration.Duration
}

type Send = (
  method: HttpMethod.HttpMethod,
  path: string,
  call?: Call
) => Effect.Effect<HttpClientResponse.HttpClientResponse, EngineError>

export interface Engine {
  readonly host: string
  /** Sends a request. Fails with what the Engine says for a status of 400 and more. */
  readonly send: Send
  /** Sends a request whose response has nothing to read. */
  readonly run: (method: HttpMethod.HttpMethod, path: string, call?: Call) => Effect.Effect<void, EngineError>
  /** The body of a response, decoded. */
  readonly decode: <A>(
    schema: Schema.Codec<A, unknown>,
    response: HttpClientResponse.HttpClientResponse
  ) => Effect.Effect<A, EngineError>
  /** Sends a request, and decodes the body of its response. */
  readonly json: <A>(
    schema: Schema.Codec<A, unknown>,
    method: HttpMethod.HttpMethod,
    path: string,
    call?: Call
  ) => Effect.Effect<A, EngineError>
  /** The bytes of a response as they arrive. */
  readonly bytes: (method: HttpMethod.HttpMethod, path: string, call?: Call) => Stream.Stream<Uint8Array, EngineError>
  /** The lines of a response, decoded as they arrive. */
  readonly lines: <A>(
    schema: Schema.Codec<A, unknown>,
    method: HttpMethod.HttpMethod,
    path: string,
    call?: Call
  ) => Stream.Stream<A, EngineError>
  /** Whether it answers. */
  readonly ping: Effect.Effect<void, EngineError>
}

/** Makes a client whose connections close with the scope. */
export const make = Effect.fnUntraced(function* (endpoint: Endpoint): Effect.fn.Return<Engine, never, Scope.Scope> {
  const { host } = endpoint
  const dispatcher = yield* NodeHttpClient.makeDispatcherOptions({ connect: connectionOf(endpoint) })
  const http = yield* Effect.provideService(NodeHttpClient.makeUndici, NodeHttpClient.Dispatcher, dispatcher)
  const execute = executeWith(http, endpoint)
  const negotiate = negotiateWith(execute, host)
  let version: string | undefined

  const send: Send = Effect.fnUntraced(
    function* (method, path, call = {}) {
      const negotiated = version ?? (yield* negotiate)
      version = negotiated
      return yield* execute(method, `/${negotiated}${path}`, call)
    },
    Effect.tapError(({ status }) =>
      Effect.sync(() => {
        // An Engine that did not answer may come back with another version.
        if (status === undefined) version = undefined
      })
    )
  )

  const unreadable = (cause: unknown) =>
    new EngineError({ host, status: undefined, message: "its response can't be read", cause })

  const decodeText = <A>(schema: Schema.Codec<A, unknown>, text: string) =>
    Effect.mapError(Schema.decodeUnknownEffect(Schema.fromJsonString(schema))(text), ({ message }) =>
      unreadable(message)
    )

  const textOf = ({ text }: HttpClientResponse.HttpClientResponse) =>
    text.pipe(
      Effect.mapError(() => unreadable(undefined)),
      Effect.timeoutOrElse({ duration: defaultTimeout, orElse: () => Effect.fail(unreadable("it does not end")) })
    )

  const decode: Engine["decode"] = (schema, response) =>
    Effect.flatMap(textOf(response), (text) => decodeText(schema, text))

  const bytes: Engine["bytes"] = (method, path, call) =>
    Stream.unwrap(
      Effect.map(send(method, path, call), ({ stream }) => Stream.mapError(stream, () => unreadable(undefined)))
    )

  return {
    host,
    send,
    run: (method, path, call) =>
      Effect.flatMap(send(method, path, call), (response) => Effect.ignore(textOf(response))),
    decode,
    json: (schema, method, path, call) =>
      Effect.flatMap(send(method, path, call), (response) => decode(schema, response)),
    bytes,
    lines: (schema, method, path, call) =>
      bytes(method, path, call).pipe(
        Stream.decodeText(),
        Stream.splitLines,
        Stream.filter((line) => line.trim() !== ""),
        Stream.mapEffect((line) => decodeText(schema, line))
      ),
    ping: Effect.asVoid(negotiate)
  }
})

/** Sends requests whose path has the version already. */
const executeWith = (http: HttpClient.HttpClient, { baseUrl, host }: Endpoint) => {
  const failed = (status: number | undefined, message: string, cause?: unknown) =>
    new EngineError({ host, status, message, cause })

  const noAnswer = (error: HttpClientError.HttpClientError) => {
    // Not the error itself: it has the request, and that may have credentials.
    const cause = "cause" in error.reason ? error.reason.cause : undefined
    return failed(undefined, whyNoAnswer(cause) ?? error.reason._tag, cause)
  }

  return Effect.fnUntraced(function* (
    method: HttpMethod.HttpMethod,
    path: string,
    { body, headers, query, timeout = defaultTimeout }: Call
  ) {
    const request = HttpClientRequest.make(method)(`${baseUrl}${path}`, { urlParams: query, headers }).pipe(
      (request) =>
        body === undefined
          ? request
          : body instanceof Uint8Array
            ? HttpClientRequest.bodyUint8Array(request, body, "application/x-tar")
            : HttpClientRequest.bodyJsonUnsafe(request, body)
    )
    const answered = yield* http.execute(request).pipe(Effect.mapError(noAnswer), Effect.timeoutOption(timeout))
    if (Option.isNone(answered)) {
      return yield* failed(undefined, `it does not answer within ${Duration.format(timeout)}`)
    }
    const response = answered.value
    if (response.status < 400) return response
    const text = yield* Effect.orElseSucceed(response.text, () => "")
    return yield* failed(response.status, messageIn(text) ?? `status ${response.status}`)
  }, withoutTraces)
}

/** Asks an Engine for its version. Gives the part of paths with the version to use. */
const negotiateWith = (execute: ReturnType<typeof executeWith>, host: string) =>
  Effect.gen(function* () {
    const response = yield* execute("GET", "/_ping", { timeout: Duration.seconds(10) })
    yield* Effect.ignore(response.text)
    const text = response.headers["api-version"] ?? ""
    const offered = parseVersion(text)
    if (offered === undefined || isOlder(offered, oldest)) {
      const message = `its API version is ${text === "" ? "unknown" : text}, and ${oldest.join(".")} is needed (Docker 19.03 or later)`
      return yield* new EngineError({ host, status: undefined, message })
    }
    return `v${(isOlder(offered, newest) ? offered : newest).join(".")}`
  })

const connectionOf = ({ socketPath, tls }: Endpoint) => ({
  timeout: Duration.toMillis(connectTimeout),
  ...(socketPath !== undefined && { socketPath }),
  ...(tls !== undefined && {
    rejectUnauthorized: tls.rejectUnauthorized,
    ...(tls.ca !== undefined && { ca: tls.ca }),
    ...(tls.cert !== undefined && { cert: tls.cert }),
    ...(tls.key !== undefined && { key: tls.key })
  })
})

/** An Engine is listed every second, and its requests may hold credentials. */
const withoutTraces = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  effect.pipe(
    Effect.provideService(HttpClient.TracerDisabledWhen, () => true),
    Effect.provideService(HttpClient.TracerPropagationEnabled, false)
  )

// -----------------------------------------------------------------------------
// Parts of responses
// -----------------------------------------------------------------------------

type Version = readonly [major: number, minor: number]

const parseVersion = (text: string): Version | undefined => {
  const [, major, minor] = /^(\d+)\.(\d+)$/.exec(text) ?? []
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)]
}

const isOlder = ([major, minor]: Version, [otherMajor, otherMinor]: Version): boolean =>
  major === otherMajor ? minor < otherMinor : major < otherMajor

const ErrorBody = Schema.fromJsonString(Schema.Struct({ message: Schema.String }))

const messageIn = (text: string): string | undefined =>
  Option.match(Schema.decodeUnknownOption(ErrorBody)(text), {
    onNone: () => text.trim() || undefined,
    onSome: ({ message }) => message
  })

const reasons: Readonly<Record<string, string>> = {
  EACCES: "this user may not use its socket",
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection broke",
  EHOSTUNREACH: "the host can't be reached",
  ENOENT: "there is no such socket",
  ENOTFOUND: "there is no such host",
  EPIPE: "the connection broke",
  UND_ERR_CONNECT_TIMEOUT: "the host does not answer",
  UND_ERR_SOCKET: "the connection broke"
}

const whyNoAnswer = (cause: unknown): string | undefined => {
  if (!Predicate.isError(cause)) return undefined
  const code = "code" in cause ? String(cause.code) : ""
  return reasons[code] ?? (code === "" ? cause.message : `${cause.message} (${code})`)
}
