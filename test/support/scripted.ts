/**
 * A service that answers in process as a test says. Nothing in it waits for the outside, so that all time is the TestClock's.
 */
import { StacksClient } from "@stacksapi/core"
import { Clock, Context, Effect, Layer, Option, Redacted, type Scope } from "effect"
import { HttpClient, HttpClientError, HttpClientRequest, HttpServerResponse } from "effect/http"

/** A request that was sent. */
interface Sent {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** The text of the body, undefined where there is none. */
  readonly body: string | undefined
  /** When it was sent, in milliseconds of the Clock. */
  readonly at: number
}

/** An answer to a request; what it fails with is what the connection broke with. */
export type Answer = (
  request: Sent,
  index: number
) => HttpServerResponse.HttpServerResponse | Effect.Effect<HttpServerResponse.HttpServerResponse, unknown>

export interface Scripted {
  readonly httpClient: HttpClient.HttpClient
  readonly layer: Layer.Layer<HttpClient.HttpClient>
  /** What was sent, oldest first. */
  readonly requests: ReadonlyArray<Sent>
}

export const make = (answer: Answer): Scripted => {
  const requests: Array<Sent> = []
  const httpClient = HttpClient.make((request) =>
    Effect.flatMap(Clock.currentTimeMillis, (at) => {
      const sent: Sent = {
        method: request.method,
        url: Option.match(HttpClientRequest.toUrl(request), { onNone: () => request.url, onSome: (url) => url.href }),
        headers: { ...request.headers },
        body: request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : undefined,
        at
      }
      const index = requests.push(sent) - 1
      const answered = answer(sent, index)
      return (Effect.isEffect(answered) ? answered : Effect.succeed(answered)).pipe(
        Effect.mapError(
          (cause) =>
            new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })
        ),
        Effect.map((response) => HttpServerResponse.toClientResponse(response, { request }))
      )
    })
  )
  return { httpClient, layer: Layer.succeed(HttpClient.HttpClient, httpClient), requests }
}

/** The answers one after the other; the last one again and again. */
export const inTurn =
  (...answers: readonly [Answer, ...Array<Answer>]): Answer =>
  (request, index) =>
    (answers[Math.min(index, answers.length - 1)] ?? answers[0])(request, index)

/** An answer in JSON. */
export const json =
  (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Answer =>
  () =>
    HttpServerResponse.jsonUnsafe(body, { status, headers })

/** An answer in any other text. */
export const text =
  (status: number, body: string, headers: Readonly<Record<string, string>> = {}): Answer =>
  () =>
    HttpServerResponse.text(body, { status, headers })

/** An answer without a body. */
export const empty =
  (status: number, headers: Readonly<Record<string, string>> = {}): Answer =>
  () =>
    HttpServerResponse.empty({ status, headers })

/** No answer: the connection breaks with one of Node's error codes. */
export const broken =
  (code = "ECONNRESET"): Answer =>
  () =>
    Effect.fail(Object.assign(new Error(`read ${code}`), { code }))

/** No answer, ever. */
export const silence: Answer = () => Effect.never

export const baseUrl = "http://stacks.test/v3/"

const token = "bkct_test"

/** A client of the scripted service. */
export const client = (
  scripted: Pick<Scripted, "layer">,
  options: Partial<StacksClient.Options> = {}
): Effect.Effect<StacksClient.Service, never, Scope.Scope> =>
  StacksClient.layer({ token: Redacted.make(token), baseUrl, ...options }).pipe(
    Layer.provide(scripted.layer),
    Layer.build,
    Effect.map((context) => Context.get(context, StacksClient.StacksClient))
  )
