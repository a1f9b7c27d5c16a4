/** Every option that can have an impossible value is refused with it before anything starts, by its name and its range. */
import { assert, describe, it } from "@effect/vitest"
import {
  JobRunner,
  JobStates,
  Notifications,
  RateLimit,
  Reservations,
  ScheduledJobs,
  SlotPool,
  Stack,
  Stacks,
  type StacksError
} from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Context, Duration, Effect, Layer, Stream } from "effect"
import * as RateLimiter from "effect/persistence/RateLimiter"

type Refused = Effect.Effect<unknown, StacksError.InvalidOptions | StacksError.InvalidRequest>

interface Case<A> {
  readonly option: string
  readonly range: string
  readonly wrong: ReadonlyArray<A>
  readonly right: ReadonlyArray<A>
}

const idle = JobRunner.layer(() => Effect.succeed(JobRunner.Finished({ exitStatus: 0, detail: "done" })))

/** The error of a layer, or of a program, and how many requests were sent until then. */
const tried = (program: Effect.Effect<unknown, unknown, unknown>) =>
  Effect.gen(function* () {
    const emulator = yield* StacksEmulator.StacksEmulator
    const error = yield* Effect.flip(program as Refused)
    return { error, requests: (yield* emulator.requests).length }
  }).pipe(Effect.scoped, Effect.provide([idle, StacksEmulator.layerTest()]))

const works = (program: Effect.Effect<unknown, unknown, unknown>) =>
  (program as Refused).pipe(Effect.scoped, Effect.provide([idle, StacksEmulator.layerTest()]))

/** A table of options, each with what it may not be, and with the limits of what it may be. */
const refuses = (
  what: string,
  use: (options: Readonly<Record<string, unknown>>) => Effect.Effect<unknown, unknown, unknown>,
  cases: ReadonlyArray<Case<unknown>>,
  nameOf = (option: string) => option
) =>
  describe(what, () => {
    for (const { option, range, right, wrong } of cases) {
      it.effect(`refuses an impossible ${option}`, () =>
        Effect.gen(function* () {
          for (const value of wrong) {
            const { error, requests } = yield* tried(use({ [option]: value }))
            assert.include(["InvalidOptions", "InvalidRequest"], error._tag)
            if (error._tag === "InvalidOptions") assert.strictEqual(error.option, nameOf(option))
            assert.isFalse(error.isRetryable)
            assert.include(error.message, `Option ${nameOf(option)}: must be ${range}`)
            assert.strictEqual(requests, 0)
          }
          for (const value of right) yield* works(use({ [option]: value }))
        })
      )
    }
  })

const numbers = [Number.NaN, -1, 1.5, Number.NEGATIVE_INFINITY]
const durations = [Number.NaN, -1, "-1 seconds", "soon", { seconds: Number.NaN }, [Number.NaN, 0], Duration.seconds(-1)]
const belowASecond = [...durations, 0, "999 millis"]
const expiry: Case<unknown> = {
  option: "reservationExpiry",
  range: "a duration between 1 second and 1 hour, not ",
  wrong: [...belowASecond, "2 hours", 3_600_001, Number.POSITIVE_INFINITY],
  right: ["1 second", "1 hour"]
}
const interval = (option: string): Case<unknown> => ({
  option,
  range: "a duration at least 1 second, not ",
  wrong: belowASecond,
  right: ["1 second", "1 day"]
})
const grace = (option: string): Case<unknown> => ({
  option,
  range: "a duration 0 or longer, not ",
  wrong: durations,
  right: [0, "1 hour"]
})
const count = (option: string, min: number): Case<unknown> => ({
  option,
  range: `a whole number of ${min} or more, not `,
  wrong: [...numbers, min - 1],
  right: [min, 1000, Number.POSITIVE_INFINITY]
})
const tags: Case<unknown> = {
  option: "tags",
  range: `texts like "key=value" or "key"; number 1 is neither`,
  wrong: [["=linux"], [""], [" =a"], { "": "a" }, [1]],
  right: [[], ["os"], ["os=linux"], { os: "linux" }]
}

const ofStack: ReadonlyArray<Case<unknown>> = [
  count("maxInFlight", 0),
  {
    option: "weight",
    range: "a number between 0.000001 and 1000000, not ",
    wrong: [Number.NaN, 0, -1, Number.POSITIVE_INFINITY],
    right: [0.5]
  },
  interval("pollInterval"),
  interval("stateInterval"),
  expiry,
  grace("startTimeout"),
  grace("authGrace"),
  grace("cancelGrace"),
  grace("shutdownGrace"),
  { option: "onClose", range: '"drain" or "detach", not ', wrong: ["leave", ""], right: ["drain", "detach"] },
  tags
]

refuses("a stack", (options) => Stack.make({ key: "s", queueKey: "q", ...options }), ofStack)

refuses("the stacks of several queues", (options) => Stacks.make({ key: "s", queues: ["a", "b"], ...options }), [
  ...ofStack.filter(({ option }) => option !== "weight"),
  interval("retryInterval")
])

refuses(
  "one of several queues",
  (options) => Stacks.make({ key: "s", queues: ["a", { queueKey: "b", ...options }] }),
  ofStack,
  (option) => `queues[1].${option}`
)

refuses("a pool of slots", ({ count }) => SlotPool.make(count as number), [count("count", 0)])

refuses(
  "a pool of slots, when it is resized",
  ({ count }) => Effect.flatMap(SlotPool.make(1), ({ setSize }) => setSize(count as number)),
  [count("count", 0)]
)

refuses("a reservation", (options) => Reservations.reserve({ stackKey: "s", jobUuids: ["a"], ...options }), [
  expiry,
  count("concurrency", 1)
])

refuses("a renewal", (options) => Reservations.renewing({ stackKey: "s", ...options }), [expiry])

refuses("notifications", (options) => Layer.build(Notifications.layer({ stackKey: "s", ...options })), [
  count("bufferSize", 1),
  {
    option: "window",
    range: "a duration between 0 and 1 hour, not ",
    wrong: [...durations, "2 hours", Number.POSITIVE_INFINITY],
    right: [0, "1 hour"]
  },
  grace("flushTimeout")
])

refuses(
  "the interval of watched states",
  ({ PollInterval }) =>
    Stream.runHead(JobStates.watch("s", "job")).pipe(
      Effect.provideService(JobStates.PollInterval, PollInterval as Duration.Input)
    ),
  [{ ...interval("PollInterval"), right: [] }]
)

const page = {
  option: "pageSize",
  range: "a whole number between 1 and 1000, not ",
  wrong: [...numbers, 0, 1001, Number.POSITIVE_INFINITY],
  right: []
}

for (const operation of ["polls", "watch"] as const) {
  refuses(
    `ScheduledJobs.${operation}`,
    (options) => {
      const request = { stackKey: "s", clusterQueueKey: "q", ...options }
      return operation === "polls"
        ? Stream.runHead(ScheduledJobs.polls(request))
        : Stream.runHead(ScheduledJobs.watch(request))
    },
    [interval("interval"), count("maxPages", 1), tags, page].map((each) => ({ ...each, right: [] }))
  )
}

refuses(
  "a rate limit that processes share",
  (options) =>
    Effect.flatMap(
      Layer.build(RateLimit.layerStoreWith(options).pipe(Layer.provide(RateLimiter.layerStoreMemory))),
      (context) => Effect.succeed(Context.get(context, RateLimit.RateLimit))
    ),
  [
    {
      option: "processes",
      range: "a whole number between 1 and 1000000, not ",
      wrong: [...numbers, 0, Number.POSITIVE_INFINITY],
      right: [1, 300]
    }
  ]
)

refuses("the emulator", (options) => Layer.build(StacksEmulator.layer(options)), [
  {
    option: "seed",
    range: "a whole number between ",
    wrong: [Number.NaN, 1.5, Number.POSITIVE_INFINITY],
    right: [0, -7]
  },
  count("maxStacks", 0)
])

describe("An invalid option", () => {
  it.effect("fails with the given value", () =>
    Effect.gen(function* () {
      const { error } = yield* tried(Stack.make({ key: "s", queueKey: "q", reservationExpiry: "2 hours" }))
      assert.strictEqual(
        error.message,
        "Option reservationExpiry: must be a duration between 1 second and 1 hour, not 2 hours"
      )
      const seconds = yield* tried(Stack.make({ key: "s", queueKey: "q", reservationExpiry: 300 }))
      assert.match(seconds.error.message, /, not 300 milliseconds$/)
      for (const changed of [
        Effect.flatMap(Stack.make({ key: "s", queueKey: "q" }), ({ setMaxInFlight }) => setMaxInFlight(-2)),
        Effect.flatMap(Stacks.make({ key: "s", queues: ["q"] }), ({ setMaxInFlight }) => setMaxInFlight(-2))
      ]) {
        const { error } = yield* tried(changed)
        assert.strictEqual(error.message, "Option maxInFlight: must be a whole number of 0 or more, not -2")
      }
    })
  )

  it.effect("fails for an empty token of the emulator", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Layer.build(StacksEmulator.layer({ token: "" })))
      assert.strictEqual(error.option, "token")
    }).pipe(Effect.scoped)
  )
})
