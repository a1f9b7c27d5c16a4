/**
 * An `HttpClient` over undici, for `StacksClient` only: requests with bodies of bytes, and responses that are read as a text or a stream.
 *
 * It is like `NodeHttpClient.layerUndici` without a Node stream for a body that is read at once, an abort signal and a promise, which saves
 * about a third of the cost of a call.
 */
import { Readable } from "node:stream"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeStream from "@effect/platform-node/NodeStream"
import type * as Undici from "@effect/platform-node/Undici"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Cookies from "effect/http/Cookies"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type { HttpClientRequest } from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { pipeArguments } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type * as Stream from "effect/Stream"
import { Deadlines, type Queue } from "./deadlines.ts"
import { Fence } from "./fence.ts"
import * as Proxy from "./proxy.ts"
import * as Routes from "./routes.ts"

/** How much of a body is buffered before it is read. */
const highWaterMark = 64 * 1024

type Resume = (effect: Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>) => void

const interrupted = () => new Error("The request was interrupted")

/** The failure of a request at its deadline. By these fields, core's client knows and describes it. */
const timedOut = (millis: number) => {
  const whyNotSent = `no complete response within ${Duration.format(Duration.millis(millis))}`
  return Object.assign(new Error(whyNotSent), { code: "ERR_TIMEOUT", whyNotSent })
}

/** One request and its response: undici's handler. */
class Exchange implements Undici.Dispatcher.DispatchHandler {
  readonly request: HttpClientRequest
  readonly #fiber: Fiber.Fiber<unknown, unknown>
  readonly #resume: Resume
  readonly #proxy: Proxy.Proxy | undefined
  readonly #deadline: Queue | undefined
  #controller: Undici.Dispatcher.DispatchController | undefined
  #abortReason: Error | undefined
  /** The failure of its deadline. */
  #timeout: Error | undefined
  #isStarted = false
  #isClaimed = false
  #isPaused = false

  /** The received part of the body, until a stream takes it over. */
  readonly chunks: Array<Uint8Array> = []
  #size = 0
  #stream: Readable | undefined
  #end: { readonly error: Error | undefined } | undefined
  #onEnd: Array<() => void> = []
  #stopWatching: (() => void) | undefined

  constructor(
    request: HttpClientRequest,
    fiber: Fiber.Fiber<unknown, unknown>,
    proxy: Proxy.Proxy | undefined,
    deadline: Queue | undefined,
    resume: Resume
  ) {
    this.request = request
    this.#fiber = fiber
    this.#proxy = proxy
    this.#deadline = deadline
    this.#resume = resume
    deadline?.add(this, fiber)
  }

  readonly abort = Effect.sync(() => this.#abortUnsafe(interrupted()))

  /** Ends it at its deadline. */
  expire(millis: number) {
    const reason = timedOut(millis)
    this.#timeout = reason
    this.#abortUnsafe(reason)
    if (!this.#isStarted) this.#fail(reason)
  }

  /** For a request that undici has refused. */
  neverSent(cause: unknown): HttpClientError.HttpClientError {
    this.#deadline?.remove(this)
    return notSent(this.request, cause)
  }

  /** Ends it without a response. */
  #fail(error: Error) {
    if (this.#end !== undefined) return
    this.#end = { error }
    this.#deadline?.remove(this)
    this.#resume(Effect.fail(this.#failureOf(error)))
  }

  #abortUnsafe(reason: Error) {
    this.#deadline?.remove(this)
    this.#abortReason ??= reason
    if (this.#end === undefined) this.#controller?.abort(this.#abortReason)
  }

  /** Waits for the end of the body, in success or failure. */
  whenEnded(): Effect.Effect<{ readonly error: Error | undefined }> {
    this.#claim()
    return this.#end !== undefined
      ? Effect.succeed(this.#end)
      : Effect.callback((resume) => {
          this.#onEnd.push(() => resume(Effect.succeed(this.#end ?? { error: undefined })))
          return this.abort
        })
  }

  /** The body as a Node stream. Destroying it early releases the connection. */
  toStream(): Readable {
    if (this.#stream !== undefined) return this.#stream
    const stream = new Readable({
      read: () => this.#goOn(),
      destroy: (error, done) => {
        this.#abortUnsafe(error ?? interrupted())
        done(error)
      }
    })
    // A reader gets the error; without a reader it must not end the process.
    stream.on("error", () => {})
    for (const chunk of this.chunks.splice(0)) stream.push(chunk)
    this.#stream = stream
    this.#claim()
    if (this.#end !== undefined) this.#endStream(stream, this.#end.error)
    return stream
  }

  #claim() {
    this.#isClaimed = true
    this.#stopWatching?.()
    this.#goOn()
  }

  /** Aborts if the fiber ends before it reads the body, for example by an interruption: the connection must not wait for the rest. */
  #abortWhenUnclaimed() {
    if (this.#end !== undefined) return
    this.#stopWatching = this.#fiber.addObserver(() => this.#abortUnsafe(new Error("The response's body was not read")))
  }

  #goOn() {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#controller?.resume()
  }

  #pause(controller: Undici.Dispatcher.DispatchController) {
    this.#isPaused = true
    controller.pause()
  }

  #endStream(stream: Readable, error: Error | undefined) {
    if (error === undefined) stream.push(null)
    else stream.destroy(error)
  }

  #finish(error: Error | undefined) {
    if (this.#end !== undefined) return
    this.#end = { error }
    this.#deadline?.remove(this)
    this.#stopWatching?.()
    if (this.#stream !== undefined) this.#endStream(this.#stream, error)
    // Deferred: undici is still busy with this response, and would open another connection for the next request.
    if (this.#onEnd.length > 0) queueMicrotask(() => this.#onEnd.forEach((listener) => void listener()))
  }

  // ---------------------------------------------------------------------------
  // Called by undici
  // ---------------------------------------------------------------------------

  onRequestStart(controller: Undici.Dispatcher.DispatchController) {
    if (!this.#fiber.getRef(Fence)()) this.#abortReason ??= new Error("The request may no longer be sent")
    // Nothing has been sent yet.
    if (this.#abortReason !== undefined) return controller.abort(this.#abortReason)
    this.#controller = controller
  }

  onResponseStart(
    _: Undici.Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | Array<string> | undefined>
  ) {
    if (status < 200) return
    this.#isStarted = true
    const response = new Response(this, status, headers)
    // Deferred, so that a body that arrived with the headers is complete.
    queueMicrotask(() => {
      this.#abortWhenUnclaimed()
      this.#resume(Effect.succeed(response))
    })
  }

  onResponseData(controller: Undici.Dispatcher.DispatchController, chunk: Uint8Array) {
    // The body of a response that undici reports as a failure, such as a proxy's.
    if (this.#end !== undefined) return
    if (this.#stream !== undefined) {
      if (!this.#stream.push(chunk)) this.#pause(controller)
      return
    }
    this.chunks.push(chunk)
    this.#size += chunk.byteLength
    if (!this.#isClaimed && this.#size > highWaterMark) this.#pause(controller)
  }

  onResponseEnd() {
    this.#finish(undefined)
  }

  onResponseError(_: Undici.Dispatcher.DispatchController, error: Error) {
    if (this.#isStarted) this.#finish(error)
    else this.#fail(error)
  }

  #failureOf(error: Error): HttpClientError.HttpClientError {
    const proxy = this.#proxy
    const { request } = this
    if (
      proxy !== undefined &&
      this.#abortReason === undefined &&
      (this.#controller === undefined || isAuthenticationRequired(error))
    ) {
      return failed(request, Proxy.failure(proxy, new URL(request.url), error))
    }
    if (error === this.#timeout) return failed(request, error)
    return this.#controller === undefined ? notSent(request, error) : broken(request, error)
  }
}

/** A proxy that asks for authentication has not passed on the request. */
const isAuthenticationRequired = (error: Error): boolean => error.message === "Proxy Authentication Required (407)"

const failed = (request: HttpClientRequest, cause: unknown) =>
  new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })

/** Nothing of the request was sent. By this code, core's client knows that it can't have been processed. */
const notSent = (request: HttpClientRequest, cause: unknown) =>
  failed(request, Object.assign(new Error("Nothing was sent", { cause }), { code: "ERR_NOT_SENT" }))

/** Adds a code for a response that is not HTTP, for core's client; undici has none. */
const broken = (request: HttpClientRequest, cause: Error) =>
  failed(request, cause.name === "HTTPParserError" ? Object.assign(cause, { code: "ERR_INVALID_HTTP" }) : cause)

/** Removes a byte order mark, like fetch. */
const utf8 = new TextDecoder()

const concat = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  const [only] = chunks
  return chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks)
}

class Response extends Inspectable.Class implements HttpClientResponse.HttpClientResponse {
  readonly [HttpIncomingMessage.TypeId]: typeof HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId]: typeof HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly status: number
  readonly #exchange: Exchange
  readonly #rawHeaders: Record<string, string | Array<string> | undefined>
  #parsedHeaders: Headers.Headers | undefined

  constructor(exchange: Exchange, status: number, headers: Record<string, string | Array<string> | undefined>) {
    super()
    this.#exchange = exchange
    this.status = status
    this.#rawHeaders = headers
  }

  get request() {
    return this.#exchange.request
  }

  get url() {
    return this.request.url
  }

  get headers(): Headers.Headers {
    this.#parsedHeaders ??= Headers.fromInput(this.#rawHeaders)
    return this.#parsedHeaders
  }

  get cookies(): Cookies.Cookies {
    return Cookies.fromSetCookie(this.#rawHeaders["set-cookie"] ?? [])
  }

  get remoteAddress(): Option.Option<string> {
    return Option.none()
  }

  get #bytes(): Effect.Effect<Uint8Array, HttpClientError.HttpClientError> {
    const exchange = this.#exchange
    return Effect.suspend(() =>
      Effect.flatMap(exchange.whenEnded(), ({ error }) =>
        error === undefined ? Effect.succeed(concat(exchange.chunks)) : Effect.fail(this.#cutShort(error))
      )
    )
  }

  get text(): Effect.Effect<string, HttpClientError.HttpClientError> {
    return Effect.map(this.#bytes, (bytes) => utf8.decode(bytes))
  }

  get arrayBuffer(): Effect.Effect<ArrayBuffer, HttpClientError.HttpClientError> {
    return Effect.map(this.#bytes, (bytes) => new Uint8Array(bytes).buffer)
  }

  get stream(): Stream.Stream<Uint8Array, HttpClientError.HttpClientError> {
    return NodeStream.fromReadable<Uint8Array, HttpClientError.HttpClientError>({
      evaluate: () => this.#exchange.toStream(),
      onError: (cause) => this.#cutShort(cause)
    })
  }

  get json() {
    return this.#asWeb((response) => response.json)
  }

  get urlParamsBody() {
    return this.#asWeb((response) => response.urlParamsBody)
  }

  get formData() {
    return this.#asWeb((response) => response.formData)
  }

  get upgrade(): HttpClientResponse.HttpClientResponse["upgrade"] {
    return Effect.fail(
      new HttpClientError.HttpClientError({
        reason: new HttpClientError.StatusCodeError({
          request: this.request,
          response: this,
          description: "expected 101 Switching Protocols"
        })
      })
    )
  }

  /** Parses formats that `StacksClient` never uses with a web `Response`. */
  #asWeb<A>(
    read: (response: HttpClientResponse.HttpClientResponse) => Effect.Effect<A, HttpClientError.HttpClientError>
  ): Effect.Effect<A, HttpClientError.HttpClientError> {
    return Effect.flatMap(this.arrayBuffer, (body) =>
      read(HttpClientResponse.fromWeb(this.request, new globalThis.Response(body, { headers: this.headers })))
    )
  }

  #cutShort(cause: unknown): HttpClientError.HttpClientError {
    return new HttpClientError.HttpClientError({
      reason: new HttpClientError.DecodeError({ request: this.request, response: this, cause })
    })
  }

  pipe() {
    return pipeArguments(this, arguments)
  }

  toJSON(): unknown {
    return HttpIncomingMessage.inspect(this, {
      _id: "effect/http/HttpClientResponse",
      request: this.request.toJSON(),
      status: this.status
    })
  }
}

const make = (targetOf: Routes.TargetOf): HttpClient.HttpClient => {
  const deadlines = new Deadlines()
  const send = (request: HttpClientRequest, fiber: Fiber.Fiber<unknown, unknown>, millis: number) => {
    const target = targetOf(request)
    if (Result.isFailure(target)) return Effect.fail(target.failure)
    const { path, route } = target.success
    const { body } = request
    return Effect.callback<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>((resume) => {
      const deadline = Number.isFinite(millis) ? deadlines.queue(fiber.getRef(Clock.Clock), millis) : undefined
      const exchange = new Exchange(request, fiber, route.proxy, deadline, resume)
      const dispatched = Result.try(() =>
        route.dispatcher.dispatch(
          {
            ...fiber.getRef(NodeHttpClient.UndiciOptions),
            method: request.method as Undici.Dispatcher.HttpMethod,
            headers: request.headers,
            origin: route.origin,
            path,
            body: body._tag === "Uint8Array" ? body.body : null,
            // The time of each attempt is limited as a whole.
            headersTimeout: 60 * 60 * 1000,
            bodyTimeout: 0
          },
          exchange
        )
      )
      if (Result.isFailure(dispatched)) resume(Effect.fail(exchange.neverSent(dispatched.failure)))
      return exchange.abort
    })
  }
  const client = HttpClient.makeWith<never, never, HttpClientError.HttpClientError, never>(
    (request) =>
      Effect.flatMap(request, (request) => Effect.withFiber((fiber) => send(request, fiber, Number.POSITIVE_INFINITY))),
    Effect.succeed
  )
  // Core's client uses this variant, which limits the time of a request itself.
  Object.assign(client.execute, {
    within: (request: HttpClientRequest, timeout: Duration.Duration) =>
      Effect.withFiber<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>((fiber) =>
        send(request, fiber, Duration.toMillis(timeout))
      )
  })
  return client
}

/**
 * An `HttpClient` with its own connections, which close with the layer. Bun replaces undici by a module whose agents don't dispatch: there it
 * uses Bun's `fetch`.
 */
export const layerProxied = (choice: Proxy.Choice | undefined): Layer.Layer<HttpClient.HttpClient> =>
  Layer.unwrap(
    Effect.map(
      Effect.promise(() => import("@effect/platform-node/Undici")),
      (undici) =>
        Predicate.isFunction(undici.Agent.prototype.dispatch)
          ? Layer.effect(HttpClient.HttpClient, Effect.map(Routes.make(undici, choice), make))
          : FetchHttpClient.layer
    )
  )

/** The same with the proxies of the environment. */
export const layer: Layer.Layer<HttpClient.HttpClient> = layerProxied(undefined)
