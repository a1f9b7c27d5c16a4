/** The implementation of `HealthServer`, which loads this module when it starts a server. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Effect from "effect/Effect"
import { constTrue } from "effect/Function"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as Scope from "effect/Scope"
import type { Options, Service } from "../../HealthServer.ts"
import { authority, listen } from "../http/listen.ts"
import type { ListenError } from "../http/listenError.ts"
import * as Check from "../options.ts"
import { answer } from "./answer.ts"
import { sharedExposition } from "./exposition.ts"
import * as Watch from "./watch.ts"

const limits = {
  maxHeldBytes: 16 * 1024 * 1024,
  headersMillis: 10_000,
  requestMillis: 10_000,
  responseMillis: 10_000
}

/** Serves until the scope closes. */
export const make: (options: Options) => Effect.Effect<Service, InvalidOptions | ListenError, Scope.Scope> =
  Effect.fnUntraced(function* ({ host = "127.0.0.1", maxConnections = 128, maxPollAge = "1 minute", port }: Options) {
    yield* Check.text("host", host, "an address to listen on")
    yield* Check.port("port", port, 0)
    yield* Check.integer("maxConnections", maxConnections, 1)
    yield* Check.duration("maxPollAge", maxPollAge, { min: "1 second" })
    const { explain, snapshot, watch } = yield* Watch.make
    const exposition = yield* sharedExposition
    // The requests' scope closes after the server, which has closed their connections.
    const requests = yield* Scope.fork(yield* Effect.scope)
    const handler = yield* NodeHttpServer.makeHandler(answer({ snapshot, exposition, maxPollAge }), {
      scope: requests
    }).pipe(
      // Traces of probes, every few seconds, would hide the others.
      Effect.provideService(HttpMiddleware.TracerDisabledWhen, constTrue)
    )
    const server = yield* listen(handler, { host, port, limits: { ...limits, maxConnections } })
    return { url: `http://${authority(server)}`, explain, watch }
  })
