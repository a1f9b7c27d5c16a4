/**
 * What the client does, seen from inside it: every request passes the rate limiter, which is a value that a layer provides.
 * Wrapping it is all it takes to measure a client from outside. Retries and notifications are in the stack's metrics.
 */
import { Notifications, RateLimit, StacksApi, StacksError } from "@stacksapi/core"
import { Clock, Context, Effect, Exit, Layer, Metric, Option } from "effect"

export interface Measurements {
  /** By endpoint, in the order of their first request. */
  readonly endpoints: Map<StacksApi.Endpoint, EndpointMeasurements>
  /** How often each kind of trouble was met. */
  readonly trouble: Map<string, number>
  /** How many notifications the service stored. */
  notifications: number
}

export interface EndpointMeasurements {
  /** Milliseconds of each request that was sent, from sending it to having read its response. */
  readonly latencies: Array<number>
  retries: number
  /** Milliseconds of each wait for the rate limit that was long enough to notice. */
  readonly waits: Array<number>
  /** Whether the last request did what it was to do; for a deregistration a 404 says that an earlier one did. */
  isDone: boolean
}

export class Measure extends Context.Service<Measure, Measurements>()("stacksapi-demo/Measure") {
  static readonly layer = Layer.sync(Measure, () => ({ endpoints: new Map(), trouble: new Map(), notifications: 0 }))
}

/** Shorter pauses before a request are the program's own doing, not the rate limit's. */
const noticeableMillis = 5

const endpointOf = (measurements: Measurements, operation: StacksApi.Operation): EndpointMeasurements => {
  const endpoint = StacksApi.endpointOf(operation)
  const known = measurements.endpoints.get(endpoint)
  if (known !== undefined) return known
  const fresh: EndpointMeasurements = { latencies: [], retries: 0, waits: [], isDone: false }
  measurements.endpoints.set(endpoint, fresh)
  return fresh
}

/** The limiter below, and what it is given to limit. */
export const layerRateLimit: Layer.Layer<never, never, Measure> = Layer.effect(
  RateLimit.RateLimit,
  Effect.gen(function* () {
    const measurements = yield* Measure
    const limiter = yield* RateLimit.RateLimit
    return {
      limit: (call, attempt) =>
        Effect.flatMap(now, (asked) =>
          limiter.limit(call, (observe) =>
            Effect.flatMap(now, (started) => {
              const endpoint = endpointOf(measurements, call.operation)
              if (started - asked >= noticeableMillis) endpoint.waits.push(started - asked)
              return Effect.onExit(attempt(observe), (exit) =>
                Effect.map(now, (ended) => {
                  endpoint.latencies.push(ended - started)
                  const error = Option.map(Exit.findErrorOption(exit), describe)
                  if (Option.isSome(error)) count(measurements.trouble, error.value)
                  endpoint.isDone = Exit.isSuccess(exit) || Option.contains(error, "404")
                })
              )
            })
          )
        )
    }
  })
)

/** Counts retries that are not the stack's. */
export const countRetries = (measurements: Measurements, operation: StacksApi.Operation, count: number): void => {
  endpointOf(measurements, operation).retries += count
}

/** What the stack counted itself. Done once, at the end. */
export const readMetrics = Effect.fnUntraced(function* (measurements: Measurements) {
  const retries = (yield* Metric.snapshot).filter(({ id }) => id === "stacksapi_retries")
  for (const endpoint of measurements.endpoints.keys()) {
    const metric = retries.find(({ attributes }) => attributes?.["operation"] === endpoint)
    if (metric?.type === "Counter") countRetries(measurements, endpoint, Number(metric.state.count))
  }
  const delivered = yield* Metric.value(Metric.withAttributes(Notifications.outcomes, { outcome: "delivered" }))
  measurements.notifications = delivered.count
})

const now = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

const count = (counts: Map<string, number>, what: string) => counts.set(what, (counts.get(what) ?? 0) + 1)

const describe = (error: unknown): string => {
  if (!StacksError.isStacksError(error)) return "unknown"
  switch (error._tag) {
    case "ErrorResponse":
      return error.headers["content-type"]?.includes("html") ? `${error.status} (HTML)` : `${error.status}`
    case "TransportError":
      return { NotConnected: "no connection", Reset: "reset", Timeout: "timeout", CutShort: "cut short" }[error.kind]
    case "DecodeError":
      return "unreadable"
    case "InvalidRequest":
      return "invalid"
  }
}
