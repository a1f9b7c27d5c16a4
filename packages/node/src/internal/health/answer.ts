/** The paths of the health server. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { Report } from "../../HealthServer.ts"
import { contentType } from "./exposition.ts"
import { readinessFailure } from "./readiness.ts"
import type { Snapshot, WholeSnapshot } from "./watch.ts"

export interface Sources {
  readonly snapshot: Effect.Effect<WholeSnapshot>
  readonly exposition: Effect.Effect<Uint8Array>
  readonly maxPollAge: Duration.Input
}

export const answer = ({
  exposition,
  snapshot,
  maxPollAge
}: Sources): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest> => {
  const age = Duration.fromInputUnsafe(maxPollAge)
  const paths: ReadonlyMap<string, Effect.Effect<HttpServerResponse.HttpServerResponse>> = new Map([
    [
      "/metrics",
      Effect.map(exposition, (bytes) => HttpServerResponse.uint8Array(bytes, { contentType, headers: uncached }))
    ],
    ["/healthz", Effect.map(snapshot, (snapshot) => reportOf(snapshot, snapshot.livenessFailure))],
    ["/readyz", Effect.map(snapshot, (snapshot) => reportOf(snapshot, readinessFailure(snapshot, age)))]
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

const reportOf = ({ cluster, stacks }: Snapshot, reason: string | null): HttpServerResponse.HttpServerResponse => {
  const report: Report = { status: reason === null ? "ok" : "unavailable", reason, stacks, cluster }
  return HttpServerResponse.jsonUnsafe(report, { status: reason === null ? 200 : 503, headers: uncached })
}
