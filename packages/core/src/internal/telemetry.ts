/** What can be seen of a call: spans where a tracer is installed, and debug log lines, under one request id per attempt. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as Result from "effect/Result"
import type { Operation } from "../StacksApi.ts"
import type { RequestInfo } from "./client/failures.ts"

/** Whether somebody installed a tracer: without one, spans would be made for nobody. */
export const isTraced = (fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  fiber.cache.tracer !== undefined && fiber.cache.tracerEnabled

/** The span of a whole call, all its attempts included. */
export const withOperationSpan = <A, E>(
  call: { readonly operation: Operation; readonly stackKey: string },
  f: (fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.useSpan(
    `StacksClient.${call.operation}`,
    { attributes: { "stacksapi.operation": call.operation, "stacksapi.stack_key": call.stackKey } },
    (span) => Effect.withParentSpan(Effect.withFiber(f), span, { captureStackTrace: false })
  )

/** Gives an attempt its id, and its span where a tracer is installed. */
export const withAttemptSpan = <A, E>(
  fiber: Fiber.Fiber<unknown, unknown>,
  info: RequestInfo,
  attempt: number,
  isLogged: boolean,
  f: (requestId: string, onStatus: ((status: number) => void) | undefined) => Effect.Effect<A, E>
): Effect.Effect<A, E> => {
  const traced = isTraced(fiber)
  if (!traced) return f(isLogged ? globalThis.crypto.randomUUID() : "", undefined)
  const requestId = globalThis.crypto.randomUUID()
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
export class AttemptLog {
  readonly annotations: Readonly<Record<string, unknown>>
  readonly requestBody: string | undefined
  private response: { readonly status: number; readonly body: string } | undefined

  constructor(
    attempt: RequestInfo & { readonly requestId: string; readonly attempt: number },
    requestBody: string | undefined
  ) {
    this.annotations = {
      operation: attempt.operation,
      method: attempt.method,
      url: attempt.url,
      request_id: attempt.requestId,
      attempt: attempt.attempt
    }
    this.requestBody = requestBody
  }

  received(response: HttpClientResponse, body: string): void {
    this.response = { status: response.status, body }
  }

  around<A, E>(sent: Effect.Effect<A, E>): Effect.Effect<A, E> {
    const withPayloads = this.requestBody !== undefined
    return Effect.logDebug("sending request").pipe(
      Effect.annotateLogs(withPayloads ? { ...this.annotations, request_body: this.requestBody } : this.annotations),
      Effect.andThen(Effect.timed(Effect.result(sent))),
      Effect.flatMap(([duration, result]) =>
        Effect.logDebug(Result.isSuccess(result) ? "received response" : "request failed").pipe(
          Effect.annotateLogs({
            ...this.annotations,
            ...(this.response === undefined ? {} : { status: this.response.status }),
            ...(withPayloads && this.response !== undefined ? { response_body: this.response.body } : {}),
            ...(Result.isFailure(result) ? { error: String(result.failure) } : {}),
            duration: Duration.format(duration)
          }),
          Effect.andThen(Effect.fromResult(result))
        )
      )
    )
  }
}
