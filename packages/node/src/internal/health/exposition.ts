/** All metrics of the process in Prometheus' text format. */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"

export const contentType = "text/plain; version=0.0.4; charset=utf-8"

/**
 * Effect names metrics as OpenTelemetry does, without type and unit. Prometheus has them in the name: this adds the suffixes that
 * OpenTelemetry's own exporter adds.
 */
const exposition: Effect.Effect<string> = Effect.flatMap(Metric.snapshot, (metrics) => {
  const suffixes = new Map(metrics.map((metric) => [metric.id, suffixOf(metric)]))
  return PrometheusMetrics.format({
    metricNameMapper: (name) => {
      const suffix = suffixes.get(name) ?? ""
      return name.endsWith(suffix) ? name : `${name}${suffix}`
    }
  })
})

/**
 * The exposition, cached for a second. All requests share the bytes: formatting many metrics is expensive, and a slow reader holds
 * no copy of its own.
 */
export const sharedExposition: Effect.Effect<Effect.Effect<Uint8Array>> = Effect.cachedWithTTL(
  Effect.map(exposition, (text) => new TextEncoder().encode(text)),
  "1 second"
)

const suffixOf = ({ attributes, type }: Metric.Metric.Snapshot): string => {
  if (type === "Counter" || type === "Frequency") return "_total"
  const unit = attributes?.["time_unit"]
  return unit === undefined ? "" : `_${unit}`
}
