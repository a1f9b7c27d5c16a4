/** The emulator's web page under `/` and `/ui/`: its files, queries and commands. */
import * as ByteSize from "effect/ByteSize"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import type { HttpServerError } from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as OriginCheck from "../http/originCheck.ts"
import * as Commands from "./commands.ts"
import * as Files from "./files.ts"
import * as Queries from "./queries.ts"
import { securityHeaders } from "./securityHeaders.ts"

export interface PageOptions extends Queries.QueryOptions {
  readonly originCheck: OriginCheck.OriginCheck
}

/** Routes requests for the page to it, and all others to the API. */
export const before = <E, R, E2, R2>(
  api: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  page: Effect.Effect<HttpServerResponse.HttpServerResponse, E2, R2>
) =>
  Effect.gen(function* () {
    const { url } = yield* HttpServerRequest.HttpServerRequest
    return yield* /^\/($|\?|ui\/)/.test(url) ? page : api
  })

/** The page as one effect, which responds to the current request. */
export const make = (options: PageOptions) =>
  Effect.map(
    HttpRouter.toHttpEffect(Layer.mergeAll(Files.layer, Commands.layer(options.emulator), Queries.layer(options))),
    (app) =>
      OriginCheck.before(OriginCheck.before(withErrorResponses(app), OriginCheck.jsonOnly), options.originCheck).pipe(
        Effect.map(HttpServerResponse.setHeaders(securityHeaders)),
        Effect.provideService(HttpIncomingMessage.MaxBodySize, maxBodySize)
      )
  )

/** Commands are small. */
const maxBodySize = ByteSize.mebibytes(1)

/** Turns failures into responses, so that these have the security headers too. */
const withErrorResponses = <R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, HttpServerError, R>) =>
  app.pipe(
    Effect.catchTag("HttpServerError", () => Effect.succeed(errorResponse(404, "Not found"))),
    Effect.catchCauseIf(
      (cause) => !Cause.hasInterrupts(cause),
      (cause) =>
        Effect.as(Effect.logError("The emulator's page failed to respond", cause), errorResponse(500, "Internal error"))
    )
  )

const errorResponse = (status: number, message: string) => HttpServerResponse.jsonUnsafe({ message }, { status })
