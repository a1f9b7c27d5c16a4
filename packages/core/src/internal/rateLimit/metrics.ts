/** The gauges of the limits that the service reports. */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import { declarations, endpointOf, type Operation, type RateLimitScope } from "../api/declaration.ts"
import type { Report } from "./slidingWindow.ts"

/** Labels: `scope`. */
const limit = Metric.gauge("stacksapi_rate_limit", {
  description: "Requests that the service allows per second, as it last reported"
})

/** Labels: `scope`. */
const remaining = Metric.gauge("stacksapi_rate_limit_remaining", {
  description: "Requests that were left at the latest response"
})

const byScope = (metric: Metric.Gauge<number>) => {
  const series = new Map<RateLimitScope, Metric.Gauge<number>>()
  return (scope: RateLimitScope): Metric.Gauge<number> => {
    const gauge = series.get(scope) ?? Metric.withAttributes(metric, { scope })
    series.set(scope, gauge)
    return gauge
  }
}

const limitOf = byScope(limit)
const remainingOf = byScope(remaining)

/** Uses the documented scope of the operation: the scopes in responses are not bounded, and each would be a new time series. */
export const updateGauges = (operation: Operation, report: Report, context: Context.Context<never>): void => {
  if (report.limit === undefined) return
  const { scope } = declarations[endpointOf(operation)].limit
  limitOf(scope).updateUnsafe(report.limit, context)
  if (report.remaining !== undefined) remainingOf(scope).updateUnsafe(report.remaining, context)
}
