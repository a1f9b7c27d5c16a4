/** The spans and debug log lines of a call. Each attempt has a request id. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import type { Operation } from "../StacksApi.ts"
import type { RequestInfo } from "./client/failures.ts"
import * as Span from "./span.ts"

/** Whether a tracer is installed. */
export const isTraced = (fiber: Fiber.Fiber<unknown, unknown>): boolean => Span.installedTracer(fiber) !== undefined

/** Runs a call with all its attempts in a span, if a tracer is installed. */
export const withOperationSpan = <A, E>(
  fiber: Fiber.Fiber<unknown, unknown>,
  call: { readonly operation: Operation; readonly stackKey: string },
  f: (fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<A, E>
): Effect.Effect<A, E> => {
  const tracer = Span.installedTracer(fiber)
  if (tracer === undefined) return f(fiber)
  const attributes = { "stacksapi.operation": call.operation, "stacksapi.stack_key": call.stackKey }
  return Span.useSpan(fiber, tracer, { name: `StacksClient.${call.operation}`, kind: "internal", attributes }, (span) =>
    Span.withParent(fiber, Effect.withFiber(f), span)
  )
}

/** Gives an attempt an id, and a span if a tracer is installed. */
export const withAttemptSpan = <A, E>(
  fiber: Fiber.Fiber<unknown, unknown>,
  info: RequestInfo,
  attempt: number,
  isLogged: boolean,
  f: (requestId: string, onStatus: ((status: number) => void) | undefined) => Effect.Effect<A, E>
): Effect.Effect<A, E> => {
  const tracer = Span.installedTracer(fiber)
  if (tracer === undefined) return f(isLogged ? globalThis.crypto.randomUUID() : "", undefined)
  const requestId = globalThis.crypto.randomUUID()
  const attributes = {
    "http.request.method": info.method,
    "url.full": info.url,
    "stacksapi.request_id": requestId,
    "stacksapi.attempt": attempt
  }
  return Span.useSpan(fiber, tracer, { name: info.method, kind: "client", attributes }, (span) =>
    f(requestId, (status) => span.attribute("http.response.status_code", status))
  )
}

/** The debug log lines of one attempt. */
export class AttemptLog {
  readonly #annotations: Readonly<Record<string, unknown>>
  readonly #requestBody: string | undefined
  #response: { readonly status: number; readonly body: string } | undefined

  constructor(
    attempt: RequestInfo & { readonly requestId: string; readonly attempt: number },
    requestBody: string | undefined
  ) {
    this.#annotations = {
      operation: attempt.operation,
      method: attempt.method,
      url: attempt.url,
      request_id: attempt.requestId,
      attempt: attempt.attempt
    }
    this.#requestBody = requestBody
  }

  received(response: HttpClientResponse, body: string): void {
    this.#response = { status: response.status, body }
  }

  around<A, E>(sent: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.andThen(
      this.#log("sending request", this.#requestBody === undefined ? {} : { request_body: this.#requestBody }),
      Effect.flatMap(Clock.monotonicTimeNanos, (start) =>
        Effect.matchEffect(sent, {
          onFailure: (error) =>
            Effect.andThen(this.#ended("request failed", start, { error: String(error) }), Effect.fail(error)),
          onSuccess: (value) => Effect.as(this.#ended("received response", start, {}), value)
        })
      )
    )
  }

  #ended(message: string, start: bigint, annotations: Readonly<Record<string, unknown>>) {
    return Effect.flatMap(Clock.monotonicTimeNanos, (end) =>
      this.#log(message, {
        ...(this.#response === undefined ? {} : { status: this.#response.status }),
        ...(this.#requestBody === undefined || this.#response === undefined
          ? {}
          : { response_body: this.#response.body }),
        ...annotations,
        duration: Duration.format(Duration.nanos(end - start))
      })
    )
  }

  #log(message: string, annotations: Readonly<Record<string, unknown>>) {
    return Effect.annotateLogs(Effect.logDebug(message), { ...this.#annotations, ...annotations })
  }
}
