/** A crowd of clients and a service that is away, under the TestClock: how many requests come in a second. */
import { Clock, Duration, Effect, Logger, Metric, Random } from "effect"
import { TestClock } from "effect/testing"
import { testClock } from "../../support/testClock.ts"
import type { Crowd, Work } from "./crowds.ts"
import type { Outage } from "./outages.ts"
import { type Arrived, make as makeWorld } from "./world.ts"

export interface Rates {
  /** The busiest second of any stack and kind of request, as a part of its limit. */
  readonly ofLimit: number
  /** Requests of the whole crowd in its busiest second, and in its busiest tenth of a second. */
  readonly inSecond: number
  readonly inTenth: number
  /** Requests of the whole crowd a second, on the average. */
  readonly mean: number
}

export interface Report {
  readonly before: Rates
  readonly during: Rates
  readonly after: Rates
  /** How many requests the service refused for their number while it was well. */
  readonly refused: number
}

/** The most in any so many milliseconds that end after a time. */
const most = (times: ReadonlyArray<number>, millis: number, from: number): number => {
  let most = 0
  let first = 0
  for (const [last, time] of times.entries()) {
    while (time - (times[first] ?? 0) >= millis) first++
    if (time > from) most = Math.max(most, last - first + 1)
  }
  return most
}

/** Of what arrived in a part of the time: a second in which it is the former part at first counts here. */
const ratesOf = (all: ReadonlyArray<Arrived>, from: number, to: number): Rates => {
  const arrived = all.filter(({ at }) => at > from - 1000 && at <= to)
  const timesOf = (requests: ReadonlyArray<Arrived>) => requests.map(({ at }) => at)
  const parts = Array.from(Map.groupBy(arrived, ({ counter }) => counter).values(), (requests) => {
    const limit = requests[0]?.limit ?? 0
    return most(timesOf(requests), 1000, from) / limit
  })
  const times = timesOf(arrived)
  return {
    ofLimit: Math.max(0, ...parts),
    inSecond: most(times, 1000, from),
    inTenth: most(times, 100, from),
    mean: times.filter((time) => time > from).length / ((to - from) / 1000)
  }
}

/** How long each part takes. */
export interface Times {
  /** Until all of the crowd are there. */
  readonly start: Duration.Input
  readonly before: Duration.Input
  readonly outage: Duration.Input
  readonly after: Duration.Input
}

export const meet = (crowd: Crowd, outage: Outage, times: Times, work: Work): Effect.Effect<Report> =>
  Effect.gen(function* () {
    const world = yield* makeWorld
    const pass = Effect.fnUntraced(function* (duration: Duration.Input) {
      const from = yield* Clock.currentTimeMillis
      yield* TestClock.adjust(duration)
      const to = yield* Clock.currentTimeMillis
      return ratesOf(world.arrived, from, to)
    })
    yield* Effect.forkScoped(crowd(world, work))
    yield* pass(times.start)
    const before = yield* pass(times.before)
    const until = (yield* Clock.currentTimeMillis) + Duration.toMillis(Duration.fromInputUnsafe(times.outage))
    yield* world.goAway(outage, until)
    const during = yield* pass(times.outage)
    yield* world.comeBack
    const after = yield* pass(times.after)
    return { before, during, after, refused: world.refused() }
  }).pipe(
    Effect.scoped,
    Effect.provide(Logger.layer([])),
    Effect.provideService(Metric.MetricRegistry, new Map()),
    Random.withSeed("herd"),
    Effect.provide(testClock)
  )
