/**
 * A stack with telemetry: traces, metrics and logs by OTLP, metrics for Prometheus, and health checks.
 *
 *     node examples/observability.ts
 *     OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 node examples/observability.ts
 *
 * Without an endpoint it starts a small receiver, and prints what arrived there.
 */
import { createServer } from "node:http"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { HealthServer, NodeStacksEmulator } from "@stacksapi/node"
import { Config, Console, Context, Effect, Layer, Option, Schema } from "effect"
import { HttpClient, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Otlp } from "effect/observability"

// -----------------------------------------------------------------------------
// The stack
// -----------------------------------------------------------------------------

// Spans and logs of a runner belong to the trace of its job.
const Runner = JobRunner.layer(
  Effect.fn(function* ({ acquisitionToken, details, job }) {
    const { command } = yield* details
    yield* acquisitionToken
    yield* Effect.log(`running ${command}`).pipe(
      Effect.delay("20 millis"),
      Effect.withSpan("build", { attributes: { command } })
    )
    if (job.step.key === "release") return yield* new JobRunner.JobRunnerError({ message: "No machine may release" })
    return JobRunner.Finished({ exitStatus: 0, detail: "Nothing was run: this is an example." })
  })
)

// The health server's layer surrounds the stack, so the server responds before the stack is registered and while it drains.
const stack = Effect.gen(function* () {
  const health = yield* HealthServer.HealthServer
  const stack = yield* Stack.make({ key: "observability", queueKey: "examples" })
  yield* health.watch(stack)
  yield* Effect.raceFirst(stack.awaitIdle, stack.awaitFailure)
  yield* look(health.url)
}).pipe(Effect.scoped, Effect.provide([Runner, HealthServer.layer({ port: 0 })]))

/** Requests the health checks and the metrics. */
const look = Effect.fnUntraced(
  function* (url: string) {
    for (const path of ["/healthz", "/readyz"]) {
      const { status } = yield* HttpClient.get(`${url}${path}`)
      yield* Console.log(`${path}: ${status}`)
    }
    const metrics = yield* Effect.flatMap(HttpClient.get(`${url}/metrics`), (response) => response.text)
    const ended = metrics.split("\n").filter((line) => /^stacksapi_jobs_total.* [1-9]/.test(line))
    yield* Console.log(["/metrics:", ...ended].join("\n  "))
  },
  Effect.provide(NodeHttpClient.layerUndici),
  Effect.withTracerEnabled(false)
)

// -----------------------------------------------------------------------------
// The OTLP exporter
// -----------------------------------------------------------------------------

/** Exports everything to an OTLP endpoint. The rest is sent when the layer ends, so provide it around the whole program. */
const telemetry = (baseUrl: string) =>
  Otlp.layerJson({ baseUrl, resource: { serviceName: "my-stack" } }).pipe(Layer.provide(NodeHttpClient.layerUndici))

/** Runs the stack on an emulator with three jobs, and sends its telemetry to an endpoint. */
export const observed = (baseUrl: string) =>
  Effect.gen(function* () {
    const emulator = yield* StacksEmulator.StacksEmulator
    yield* emulator.addJobs(
      ["lint", "test", "release"].map((key) => ({
        id: key,
        queueKey: "examples",
        step: { key },
        command: `make ${key}`
      }))
    )
    // Against Buildkite: NodeStacksClient.layerConfig, with BUILDKITE_CLUSTER_TOKEN set.
    yield* Effect.provide(stack, [NodeStacksEmulator.layerClient, telemetry(baseUrl)])
  }).pipe(Effect.provide(NodeStacksEmulator.layer()))

// -----------------------------------------------------------------------------
// A receiver, so that this program needs no other one
// -----------------------------------------------------------------------------

const Traces = Schema.Struct({
  resourceSpans: Schema.Array(
    Schema.Struct({
      scopeSpans: Schema.Array(
        Schema.Struct({
          spans: Schema.Array(
            Schema.Struct({
              name: Schema.String,
              traceId: Schema.String,
              spanId: Schema.String,
              parentSpanId: Schema.optional(Schema.String),
              attributes: Schema.Array(Schema.Struct({ key: Schema.String, value: Schema.Unknown })),
              links: Schema.Array(Schema.Struct({ traceId: Schema.String, spanId: Schema.String }))
            })
          )
        })
      )
    })
  )
})

const Metrics = Schema.Struct({
  resourceMetrics: Schema.Array(
    Schema.Struct({
      scopeMetrics: Schema.Array(
        Schema.Struct({ metrics: Schema.Array(Schema.Struct({ name: Schema.String, unit: Schema.String })) })
      )
    })
  )
})

const Logs = Schema.Struct({
  resourceLogs: Schema.Array(
    Schema.Struct({
      scopeLogs: Schema.Array(
        Schema.Struct({
          logRecords: Schema.Array(
            Schema.Struct({
              severityText: Schema.String,
              body: Schema.Struct({ stringValue: Schema.String }),
              traceId: Schema.optional(Schema.String)
            })
          )
        })
      )
    })
  )
})

/** Accepts all requests. */
export class Receiver extends Context.Service<
  Receiver,
  {
    readonly url: string
    /** The received bodies, by path. */
    readonly received: (path: "/v1/traces" | "/v1/metrics" | "/v1/logs") => ReadonlyArray<unknown>
  }
>()("examples/Receiver") {
  static readonly layer = Layer.effect(
    Receiver,
    Effect.gen(function* () {
      const server = yield* HttpServer.HttpServer
      const all: Array<{ readonly path: string; readonly body: unknown }> = []
      yield* server.serve(
        Effect.gen(function* () {
          const request = yield* HttpServerRequest.HttpServerRequest
          all.push({ path: request.url, body: yield* request.json })
          return HttpServerResponse.jsonUnsafe({})
        })
      )
      return {
        url: HttpServer.formatAddress(server.address),
        received: (path) => all.flatMap((it) => (it.path === path ? [it.body] : []))
      }
    })
  ).pipe(Layer.provide(NodeHttpServer.layer(() => createServer(), { host: "127.0.0.1", port: 0 })))
}

/** Extracts what the receiver got. */
export const arrived = Effect.gen(function* () {
  const { received } = yield* Receiver
  const traces = yield* Schema.decodeUnknownEffect(Schema.Array(Traces))(received("/v1/traces"))
  const metrics = yield* Schema.decodeUnknownEffect(Schema.Array(Metrics))(received("/v1/metrics"))
  const logs = yield* Schema.decodeUnknownEffect(Schema.Array(Logs))(received("/v1/logs"))
  return {
    spans: traces.flatMap((it) => it.resourceSpans.flatMap((it) => it.scopeSpans.flatMap((it) => it.spans))),
    metrics: metrics.flatMap((it) => it.resourceMetrics.flatMap((it) => it.scopeMetrics.flatMap((it) => it.metrics))),
    logs: logs.flatMap((it) => it.resourceLogs.flatMap((it) => it.scopeLogs.flatMap((it) => it.logRecords)))
  }
})

/** Prints the trace of the first job, and the other telemetry. */
const print = Effect.gen(function* () {
  const { logs, metrics, spans } = yield* arrived
  const tree = (parent: string, depth: number): ReadonlyArray<string> =>
    spans
      .filter(({ parentSpanId }) => parentSpanId === parent)
      .flatMap(({ name, spanId }) => [`${"  ".repeat(depth)}${name}`, ...tree(spanId, depth + 1)])
  const jobs = spans.filter(({ name }) => name === "Stack.job")
  const job = jobs[0]
  yield* Console.log(`traces: ${jobs.length} of jobs`)
  if (job !== undefined) {
    const link = spans.find(({ spanId }) => spanId === job.links[0]?.spanId)
    yield* Console.log([`  ${job.name}, linked to ${link?.name}`, ...tree(job.spanId, 2)].join("\n"))
  }
  yield* Console.log(`metrics: ${new Set(metrics.map(({ name }) => name)).size}`)
  yield* Console.log(["logs:", ...logs.map((log) => `${log.severityText} ${log.body.stringValue}`)].join("\n  "))
})

const main = Effect.gen(function* () {
  const endpoint = yield* Config.option(Config.String("OTEL_EXPORTER_OTLP_ENDPOINT"))
  if (Option.isSome(endpoint)) return yield* observed(endpoint.value)
  yield* Effect.gen(function* () {
    const { url } = yield* Receiver
    yield* observed(url)
    yield* print
  }).pipe(Effect.provide(Receiver.layer))
})

if (import.meta.main) NodeRuntime.runMain(main)
