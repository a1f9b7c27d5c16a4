/** An `HttpClient` that calls the emulator in process, without sockets. Its time is the caller's `Clock`. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type { HttpServerError } from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Stream from "effect/Stream"
import type { BrokenConnection } from "./brokenConnection.ts"

export const make = (
  answer: Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    BrokenConnection | HttpServerError,
    HttpServerRequest.HttpServerRequest
  >
): HttpClient.HttpClient =>
  HttpClient.make((request) =>
    answer.pipe(
      Effect.catchTags({
        BrokenConnection: ({ sent }) =>
          sent === undefined ? Effect.fail(transportError(request, connectionReset)) : Effect.succeed(cutShort(sent)),
        HttpServerError: (error) => Effect.fail(transportError(request, error))
      }),
      Effect.provideService(HttpServerRequest.HttpServerRequest, HttpServerRequest.fromClientRequest(request)),
      Effect.map((response) => HttpServerResponse.toClientResponse(response, { request }))
    )
  )

/** The error of a Node socket. */
class ConnectionReset extends Data.Error<{ readonly code: "ECONNRESET"; readonly message: string }> {}

const connectionReset = new ConnectionReset({ code: "ECONNRESET", message: "read ECONNRESET" })

const transportError = (request: HttpClientRequest.HttpClientRequest, cause: unknown) =>
  new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })

/** A response whose body ends too early. Its headers are complete, `content-length` included. */
const cutShort = ({ body, response }: NonNullable<BrokenConnection["sent"]>) =>
  HttpServerResponse.setBody(
    response,
    HttpBody.stream(
      Stream.concat(Stream.succeed(body), Stream.fail(connectionReset)),
      response.headers["content-type"],
      Number(response.headers["content-length"])
    )
  )
