/** What each path answers. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { Report } from "../../HealthServer.ts"
import { contentType } from "./exposition.ts"
import { unreadiness } from "./verdict.ts"
import type { Sight } from "./watch.ts"

export interface Sources {
  readonly look: Effect.Effect<Sight>
  readonly exposition: Effect.Effect<Uint8Array>
  readonly maxPollAge: Duration.Input
}

export const answer = ({
  exposition,
  look,
  maxPollAge
}: Sources): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest> => {
  const age = Duration.fromInputUnsafe(maxPollAge)
  const paths: ReadonlyMap<string, Effect.Effect<HttpServerResponse.HttpServerResponse>> = new Map([
    [
      "/metrics",
      Effect.map(exposition, (bytes) => HttpServerResponse.uint8Array(bytes, { contentType, headers: uncached }))
    ],
    ["/healthz", Effect.map(look, (sight) => told(sight, sight.illness))],
    ["/readyz", Effect.map(look, (sight) => told(sight, unreadiness(sight, age)))]
  ])
  return Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ method, url }) => {
    const [path = ""] = url.split("?", 1)
    const found = paths.get(path)
    if (found === undefined) {
      return Effect.succeed(HttpServerResponse.text("Not found: try /metrics, /healthz or /readyz\n", { status: 404 }))
    }
    return method === "GET" || method === "HEAD"
      ? found
      : Effect.succeed(HttpServerResponse.empty({ status: 405, headers: { allow: "GET, HEAD" } }))
  })
}

const uncached = { "cache-control": "no-store" }

const told = ({ cluster, stacks }: Sight, reason: string | null): HttpServerResponse.HttpServerResponse => {
  const report: Report = { status: reason === null ? "ok" : "unavailable", reason, stacks, cluster }
  return HttpServerResponse.jsonUnsafe(report, { status: reason === null ? 200 : 503, headers: uncached })
}
