/** Responses that differ from the service's own: for requests that name one job, or for any. */
import type { StacksClient } from "@stacksapi/core"
import type { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, type Layer } from "effect"
import { type HttpClientRequest, type HttpClientResponse, HttpServerResponse } from "effect/http"
import { clientVia } from "./stacks.ts"

/** The text of a request's body. */
export const bodyOf = (request: HttpClientRequest.HttpClientRequest): string =>
  request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""

/** A JSON response. */
const respond = (
  request: HttpClientRequest.HttpClientRequest,
  status: number,
  body: unknown
): HttpClientResponse.HttpClientResponse =>
  HttpServerResponse.toClientResponse(HttpServerResponse.jsonUnsafe(body, { status }), { request })

/** Whether a request is of an endpoint, which the end of its path tells, and names a job. */
const names = (request: HttpClientRequest.HttpClientRequest, endpoint: string, jobUuid: string): boolean =>
  request.url.includes(endpoint) && (bodyOf(request).includes(`"${jobUuid}"`) || request.url.includes(`/${jobUuid}`))

/**
 * A client whose requests to an endpoint get this status, or no response, if they name a certain job. `counts` gets the number of
 * requests to the endpoint.
 */
export const refusing = (options: {
  readonly endpoint: string
  readonly jobUuid: string
  readonly status: number | "timeout"
  readonly isOn?: () => boolean
  readonly onRequest?: (request: HttpClientRequest.HttpClientRequest) => void
}): Layer.Layer<StacksClient.StacksClient, never, StacksEmulator.StacksEmulator> =>
  clientVia((request, response) => {
    const { endpoint, isOn, jobUuid, onRequest, status } = options
    if (isOn?.() === false) return response
    if (request.url.includes(endpoint)) onRequest?.(request)
    if (!names(request, endpoint, jobUuid)) return response
    return status === "timeout" ? Effect.never : Effect.succeed(respond(request, status, { message: "odd job" }))
  })

/** A client whose responses of an endpoint have their JSON changed. */
export const rewriting = (
  endpoint: string,
  rewrite: (body: unknown, request: HttpClientRequest.HttpClientRequest) => unknown
): Layer.Layer<StacksClient.StacksClient, never, StacksEmulator.StacksEmulator> =>
  clientVia((request, response) =>
    request.url.includes(endpoint)
      ? Effect.flatMap(response, (answer) =>
          Effect.map(answer.json, (body) => respond(request, answer.status, rewrite(body, request)))
        )
      : response
  )
