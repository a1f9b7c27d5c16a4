/** What a stack shows of itself: events, metrics and spans. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Duration, Effect, Fiber, Metric, Option, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Recording from "../support/recording.ts"
import { addJobs, census, done, emulated, slowly, start, takes } from "../support/stacks.ts"

const { Fault } = StacksEmulator

/** The values of all metrics whose name begins with `stacksapi_`, with their attributes. */
const metrics = Effect.map(Metric.snapshot, (all) => {
  const values: Record<string, unknown> = {}
  for (const { attributes, id, state } of all) {
    if (!id.startsWith("stacksapi_")) continue
    const name = attributes === undefined ? id : `${id} ${Object.values(attributes).join(" ")}`
    values[name] = "value" in state ? Number(state.value) : Number("count" in state ? state.count : Number.NaN)
  }
  return values
})

/** Counts from zero on. */
const alone = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => Effect.provideService(effect, Metric.MetricRegistry, new Map()))

describe("The events of a stack", () => {
  it.effect("are in the order of a job's stages", () =>
    Effect.gen(function* () {
      const [first = "", second = ""] = yield* addJobs(2)
      const stack = yield* start(({ job }) => (job.id === first ? Effect.fail("broken") : Effect.succeed(done)))
      yield* slowly("1 second")
      yield* slowly("1 second")
      const of = (id: string) =>
        stack.seen.flatMap((event) => ("job" in event && event.job.id === id ? [event._tag] : []))
      assert.deepStrictEqual(of(first), ["Reserved", "Started", "Failed"])
      assert.deepStrictEqual(of(second), ["Reserved", "Started", "Finished"])
      assert.strictEqual(stack.names()[0], "Registered")
      assert.deepInclude(
        stack.seen.find(({ _tag }) => _tag === "Polled"),
        { listed: 2, startable: 2 }
      )
      yield* stack.drain
      assert.deepStrictEqual(stack.names().slice(-2), ["Draining", "Stopped"])
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("reach every subscriber, starting with the last 16", () =>
    Effect.gen(function* () {
      const stack = yield* start(takes(1))
      const first = yield* Stream.runHead(stack.events)
      assert.deepInclude(Option.getOrThrow(first), { _tag: "Registered", stackKey: "s", queueKey: "q" })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})

describe("The metrics of a stack", () => {
  it.effect("exist from the stack's start", () =>
    Effect.gen(function* () {
      yield* start(takes(1))
      const values = yield* metrics
      for (const outcome of ["Finished", "AgentOwned", "Failed", "Canceled", "ReservationLost", "FinishRejected"]) {
        assert.strictEqual(values[`stacksapi_jobs ${outcome}`], 0)
      }
      assert.strictEqual(values["stacksapi_jobs_started"], 0)
      assert.strictEqual(values["stacksapi_registrations"], 1)
    }).pipe(Effect.scoped, alone, Effect.provide(emulated()))
  )

  it.effect("count jobs by outcome, and measure slots", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const ids = yield* addJobs(10)
      yield* start(
        ({ job }) => {
          const index = ids.indexOf(job.id)
          if (index < 3) return Effect.succeed(done)
          if (index < 5) return Effect.die("no")
          if (index < 9) return Effect.as(Effect.orDie(emulator.acquireJob(job.id)), JobRunner.AgentOwned)
          return Effect.never
        },
        { maxInFlight: 20 }
      )
      for (let second = 0; second < 3; second++) yield* slowly("1 second")
      const values = yield* metrics
      assert.deepInclude(values, {
        "stacksapi_jobs Finished": 3,
        "stacksapi_jobs Failed": 2,
        "stacksapi_jobs AgentOwned": 4,
        "stacksapi_jobs Canceled": 0,
        stacksapi_jobs_reserved: 10,
        stacksapi_jobs_started: 10,
        stacksapi_schedule_to_start_seconds: 10,
        stacksapi_jobs_in_flight: 1,
        stacksapi_slots_available: 19,
        stacksapi_jobs_pending: 0,
        stacksapi_request_failures: 0
      })
    }).pipe(Effect.scoped, alone, Effect.provide(emulated()))
  )

  for (const [what, job] of [
    ["scheduling", {}],
    ["runnableAt", { scheduledAt: -3_600_000, runnableAt: 0 }]
  ] as const) {
    it.effect(`take the time from a job's ${what} to its start`, () => fromStart(job))
  }

  const fromStart = (job: Partial<StacksEmulator.NewJob>) =>
    Effect.gen(function* () {
      yield* addJobs(1, job)
      yield* TestClock.adjust("7 seconds")
      const stack = yield* start(takes(0))
      yield* slowly("1 second")
      const started = stack.seen.find((event) => event._tag === "Started")
      const seconds = started === undefined ? 0 : Duration.toSeconds(started.sinceScheduled)
      assert.closeTo(seconds, 7, 0.1)
      const histogram = (yield* Metric.snapshot).find(({ id }) => id === "stacksapi_schedule_to_start_seconds")
      assert.deepInclude(histogram?.state, { count: 1, sum: seconds })
    }).pipe(Effect.scoped, alone, Effect.provide(emulated()))

  it.effect("time each request, by operation and the class of its status", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(3)
      yield* emulator.setFaults([
        Fault.Status({ status: 503, operations: ["finishJob"], times: 2 }),
        Fault.Reset({ operations: ["listScheduledJobs"], times: 1 })
      ])
      yield* start(takes(0))
      for (let second = 0; second < 10; second++) yield* slowly("1 second")
      const values = yield* metrics
      const requests = yield* emulator.requests
      for (const operation of ["registerStack", "listScheduledJobs", "batchReserveJobs", "finishJob"]) {
        const timed = ["2xx", "4xx", "429", "5xx", "none"].map((status) =>
          Number(values[`stacksapi_request_duration_seconds ${operation} ${status}`] ?? 0)
        )
        assert.strictEqual(
          timed.reduce((sum, count) => sum + count),
          requests.filter((request) => request.operation === operation).length,
          operation
        )
      }
      assert.strictEqual(values["stacksapi_request_duration_seconds finishJob 5xx"], 2)
      assert.strictEqual(values["stacksapi_request_duration_seconds finishJob 2xx"], 3)
      assert.strictEqual(values["stacksapi_request_duration_seconds listScheduledJobs none"], 1)
    }).pipe(Effect.scoped, alone, Effect.provide(emulated()))
  )

  it.effect("say how many jobs the stack does not take, and why", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(1, { agentQueryRules: ["os=mac"] })
      yield* addJobs(2, { runnableAt: 3_600_000 })
      yield* addJobs(1, { agentQueryRules: ["os=linux"] })
      yield* start(takes(0), { tags: { os: "linux" } })
      for (let second = 0; second < 3; second++) yield* slowly("1 second")
      assert.deepInclude(yield* metrics, {
        "stacksapi_jobs_filtered tags": 1,
        "stacksapi_jobs_filtered not_yet": 2,
        "stacksapi_jobs_filtered paused": 0,
        "stacksapi_jobs_filtered not_admitted": 0,
        "stacksapi_jobs_filtered unusable": 0
      })
      yield* emulator.pauseQueue("q", true)
      for (let second = 0; second < 3; second++) yield* slowly("1 second")
      assert.deepInclude(yield* metrics, {
        "stacksapi_jobs_filtered tags": 1,
        "stacksapi_jobs_filtered not_yet": 0,
        "stacksapi_jobs_filtered paused": 2
      })
    }).pipe(Effect.scoped, alone, Effect.provide(emulated()))
  )

  it.effect("count requests, retries and waits for the rate limit by operation", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(150)
      yield* emulator.setFaults([Fault.Status({ status: 500, operations: ["finishJob"], times: 10 })])
      yield* start(takes(0), { maxInFlight: 150 })
      for (let second = 0; second < 10; second++) yield* slowly("1 second")
      const values = yield* metrics
      const requests = yield* emulator.requests
      for (const operation of ["registerStack", "listScheduledJobs", "batchReserveJobs", "finishJob"] as const) {
        assert.strictEqual(
          values[`stacksapi_requests ${operation}`],
          requests.filter((request) => request.operation === operation).length,
          operation
        )
      }
      assert.strictEqual(values["stacksapi_retries finishJob"], 10)
      assert.isAbove(Number(values["stacksapi_rate_limit_waits finishJob"]), 0)
    }).pipe(Effect.scoped, alone, Effect.provide(emulated()))
  )
})

describe("The spans of a stack", () => {
  it.effect("connect a job's reserve request, its runner, and its requests", () =>
    Effect.gen(function* () {
      const { exit, recording } = yield* Recording.record(
        Effect.gen(function* () {
          yield* addJobs(2)
          yield* start(({ details }) => Effect.as(details, done).pipe(Effect.withSpan("my runner")))
          yield* slowly("1 second")
          yield* slowly("1 second")
        }).pipe(Effect.scoped, Effect.provide(emulated()))
      )
      assert.strictEqual(exit._tag, "Success")
      const named = (name: string) => recording.spans.filter((span) => span.name === name)
      const [reserve] = named("Stack.reserve")
      const lives = named("Stack.job")
      assert.lengthOf(named("Stack.reserve"), 1)
      assert.lengthOf(lives, 2)
      for (const life of lives) {
        assert.isString(life.attributes.get("stacksapi.job_uuid"))
        assert.deepStrictEqual(
          life.links.map(({ span }) => span.spanId),
          [reserve?.spanId]
        )
        const names = recording.spans.filter(({ traceId }) => traceId === life.traceId).map(({ name }) => name)
        assert.includeMembers(names, ["Stack.job", "my runner", "StacksClient.getJob", "StacksClient.finishJob"])
      }
    })
  )
})

describe("onEvent", () => {
  it.effect("that never returns does not block the stack, and delays its end by 5 seconds", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      const run = Stack.runUntilIdle({ key: "s", queueKey: "q", onEvent: () => Effect.never })
      const running = yield* Effect.forkChild(Effect.provide(run, JobRunner.layer(takes("1 second"))))
      yield* slowly("10 seconds")
      assert.deepStrictEqual(yield* census, { "finished 0": 1 })
      yield* slowly("10 seconds")
      assert.strictEqual(running.pollUnsafe()?._tag, "Success")
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("gets every event from the first on, and its defects do not affect the stack", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      const told: Array<string> = []
      const run = Stack.runUntilIdle({
        key: "s",
        queueKey: "q",
        onEvent: ({ _tag }) => {
          told.push(_tag)
          return _tag === "Started" ? Effect.die("a mistake") : Effect.void
        }
      }).pipe(Effect.provide(JobRunner.layer(takes("1 second"))))
      const running = yield* Effect.forkChild(run)
      yield* slowly("10 seconds")
      yield* Fiber.join(running)
      assert.deepStrictEqual(
        told.filter((tag) => tag !== "Polled"),
        ["Registered", "Reserved", "Started", "Finished", "Draining", "Stopped"]
      )
      assert.deepStrictEqual(yield* census, { "finished 0": 1 })
    }).pipe(Effect.provide(emulated()))
  )
})
