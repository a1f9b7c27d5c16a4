/** What arrives at an OTLP endpoint from a stack that is observed. */
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Effect, Logger, References } from "effect"
import { arrived, observed, Receiver } from "../../examples/observability.ts"

const run = Effect.gen(function* () {
  const { received, url } = yield* Receiver
  yield* observed(url).pipe(
    Effect.provideService(References.MinimumLogLevel, "Debug"),
    // The endpoint's logger is added to the others: there are none.
    Effect.provide(Logger.layer([]))
  )
  const bodies = [received("/v1/traces"), received("/v1/metrics"), received("/v1/logs")]
  return { ...(yield* arrived), text: JSON.stringify(bodies) }
}).pipe(Effect.provide(Receiver.layer))

describe("The telemetry of a stack", () => {
  it.live("has a trace for each job, its metrics and its logs, and no token in any of them", () =>
    Effect.gen(function* () {
      const { logs, metrics, spans, text } = yield* run

      const jobs = spans.filter(({ name }) => name === "Stack.job")
      assert.lengthOf(jobs, 3)
      for (const job of jobs) {
        assert.isUndefined(job.parentSpanId)
        const reserve = spans.find(({ spanId }) => spanId === job.links[0]?.spanId)
        assert.strictEqual(reserve?.name, "Stack.reserve")
        assert.notStrictEqual(reserve?.traceId, job.traceId)
        const own = spans.filter(({ traceId }) => traceId === job.traceId)
        const names = Arr.dedupe(own.map(({ name }) => name))
        for (const name of ["build", "StacksClient.getJob", "StacksClient.finishJob"]) assert.include(names, name)
        const build = own.find(({ name }) => name === "build")
        assert.strictEqual(build?.parentSpanId, job.spanId)
        const log = logs.find(({ body, traceId }) => traceId === job.traceId && body.stringValue.startsWith("running"))
        assert.strictEqual(log?.severityText, "Info")
      }

      const names = metrics.map(({ name }) => name)
      for (const name of ["stacksapi_jobs", "stacksapi_schedule_to_start_seconds", "stacksapi_slots_available"]) {
        assert.include(names, name)
      }

      const texts = logs.map(({ body, severityText }) => `${severityText} ${body.stringValue}`)
      assert.include(texts, "Info Registered observability for queue examples")
      assert.include(texts, "Warn Job release failed: No machine may release")
      assert.include(texts, "Debug sending request")

      assert.include(text, "issueJobAcquisitionTokens")
      assert.notMatch(text, /bkct_|bkjat_/)
    })
  )
})
