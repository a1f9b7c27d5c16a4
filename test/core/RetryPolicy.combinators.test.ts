/** Policies of one's own. */
import { assert, describe, it } from "@effect/vitest"
import { RateLimit, RetryPolicy, type StacksClient, type StacksError } from "@stacksapi/core"
import { Clock, Duration, Effect, Fiber, Layer, Schedule } from "effect"
import { HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { answers, calls } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"
import { runToEnd } from "../support/testClock.ts"

/** When the attempts of one call were sent, in seconds since the first, while all of them fail with a 500. */
const attemptTimes = Effect.fnUntraced(function* (
  policy: RetryPolicy.Policy,
  answer: Scripted.Answer = Scripted.empty(500)
) {
  const service = Scripted.make(answer)
  const client = yield* Scripted.client(service)
  yield* runToEnd(Effect.exit(calls.getJob(client).pipe(RetryPolicy.withPolicy(policy))))
  const start = service.requests[0]?.at ?? 0
  return service.requests.map(({ at }) => (at - start) / 1000)
})

const everySecond = RetryPolicy.make(Schedule.spaced("1 second"))

describe("make", () => {
  it.effect("each recurrence of the schedule is one more attempt", () =>
    Effect.gen(function* () {
      for (const recurrences of [0, 1, 2, 7]) {
        const times = yield* attemptTimes(RetryPolicy.make(Schedule.recurs(recurrences)))
        assert.strictEqual(times.length, recurrences + 1)
      }
    })
  )

  it.effect("waits for the schedule's delays", () =>
    Effect.gen(function* () {
      const doubling = Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 4 }))
      assert.deepStrictEqual(yield* attemptTimes(RetryPolicy.make(doubling)), [0, 1, 3, 7, 15])
    })
  )

  it.effect("passes each failure to the schedule", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const schedule = Schedule.identity<StacksError.StacksError>().pipe(
        Schedule.tap(({ input }) => Effect.sync(() => void seen.push(input._tag))),
        Schedule.while(({ input }) => input._tag === "TransportError")
      )
      yield* attemptTimes(
        RetryPolicy.make(schedule),
        Scripted.inTurn(Scripted.broken(), Scripted.broken(), Scripted.empty(500), Scripted.broken())
      )
      assert.deepStrictEqual(seen, ["TransportError", "TransportError", "ErrorResponse"])
    })
  )

  it.effect("ignores Retry-After without honorRetryAfter", () =>
    Effect.gen(function* () {
      const times = yield* attemptTimes(
        RetryPolicy.maxAttempts(everySecond, 3),
        Scripted.empty(429, { "Retry-After": "60" })
      )
      assert.deepStrictEqual(times, [0, 1, 2])
    })
  )
})

describe("maxAttempts", () => {
  it.effect("counts the first attempt", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* attemptTimes(everySecond.pipe(RetryPolicy.maxAttempts(1))), [0])
      assert.deepStrictEqual(yield* attemptTimes(everySecond.pipe(RetryPolicy.maxAttempts(4))), [0, 1, 2, 3])
      assert.deepStrictEqual(yield* attemptTimes(RetryPolicy.maxAttempts(everySecond, 2)), [0, 1])
    })
  )

  it.effect("makes at least one attempt", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* attemptTimes(RetryPolicy.maxAttempts(everySecond, 0)), [0])
      assert.deepStrictEqual(yield* attemptTimes(RetryPolicy.maxAttempts(everySecond, -3)), [0])
      assert.deepStrictEqual(yield* attemptTimes(RetryPolicy.maxAttempts(everySecond, Number.NaN)), [0])
      assert.deepStrictEqual(yield* attemptTimes(RetryPolicy.maxAttempts(everySecond, 1.5)), [0])
    })
  )

  it.effect("uses the smallest of several limits", () =>
    Effect.gen(function* () {
      const few = everySecond.pipe(RetryPolicy.maxAttempts(2))
      assert.strictEqual((yield* attemptTimes(few.pipe(RetryPolicy.maxAttempts(9)))).length, 2)
      assert.strictEqual((yield* attemptTimes(RetryPolicy.standard.pipe(RetryPolicy.maxAttempts(3)))).length, 3)
    })
  )
})

describe("maxElapsed", () => {
  it.effect("starts no attempt after the time has passed", () =>
    Effect.gen(function* () {
      const times = yield* attemptTimes(everySecond.pipe(RetryPolicy.maxElapsed("3500 millis")))
      assert.deepStrictEqual(times, [0, 1, 2, 3])
      assert.deepStrictEqual(yield* attemptTimes(RetryPolicy.maxElapsed(everySecond, "3 seconds")), [0, 1, 2, 3])
      assert.deepStrictEqual(yield* attemptTimes(RetryPolicy.maxElapsed(everySecond, "999 millis")), [0])
      assert.deepStrictEqual(yield* attemptTimes(RetryPolicy.maxElapsed(everySecond, 0)), [0])
    })
  )

  it.effect("fails at once if the next delay would end too late, even a Retry-After", () =>
    Effect.gen(function* () {
      const asks = Scripted.inTurn(Scripted.empty(503, { "Retry-After": "20" }))
      const policy = RetryPolicy.standard.pipe(RetryPolicy.maxElapsed("30 seconds"))
      assert.deepStrictEqual(yield* attemptTimes(policy, asks), [0, 20])
    })
  )

  it.effect("counts from the first failure, including the duration of attempts", () =>
    Effect.gen(function* () {
      const slow: Scripted.Answer = () =>
        Effect.delay(Effect.succeed(HttpServerResponse.empty({ status: 500 })), "10 seconds")
      const times = yield* attemptTimes(everySecond.pipe(RetryPolicy.maxElapsed("15 seconds")), slow)
      // Failures after 10, 21 and 32 seconds.
      assert.deepStrictEqual(times, [0, 11, 22])
    })
  )

  it.effect("ends a wait for a rate limit when the time has passed", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(503, { "Retry-After": "60" }))
      const client = yield* Scripted.client(service)
      const policy = everySecond.pipe(RetryPolicy.maxElapsed("10 seconds"))
      const start = yield* Clock.currentTimeMillis
      const fiber = yield* Effect.forkChild(
        Effect.flip(calls.getJob(client)).pipe(
          Effect.andThen(Clock.currentTimeMillis),
          RetryPolicy.withPolicy(policy),
          Effect.provide(RateLimit.layerMemory)
        )
      )
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* Fiber.join(fiber)) - start, 10_000)
      assert.strictEqual(service.requests.length, 1)
    })
  )

  it.effect("counts each call separately", () =>
    Effect.gen(function* () {
      const policy = everySecond.pipe(RetryPolicy.maxElapsed("2 seconds"))
      assert.strictEqual((yield* attemptTimes(policy)).length, 3)
      assert.strictEqual((yield* attemptTimes(policy)).length, 3)
    })
  )
})

describe("honorRetryAfter", () => {
  const asks = (seconds: number) => Scripted.empty(503, { "Retry-After": String(seconds) })

  it.effect("waits for Retry-After, or for the schedule's delay without it", () =>
    Effect.gen(function* () {
      const policy = everySecond.pipe(RetryPolicy.honorRetryAfter(), RetryPolicy.maxAttempts(4))
      const answer = Scripted.inTurn(asks(30), Scripted.empty(500), asks(0))
      assert.deepStrictEqual(yield* attemptTimes(policy, answer), [0, 30, 31, 32])
    })
  )

  it.effect("never shortens the schedule's delay", () =>
    Effect.gen(function* () {
      const policy = RetryPolicy.make(Schedule.spaced("10 seconds")).pipe(
        RetryPolicy.honorRetryAfter(),
        RetryPolicy.maxAttempts(3)
      )
      assert.deepStrictEqual(yield* attemptTimes(policy, asks(9)), [0, 10, 20])
      const never = policy.pipe(RetryPolicy.honorRetryAfter({ max: 0 }))
      assert.deepStrictEqual(yield* attemptTimes(never, asks(60)), [0, 10, 20])
    })
  )

  it.effect("uses the last of several max", () =>
    Effect.gen(function* () {
      const twice = everySecond.pipe(RetryPolicy.maxAttempts(2), RetryPolicy.honorRetryAfter({ max: "10 seconds" }))
      const longer = twice.pipe(RetryPolicy.honorRetryAfter({ max: "1 hour" }))
      assert.deepStrictEqual(yield* attemptTimes(longer, asks(3000)), [0, 3000])
    })
  )

  it.effect("waits at most max, by default 5 minutes", () =>
    Effect.gen(function* () {
      const twice = everySecond.pipe(RetryPolicy.maxAttempts(2))
      assert.deepStrictEqual(yield* attemptTimes(RetryPolicy.honorRetryAfter(twice), asks(3600)), [0, 300])
      const capped = twice.pipe(RetryPolicy.honorRetryAfter({ max: "10 seconds" }))
      assert.deepStrictEqual(yield* attemptTimes(capped, asks(3600)), [0, 10])
      assert.deepStrictEqual(yield* attemptTimes(capped, asks(9)), [0, 9])
      const dataFirst = RetryPolicy.honorRetryAfter(twice, { max: Duration.seconds(2) })
      assert.deepStrictEqual(yield* attemptTimes(dataFirst, asks(9)), [0, 2])
    })
  )

  it.effect("has the same effect before and after other combinators", () =>
    Effect.gen(function* () {
      const before = everySecond.pipe(RetryPolicy.honorRetryAfter(), RetryPolicy.maxAttempts(3))
      const after = everySecond.pipe(RetryPolicy.maxAttempts(3), RetryPolicy.honorRetryAfter())
      for (const policy of [before, after, after.pipe(RetryPolicy.withBudget())]) {
        assert.deepStrictEqual(yield* attemptTimes(policy, asks(20)), [0, 20, 40])
      }
    })
  )
})

/** All orders of some things. */
const orders = <A>(all: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  all.length < 2
    ? [all]
    : all.flatMap((first, index) => orders(all.filter((_, other) => other !== index)).map((rest) => [first, ...rest]))

describe("the combinators, in every order", () => {
  const asks = Scripted.empty(503, { "Retry-After": "20" })

  const inEveryOrder = (
    name: string,
    combinators: ReadonlyArray<() => (policy: RetryPolicy.Policy) => RetryPolicy.Policy>,
    expected: ReadonlyArray<number>,
    answer = asks
  ) =>
    it.effect(name, () =>
      Effect.gen(function* () {
        for (const order of orders(combinators)) {
          const policy = order.reduce((policy, combinator) => combinator()(policy), everySecond)
          assert.deepStrictEqual(yield* attemptTimes(policy, answer), expected)
        }
      })
    )

  const honored = () => RetryPolicy.honorRetryAfter()

  inEveryOrder(
    "the number of attempts",
    [() => RetryPolicy.maxAttempts(3), honored, () => RetryPolicy.withBudget()],
    [0, 20, 40]
  )

  inEveryOrder(
    "the time bounds what the service asks for",
    [
      () => RetryPolicy.maxElapsed("50 seconds"),
      honored,
      () => RetryPolicy.withBudget(),
      () => RetryPolicy.mapSchedule((schedule) => schedule)
    ],
    [0, 20, 40]
  )

  inEveryOrder(
    "a wait that would end too late is not begun",
    [() => RetryPolicy.maxElapsed("10 seconds"), honored, () => RetryPolicy.maxAttempts(5)],
    [0]
  )

  inEveryOrder("a wait may end at the limit", [() => RetryPolicy.maxElapsed("20 seconds"), honored], [0, 20])

  inEveryOrder(
    "a budget",
    [() => RetryPolicy.withBudget({ capacity: 2, perSecond: 0 }), honored, () => RetryPolicy.maxElapsed("1 hour")],
    [0, 20, 40]
  )

  inEveryOrder(
    "a change of the schedule can't go below what the service asks for",
    [
      () =>
        RetryPolicy.mapSchedule(Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.times(duration, 0.5)))),
      honored,
      () => RetryPolicy.maxAttempts(2)
    ],
    [0, 20]
  )

  inEveryOrder(
    "a change of the schedule can make waits longer, within the time",
    [
      () =>
        RetryPolicy.mapSchedule(Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.times(duration, 2)))),
      honored,
      () => RetryPolicy.maxElapsed("119 seconds")
    ],
    [0, 40, 80]
  )

  it.effect("a mapped schedule sees every retry with its delay", () =>
    Effect.gen(function* () {
      for (const order of orders([RetryPolicy.maxElapsed("50 seconds"), RetryPolicy.honorRetryAfter()])) {
        for (const at of [0, 1, 2]) {
          const waits: Array<string> = []
          const watch = RetryPolicy.mapSchedule((schedule: RetryPolicy.RetrySchedule) =>
            Schedule.tap(schedule, ({ duration }) => Effect.sync(() => void waits.push(Duration.format(duration))))
          )
          const policy = order.toSpliced(at, 0, watch).reduce((policy, f) => f(policy), everySecond)
          yield* attemptTimes(policy, asks)
          assert.deepStrictEqual(waits, ["20s", "20s"])
        }
      }
    })
  )
})

describe("the clock", () => {
  it.effect("setting the machine's clock during retries does not change elapsed time", () =>
    Effect.gen(function* () {
      const base = yield* Clock.Clock
      for (const [policy, expected] of [
        [everySecond.pipe(RetryPolicy.maxElapsed("10 seconds")), 11],
        [RetryPolicy.make(Schedule.spaced("1 second").pipe(Schedule.upTo({ duration: "9 seconds" }))), 11],
        [
          everySecond.pipe(
            RetryPolicy.withBudget({ capacity: 1, perSecond: 0.5 }),
            RetryPolicy.maxElapsed("10 seconds")
          ),
          2
        ]
      ] as const) {
        for (const jump of [-3_600_000, 3_600_000]) {
          let offset = 0
          const service = Scripted.make((_, index) => {
            if (index === 0) offset = jump
            return HttpServerResponse.empty({ status: 500 })
          })
          const client = yield* Scripted.client(service)
          const set = {
            ...base,
            currentTimeMillisUnsafe: () => base.currentTimeMillisUnsafe() + offset,
            currentTimeMillis: Effect.sync(() => base.currentTimeMillisUnsafe() + offset)
          }
          yield* runToEnd(
            Effect.exit(calls.getJob(client)).pipe(
              RetryPolicy.withPolicy(policy),
              Effect.provideService(Clock.Clock, set)
            )
          )
          assert.strictEqual(service.requests.length, expected)
        }
      }
    })
  )
})

describe("withBudget", () => {
  const atOnce = RetryPolicy.make(Schedule.forever)

  it.effect("is shared by all callers of the policy", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(500))
      const client = yield* Scripted.client(service)
      const policy = atOnce.pipe(RetryPolicy.maxAttempts(5), RetryPolicy.withBudget({ capacity: 10, perSecond: 1 }))
      const call = Effect.exit(calls.getJob(client).pipe(RetryPolicy.withPolicy(policy)))
      yield* Effect.all(
        Array.from({ length: 20 }, () => call),
        { concurrency: "unbounded" }
      )
      // 20 first attempts and 10 retries, where 80 were wanted.
      assert.strictEqual(service.requests.length, 30)
    })
  )

  it.effect("refills up to its capacity", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(500))
      const client = yield* Scripted.client(service)
      const policy = atOnce.pipe(RetryPolicy.withBudget({ capacity: 3, perSecond: 2 }))
      const attempts = Effect.gen(function* () {
        const before = service.requests.length
        yield* Effect.exit(calls.getJob(client).pipe(RetryPolicy.withPolicy(policy)))
        return service.requests.length - before
      })
      assert.strictEqual(yield* attempts, 4)
      assert.strictEqual(yield* attempts, 1)
      yield* TestClock.adjust("499 millis")
      assert.strictEqual(yield* attempts, 1)
      yield* TestClock.adjust("1 milli")
      assert.strictEqual(yield* attempts, 2)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* attempts, 3)
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* attempts, 4)
    })
  )

  it.effect("is not shared by two policies", () =>
    Effect.gen(function* () {
      const budgeted = () => atOnce.pipe(RetryPolicy.withBudget({ capacity: 2, perSecond: 0 }))
      const [one, other] = [budgeted(), budgeted()]
      assert.strictEqual((yield* attemptTimes(one)).length, 3)
      assert.strictEqual((yield* attemptTimes(one)).length, 1)
      assert.strictEqual((yield* attemptTimes(other)).length, 3)
    })
  )

  it.effect("is shared by all operations that use it", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(500))
      const client = yield* Scripted.client(service)
      const policy = atOnce.pipe(RetryPolicy.withBudget({ capacity: 2, perSecond: 0 }))
      const layer = RetryPolicy.layerFor({ getJob: policy, getJobStates: policy }).pipe(
        Layer.provide(RetryPolicy.layerNone)
      )
      yield* Effect.all([calls.getJob(client), calls.getJobStates(client)].map(Effect.exit)).pipe(Effect.provide(layer))
      assert.strictEqual(service.requests.length, 4)
    })
  )

  /** How many attempts one more call makes. */
  const attemptsOf = Effect.fnUntraced(function* (
    service: Scripted.Scripted,
    client: StacksClient.Service,
    policy: RetryPolicy.Policy
  ) {
    const before = service.requests.length
    yield* runToEnd(Effect.exit(calls.getJob(client)).pipe(RetryPolicy.withPolicy(policy)))
    return service.requests.length - before
  })

  const budgeted = (schedule: Schedule.Schedule<unknown>) =>
    RetryPolicy.make(schedule).pipe(RetryPolicy.withBudget({ capacity: 5, perSecond: 0 }))

  it.effect("is not used if a limit ends the retries first", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(503))
      const client = yield* Scripted.client(service)
      const policy = budgeted(Schedule.spaced("30 seconds"))
      for (const limited of [
        policy.pipe(RetryPolicy.maxAttempts(1)),
        policy.pipe(RetryPolicy.maxElapsed("1 second"))
      ]) {
        for (let call = 0; call < 10; call++) assert.strictEqual(yield* attemptsOf(service, client, limited), 1)
      }
      assert.strictEqual(yield* attemptsOf(service, client, policy), 6)
    })
  )

  it.effect("is not used if the call is interrupted during the delay", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(503))
      const client = yield* Scripted.client(service)
      const policy = budgeted(Schedule.spaced("30 seconds"))
      for (let call = 0; call < 10; call++) {
        const fiber = yield* Effect.forkChild(calls.getJob(client).pipe(RetryPolicy.withPolicy(policy)))
        yield* TestClock.adjust("29 seconds")
        yield* Fiber.interrupt(fiber)
      }
      assert.strictEqual(yield* attemptsOf(service, client, policy), 6)
    })
  )

  it.effect("is not used if the call is interrupted while it waits for the rate limit", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(503))
      const client = yield* Scripted.client(service)
      const policy = budgeted(Schedule.spaced("1 second"))
      const closed: RateLimit.Limiter = {
        limit: (_, attempt) => Effect.suspend(() => (service.requests.length === 0 ? attempt(() => {}) : Effect.never))
      }
      for (let call = 0; call < 10; call++) {
        const fiber = yield* Effect.forkChild(
          calls.getJob(client).pipe(RetryPolicy.withPolicy(policy), Effect.provideService(RateLimit.RateLimit, closed))
        )
        yield* TestClock.adjust("1 minute")
        yield* Fiber.interrupt(fiber)
      }
      assert.strictEqual(yield* attemptsOf(service, client, policy), 6)
    })
  )

  it.effect("fails a call at once if the budget will be empty after the delay", () =>
    Effect.gen(function* () {
      const client = yield* Scripted.client(Scripted.make(Scripted.empty(503)))
      const policy = RetryPolicy.make(Schedule.spaced("1 hour")).pipe(
        RetryPolicy.withBudget({ capacity: 0, perSecond: 0 })
      )
      // Under the TestClock this would hang.
      yield* Effect.exit(calls.getJob(client)).pipe(RetryPolicy.withPolicy(policy))
    })
  )

  it.effect("is shared by derived policies, and each of two budgets is used", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(503))
      const client = yield* Scripted.client(service)
      const policy = budgeted(Schedule.forever)
      const both = policy.pipe(RetryPolicy.withBudget({ capacity: 3, perSecond: 0 }))
      assert.strictEqual(yield* attemptsOf(service, client, both), 4)
      assert.strictEqual(yield* attemptsOf(service, client, both), 1)
      assert.strictEqual(yield* attemptsOf(service, client, policy.pipe(RetryPolicy.maxAttempts(9))), 3)
    })
  )

  it.effect("allows no retry if its size is invalid", () =>
    Effect.gen(function* () {
      for (const options of [
        { capacity: Number.NaN },
        { capacity: -1 },
        { capacity: 0.5, perSecond: 1000 },
        { capacity: 0, perSecond: Number.POSITIVE_INFINITY }
      ]) {
        const policy = RetryPolicy.withBudget(everySecond, options)
        assert.deepStrictEqual(yield* attemptTimes(policy), [0])
      }
      const endless = everySecond.pipe(
        RetryPolicy.maxAttempts(9),
        RetryPolicy.withBudget({ capacity: Number.POSITIVE_INFINITY, perSecond: Number.POSITIVE_INFINITY })
      )
      assert.strictEqual((yield* attemptTimes(endless)).length, 9)
    })
  )

  it.effect("has 100 retries and refills 10 per second by default", () =>
    Effect.gen(function* () {
      const policy = RetryPolicy.withBudget(atOnce)
      assert.strictEqual((yield* attemptTimes(policy)).length, 101)
      // attemptTimes lets ten days pass.
      assert.strictEqual((yield* attemptTimes(policy)).length, 101)
      assert.strictEqual((yield* attemptTimes(RetryPolicy.withBudget(atOnce, { perSecond: 0 }))).length, 101)
    })
  )

  it.effect("is not used by calls that succeed or fail with a fatal error", () =>
    Effect.gen(function* () {
      const policy = atOnce.pipe(RetryPolicy.withBudget({ capacity: 1, perSecond: 0 }))
      assert.strictEqual((yield* attemptTimes(policy, Scripted.json(200, answers.getJob.body))).length, 1)
      assert.strictEqual((yield* attemptTimes(policy, Scripted.empty(404))).length, 1)
      assert.strictEqual((yield* attemptTimes(policy)).length, 2)
    })
  )

  it.effect("keeps the delays and attempts of the standard policy", () =>
    Effect.gen(function* () {
      const times = yield* attemptTimes(RetryPolicy.standard.pipe(RetryPolicy.withBudget()))
      assert.strictEqual(times.length, 5)
      assert.isTrue(times[1] !== undefined && times[1] >= 1.5 && times[1] < 2)
    })
  )
})

describe("mapSchedule", () => {
  it.effect("changes the schedule, for example to observe retries", () =>
    Effect.gen(function* () {
      const waits: Array<string> = []
      const watched = everySecond.pipe(
        RetryPolicy.maxAttempts(3),
        RetryPolicy.mapSchedule((schedule) =>
          Schedule.tap(schedule, ({ duration, input }) =>
            Effect.sync(() => void waits.push(`${input._tag} ${Duration.format(duration)}`))
          )
        )
      )
      assert.deepStrictEqual(yield* attemptTimes(watched), [0, 1, 2])
      assert.deepStrictEqual(waits, ["ErrorResponse 1s", "ErrorResponse 1s"])
    })
  )
})

describe("isPolicy", () => {
  it("recognizes policies", () => {
    assert.isTrue([RetryPolicy.standard, RetryPolicy.none, everySecond].every(RetryPolicy.isPolicy))
    assert.isFalse([undefined, null, {}, Schedule.forever, "none"].some(RetryPolicy.isPolicy))
  })
})
