/** Many queues in one process: who gets which slots, and what one queue's trouble means to the others. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, SlotPool, Stack, Stacks, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Exit, Fiber, Layer, Logger, Metric, Redacted } from "effect"
import type { HttpClientRequest } from "effect/http"
import { TestClock } from "effect/testing"
import { addJobs, census, clientVia, done, emulated, type Run, slowly, within } from "../support/stacks.ts"

/** Runs jobs for so long, and counts those that run by queue. */
const counted = (duration: (queueKey: string) => number) => {
  const running: Record<string, number> = {}
  const ended: Record<string, number> = {}
  const state = { total: 0, most: 0 }
  const run: Run = ({ stackKey }) => {
    const queue = stackKey.slice(stackKey.indexOf("--") + 2)
    const change = (by: number) => {
      running[queue] = (running[queue] ?? 0) + by
      state.total += by
      state.most = Math.max(state.most, state.total)
    }
    return Effect.gen(function* () {
      change(1)
      yield* Effect.sleep(duration(queue))
      ended[queue] = (ended[queue] ?? 0) + 1
      return done
    }).pipe(Effect.ensuring(Effect.sync(() => change(-1))))
  }
  return { run, running, ended, state }
}

const start = (run: Run, options: Omit<Stacks.Options, "key"> & { readonly key?: string }) =>
  Stacks.make({ key: "s", shutdownGrace: 0, ...options }).pipe(Effect.provide(JobRunner.layer(run)))

const jobsFor = (queueKey: string, count: number) => addJobs(count, { queueKey })

/** The jobs that run in each queue, averaged over so many seconds. */
const averages = Effect.fnUntraced(function* (running: Record<string, number>, seconds: number) {
  const sums: Record<string, number> = {}
  for (let step = 0; step < seconds * 4; step++) {
    yield* TestClock.adjust("250 millis")
    for (const [queue, count] of Object.entries(running)) sums[queue] = (sums[queue] ?? 0) + count
  }
  return Object.fromEntries(Object.entries(sums).map(([queue, sum]) => [queue, sum / seconds / 4]))
})

const quiet = Logger.layer([])

/** Keeps the lines that are logged as errors. */
const logged = () => {
  const lines: Array<string> = []
  const keep = Logger.make<unknown, void>(({ logLevel, message }) => {
    if (logLevel === "Error") lines.push([message].flat().join(" "))
  })
  return { lines, logger: Logger.layer([keep]) }
}

const bodyOf = ({ body }: HttpClientRequest.HttpClientRequest): string =>
  body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : ""

describe("Stacks", () => {
  it.effect("give each queue an equal share of the slots while all have jobs", () =>
    Effect.gen(function* () {
      yield* jobsFor("a", 500)
      yield* jobsFor("b", 500)
      const { run, running, state } = counted(() => 3000)
      yield* start(run, { queues: ["a", "b"], maxInFlight: 20 })
      yield* TestClock.adjust("15 seconds")
      const { a = 0, b = 0 } = yield* averages(running, 30)
      assert.isAtLeast(a, 9)
      assert.isAtLeast(b, 9)
      assert.strictEqual(state.most, 20)
    }).pipe(Effect.provide(emulated()), Effect.scoped)
  )

  it.effect("give queues of long and of short jobs equal shares over time", () =>
    Effect.gen(function* () {
      yield* jobsFor("long", 500)
      yield* jobsFor("short", 1500)
      const { run, running } = counted((queue) => (queue === "long" ? 20_000 : 1000))
      yield* start(run, { queues: ["long", "short"], maxInFlight: 20 })
      yield* TestClock.adjust("40 seconds")
      const { long = 0, short = 0 } = yield* averages(running, 20)
      assert.isAtMost(long, 10.5)
      assert.isAtLeast(short, 8)
    }).pipe(Effect.provide(emulated()), Effect.scoped)
  )

  it.effect("give a queue of three times the weight three times the slots", () =>
    Effect.gen(function* () {
      yield* jobsFor("light", 500)
      yield* jobsFor("heavy", 500)
      const { run, running } = counted(() => 3000)
      yield* start(run, { queues: ["light", { queueKey: "heavy", weight: 3 }], maxInFlight: 20 })
      yield* TestClock.adjust("20 seconds")
      const { heavy = 0, light = 0 } = yield* averages(running, 30)
      assert.isAtLeast(heavy, 13.5)
      assert.isAtLeast(light, 4.5)
    }).pipe(Effect.provide(emulated()), Effect.scoped)
  )

  it.effect("give the share of an idle queue to the others until it has jobs again", () =>
    Effect.gen(function* () {
      yield* jobsFor("busy", 500)
      const { run, running } = counted(() => 5000)
      yield* start(run, { queues: ["busy", "idle"], maxInFlight: 20 })
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(running, { busy: 20 })
      yield* jobsFor("idle", 500)
      // No running job is stopped for it; a round of jobs later it has what is its own.
      yield* TestClock.adjust("8500 millis")
      assert.deepStrictEqual(running, { busy: 10, idle: 10 })
    }).pipe(Effect.provide(emulated()), Effect.scoped)
  )

  it.effect("use all slots if some queues have fewer jobs than their share or are paused", () =>
    Effect.gen(function* () {
      const { pauseQueue } = yield* StacksEmulator.StacksEmulator
      yield* jobsFor("few", 3)
      yield* jobsFor("paused", 100)
      yield* pauseQueue("paused", true)
      yield* jobsFor("capped", 100)
      yield* jobsFor("many", 100)
      const { run, running } = counted(() => 60_000)
      const queues = ["few", "paused", { queueKey: "capped", maxInFlight: 2 }, "many"]
      const { status } = yield* start(run, { queues, maxInFlight: 20 })
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(running, { few: 3, capped: 2, many: 15 })
      assert.strictEqual((yield* status).free, 0)
    }).pipe(Effect.provide(emulated()), Effect.scoped)
  )

  it.effect("give each of 20 queues on 5 slots its turn", () =>
    Effect.gen(function* () {
      const queues = Array.from({ length: 20 }, (_, index) => `q${index}`)
      for (const queue of queues) yield* jobsFor(queue, 50)
      const { ended, run, state } = counted(() => 1000)
      yield* start(run, { queues, maxInFlight: 5 })
      yield* TestClock.adjust("60 seconds")
      const counts = queues.map((queue) => ended[queue] ?? 0)
      assert.isAtLeast(Math.min(...counts), 0.7 * (counts.reduce((sum, count) => sum + count) / 20))
      assert.strictEqual(state.most, 5)
    }).pipe(Effect.provide(emulated()), Effect.scoped)
  )

  it.effect("run all jobs of 20 queues with separate keys and rate limits", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const queues = Array.from({ length: 20 }, (_, index) => `q${index}`)
      for (const queue of queues) yield* jobsFor(queue, 40)
      const { run, state } = counted((queue) => 200 + 10 * queue.length)
      yield* start(run, { queues, maxInFlight: 40 })
      const { passed } = yield* within(
        "2 minutes",
        Effect.gen(function* () {
          while ((yield* census)["finished 0"] !== 800) yield* Effect.sleep("1 second")
        })
      )
      assert.isAtMost(Number(passed.toString().match(/\d+/)?.[0] ?? 0), 60_000)
      assert.strictEqual(state.most, 40)
      assert.strictEqual((yield* emulator.requests).filter(({ status }) => status === 429).length, 0)
      assert.sameMembers(
        (yield* emulator.stacks).map(({ clusterQueueKey, key }) => `${key} ${clusterQueueKey}`),
        queues.map((queue) => `s--${queue} ${queue}`)
      )
    }).pipe(Effect.provide(emulated({ rateLimits: true })), Effect.scoped)
  )

  it.effect("never run more jobs than there are slots while the number of slots changes", () =>
    Effect.gen(function* () {
      for (const queue of ["a", "b", "c"]) yield* jobsFor(queue, 500)
      let count = 0
      const { run, state } = counted(() => 300 + ((count * 377) % 2500))
      const failing: Run = (context) =>
        ++count % 7 === 0 ? new JobRunner.JobRunnerError({ message: "later", isRetryable: true }) : run(context)
      const { setMaxInFlight } = yield* start(failing, { queues: ["a", "b", "c"], maxInFlight: 10 })
      yield* TestClock.adjust("10 seconds")
      // Jobs that wait for another try hold their slots.
      assert.isAtLeast(state.most, 7)
      assert.isAtMost(state.most, 10)
      yield* setMaxInFlight(25)
      yield* TestClock.adjust("10 seconds")
      assert.isAtLeast(state.most, 15)
      assert.isAtMost(state.most, 25)
      yield* setMaxInFlight(4)
      yield* TestClock.adjust("4 seconds")
      state.most = 0
      yield* TestClock.adjust("20 seconds")
      assert.isAtMost(state.most, 4)
      assert.isAtLeast(state.most, 1)
    }).pipe(Effect.provide([emulated(), quiet]), Effect.scoped)
  )

  it.effect("drain all at once, and deregister", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const queues = Array.from({ length: 20 }, (_, index) => `q${index}`)
      for (const queue of queues) yield* jobsFor(queue, 2)
      const { run, state } = counted(() => 3_600_000)
      const { passed } = yield* within(
        "3 minutes",
        Effect.scoped(
          Effect.andThen(
            start(run, { queues, maxInFlight: 40, shutdownGrace: "30 seconds" }),
            Effect.sleep("5 seconds")
          )
        )
      )
      assert.strictEqual(state.most, 40)
      assert.strictEqual(state.total, 0)
      assert.deepStrictEqual(yield* census, { "finished -1": 40 })
      assert.lengthOf(yield* emulator.stacks, 0)
      assert.isAtMost(Number(passed.toString().match(/\d+/)?.[0] ?? 0), 60_000)
    }).pipe(Effect.provide([emulated(), quiet]), Effect.scoped)
  )

  it.effect("take no more jobs after drain", () =>
    Effect.gen(function* () {
      yield* jobsFor("a", 100)
      yield* jobsFor("b", 100)
      const { run, state } = counted(() => 2000)
      const { drain, status } = yield* start(run, { queues: ["a", "b"], maxInFlight: 10, shutdownGrace: "1 minute" })
      yield* TestClock.adjust("3 seconds")
      yield* within("1 minute", drain)
      assert.strictEqual(state.total, 0)
      const phases = (yield* status).queues.map(({ stack }) => stack?.phase)
      assert.deepStrictEqual(phases, ["stopped", "stopped"])
    }).pipe(Effect.provide(emulated()), Effect.scoped)
  )

  it.effect("continue without a queue that does not exist, and report why", () =>
    Effect.gen(function* () {
      yield* jobsFor("here", 3)
      const watched: Array<string> = []
      const { run, ended } = counted(() => 1000)
      const onStack = (stack: Stack.Service) => Effect.map(stack.status, ({ queueKey }) => void watched.push(queueKey))
      const { status } = yield* start(run, { queues: ["gone", "here"], onStack })
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(ended, { here: 3 })
      assert.deepStrictEqual(watched, ["here"])
      const [gone, here] = (yield* status).queues
      assert.include(gone?.failure?.message, "The queue may not exist")
      assert.isUndefined(gone?.stack)
      assert.isUndefined(here?.failure)
    }).pipe(Effect.provide([emulated({ queues: ["here"] }), quiet]), Effect.scoped)
  )

  it.effect("bear a 401 for authGrace, also if it meets the retry of a queue that could not start", () =>
    Effect.gen(function* () {
      const { setFaults } = yield* StacksEmulator.StacksEmulator
      const { lines, logger } = logged()
      const { run, ended } = counted(() => 1000)
      const stacks = yield* Effect.provide(start(run, { queues: ["deploy", "linux"] }), logger)
      const failure = yield* Effect.forkChild(Effect.flip(stacks.awaitFailure))
      // The retry comes one minute after the start.
      yield* TestClock.adjust("55 seconds")
      yield* setFaults([StacksEmulator.Fault.Status({ status: 401 })])
      yield* TestClock.adjust("4 minutes")
      assert.isUndefined(failure.pollUnsafe())
      assert.isTrue(
        lines.slice(1).every((line) => line.startsWith("Queue deploy can't continue, and is tried again in"))
      )
      yield* setFaults([])
      yield* jobsFor("linux", 3)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(ended, { linux: 3 })
      yield* setFaults([StacksEmulator.Fault.Status({ status: 401 })])
      yield* TestClock.adjust("6 minutes")
      assert.include((yield* Fiber.join(failure)).message, "The token is not valid")
      assert.isTrue(lines.some((line) => line.startsWith("Queue linux can't continue: ")))
    }).pipe(Effect.provide(emulated({ queues: ["linux"] })), Effect.scoped)
  )

  it.effect("say that a queue that could not start is tried again, and when, each time", () =>
    Effect.gen(function* () {
      const { lines, logger } = logged()
      const { run } = counted(() => 1000)
      yield* Effect.provide(start(run, { queues: ["gone", "here"] }), logger)
      yield* TestClock.adjust("130 seconds")
      assert.lengthOf(lines, 3)
      for (const line of lines) {
        assert.match(line, /^Queue gone can't continue, and is tried again in 1m: .*The queue may not exist/)
      }
    }).pipe(Effect.provide(emulated({ queues: ["here"] })), Effect.scoped)
  )

  it.effect("try a queue again that was refused", () =>
    Effect.gen(function* () {
      const client = yield* StacksClient.StacksClient
      yield* client.registerStack({ key: "other", type: "custom", queueKey: "a" })
      yield* jobsFor("a", 3)
      yield* jobsFor("b", 3)
      const { run } = counted(() => 1000)
      yield* start(run, { queues: ["a", "b"] })
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* census, { "finished 0": 3, scheduled: 3 })
      yield* client.deregisterStack({ stackKey: "other" })
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(yield* census, { "finished 0": 6 })
    }).pipe(Effect.provide([emulated({ maxStacks: 2 }), quiet]), Effect.scoped)
  )

  it.effect("fail if no queue is left or the token is refused", () =>
    Effect.gen(function* () {
      const { baseUrl } = yield* StacksEmulator.StacksEmulator
      const runAll = Stacks.run({ key: "s", queues: ["x", "y"] }).pipe(
        Effect.provide(JobRunner.layer(() => Effect.succeed(done)))
      )
      const missing = yield* within("1 minute", Effect.flip(runAll))
      assert(Exit.isSuccess(missing.exit))
      assert.include(missing.exit.value.message, "The queue may not exist")
      const stranger = StacksClient.layer({ baseUrl, token: Redacted.make("bkct_wrong") })
      const refused = yield* within("1 minute", Effect.provide(Effect.flip(runAll), stranger))
      assert(Exit.isSuccess(refused.exit))
      assert.include(refused.exit.value.message, "The token is not valid")
    }).pipe(
      Effect.provide([
        quiet,
        Layer.mergeAll(StacksEmulator.layerClient, StacksEmulator.layerHttpClient).pipe(
          Layer.provideMerge(StacksEmulator.layer({ queues: ["z"] }))
        )
      ]),
      Effect.scoped
    )
  )

  it.effect("fail for a duplicate key or an empty list of queues, with a message that says what to do", () =>
    Effect.gen(function* () {
      const { run } = counted(() => 0)
      const refused = (options: Pick<Stacks.Options, "queues">) =>
        Effect.map(Effect.flip(Effect.scoped(start(run, options))), ({ message }) => message)
      assert.match(yield* refused({ queues: ["a", "b", "a"] }), /s--a.*give one of them another `key`/)
      assert.match(
        yield* refused({ queues: ["a", { queueKey: "b", key: "s--a" }] }),
        /a and b have one stack key, s--a/
      )
      assert.match(yield* refused({ queues: [] }), /queues: must name at least one queue/)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("fail for an invalid key instead of retrying", () =>
    Effect.gen(function* () {
      const { run } = counted(() => 0)
      for (const key of ["", "with a blank", "x".repeat(81)]) {
        const options = { queues: ["a", { queueKey: "b", key }] }
        const { exit } = yield* within("1 minute", Effect.flip(Effect.scoped(start(run, options))))
        assert(Exit.isSuccess(exit))
        assert.strictEqual(exit.value._tag, "InvalidOptions", key)
      }
    }).pipe(Effect.provide([emulated(), quiet]))
  )

  it.effect("use the common option if a queue's own is undefined", () =>
    Effect.gen(function* () {
      yield* addJobs(2, { queueKey: "a", agentQueryRules: ["os=linux"] })
      yield* addJobs(2, { queueKey: "a", agentQueryRules: ["os=mac"] })
      const { ended, run } = counted(() => 1000)
      yield* start(run, { tags: ["os=linux"], queues: [{ queueKey: "a", tags: undefined, maxInFlight: undefined }] })
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(ended, { a: 2 })
    }).pipe(Effect.provide(emulated()), Effect.scoped)
  )

  it.effect("serve one queue with several stacks, each with its own key and rate limits", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* jobsFor("a", 1500)
      const run = () => Effect.succeed(done)
      const queues = ["a", { queueKey: "a", key: "s2" }, { queueKey: "a", key: "s3" }]
      const { stacks, status } = yield* start(run, { queues, maxInFlight: 600 })
      for (let second = 0; second < 6; second++) yield* TestClock.adjust("1 second")
      // One alone may finish 100 a second.
      assert.isAtLeast((yield* census)["finished 0"] ?? 0, 1400)
      assert.deepStrictEqual(Array.from((yield* stacks).keys()), ["s--a", "s2", "s3"])
      assert.deepStrictEqual(
        (yield* status).queues.map(({ key, queueKey }) => [key, queueKey]),
        [
          ["s--a", "a"],
          ["s2", "a"],
          ["s3", "a"]
        ]
      )
      assert.strictEqual((yield* emulator.requests).filter(({ status }) => status === 429).length, 0)
      // The last of them are still finished.
      for (let second = 0; second < 5; second++) yield* TestClock.adjust("1 second")
    }).pipe(Effect.provide(emulated({ rateLimits: true })), Effect.scoped)
  )

  it.effect("start at most 50 stacks at a time, so that they don't poll at the same time later", () =>
    Effect.gen(function* () {
      let underWay = 0
      let most = 0
      const distant = clientVia((_, response) =>
        Effect.suspend(() => {
          most = Math.max(most, ++underWay)
          return Effect.andThen(Effect.sleep("50 millis"), response)
        }).pipe(Effect.ensuring(Effect.sync(() => underWay--)))
      )
      const queues = Array.from({ length: 300 }, (_, index) => `q${index}`)
      const seen = yield* within(
        "1 minute",
        Effect.scoped(
          Effect.gen(function* () {
            yield* start(() => Effect.never, { queues })
            yield* Effect.sleep("2 seconds")
            const mostAtStart = most
            most = 0
            yield* Effect.sleep("3 seconds")
            return { mostAtStart, mostLater: most }
          })
        ).pipe(Effect.provide(distant))
      )
      assert(Exit.isSuccess(seen.exit))
      const { mostAtStart, mostLater } = seen.exit.value
      assert.isAtLeast(mostAtStart, 40)
      // 50 begin while the 50 before them have their answers.
      assert.isAtMost(mostAtStart, 100)
      assert.isAtMost(mostLater, 100)
    }).pipe(Effect.provide([emulated(), quiet]))
  )

  it.effect("start the other stacks if the first 50 get no response", () =>
    Effect.gen(function* () {
      const silent = clientVia((request, response) =>
        request.url.endsWith("/register") && /"key":"s--bad/.test(bodyOf(request)) ? Effect.never : response
      )
      yield* jobsFor("good", 3)
      const { ended, run } = counted(() => 1000)
      const queues = [...Array.from({ length: 50 }, (_, index) => `bad${index}`), "good"]
      yield* within(
        "1 minute",
        Effect.scoped(
          Effect.andThen(Effect.forkScoped(Effect.provide(start(run, { queues }), silent)), Effect.sleep("5 seconds"))
        )
      )
      assert.deepStrictEqual(ended, { good: 3 })
    }).pipe(Effect.provide([emulated(), quiet]))
  )

  it.effect("have metrics of each queue, and of the shared slots", () =>
    Effect.gen(function* () {
      yield* jobsFor("a", 3)
      yield* jobsFor("b", 1)
      const { run } = counted(() => 60_000)
      const valueOf = Effect.fnUntraced(function* (id: string, queue?: string) {
        const metrics = yield* Metric.snapshot
        return metrics.find((metric) => metric.id === id && metric.attributes?.["queue"] === queue)?.state
      })
      yield* Effect.scoped(
        Effect.gen(function* () {
          // Two stacks of one queue add up.
          yield* start(run, { queues: ["a", { queueKey: "a", key: "s2", maxInFlight: 1 }, "b"], maxInFlight: 10 })
          yield* TestClock.adjust("5 seconds")
          assert.deepStrictEqual(yield* valueOf("stacksapi_jobs_in_flight", "a"), { value: 3 })
          assert.deepStrictEqual(yield* valueOf("stacksapi_jobs_in_flight", "b"), { value: 1 })
          assert.deepStrictEqual(yield* valueOf("stacksapi_slots_available"), { value: 6 })
          yield* Effect.forkChild(TestClock.adjust("1 minute"))
        })
      )
      assert.deepStrictEqual(yield* valueOf("stacksapi_jobs_in_flight", "a"), { value: 0 })
      assert.deepStrictEqual(yield* valueOf("stacksapi_slots_available"), { value: 10 })
    }).pipe(Effect.provide(emulated()), Effect.provideService(Metric.MetricRegistry, new Map()))
  )
})

describe("The time of the last poll of each queue", () => {
  /** In seconds since the test's start. */
  const lastPolls = Effect.map(Metric.snapshot, (metrics) =>
    Object.fromEntries(
      metrics.flatMap(({ attributes, id, state }) =>
        id === "stacksapi_last_poll_timestamp_seconds" && "value" in state
          ? [[attributes?.["queue"], Math.round(Number(state.value))]]
          : []
      )
    )
  )

  it.effect("stands still for a queue that can't be polled, also from the start on, and is 0 after the end", () =>
    Effect.gen(function* () {
      const { setFaults } = yield* StacksEmulator.StacksEmulator
      yield* TestClock.adjust("100 seconds")
      const { run } = counted(() => 1000)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { drain } = yield* start(run, { queues: ["linux", "gone"] })
          yield* slowly("100 seconds", "1 second")
          assert.deepStrictEqual(yield* lastPolls, { linux: 200, gone: 100 })
          yield* setFaults([StacksEmulator.Fault.Status({ status: 503, operations: ["listScheduledJobs"] })])
          yield* slowly("100 seconds", "1 second")
          assert.deepStrictEqual(yield* lastPolls, { linux: 200, gone: 100 })
          yield* within("1 minute", drain)
          assert.strictEqual((yield* lastPolls)["linux"], 0)
        })
      )
    }).pipe(
      Effect.provide([emulated({ queues: ["linux"] }), quiet]),
      Effect.provideService(Metric.MetricRegistry, new Map())
    )
  )
})

describe("A pool of slots", () => {
  it.effect("is shared by stacks that are started separately", () =>
    Effect.gen(function* () {
      yield* jobsFor("a", 100)
      yield* jobsFor("b", 100)
      const pool = yield* SlotPool.make(6)
      const { run, running } = counted(() => 3000)
      for (const queueKey of ["a", "b"]) {
        yield* Stack.make({ key: `s--${queueKey}`, queueKey, pool, shutdownGrace: 0 }).pipe(
          Effect.provide(JobRunner.layer(run))
        )
      }
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(running, { a: 3, b: 3 })
      assert.strictEqual(pool.free(), 0)
    }).pipe(Effect.provide(emulated()), Effect.scoped)
  )
})

describe("The key of a queue's stack", () => {
  it("joins key and queue if the result is a valid key", () => {
    assert.strictEqual(Stacks.keyOf("ci", "linux"), "ci--linux")
    assert.strictEqual(Stacks.keyOf("my_stack-1", "default"), "my_stack-1--default")
  })

  it("has a stable hash if the joined key would be invalid", () => {
    assert.strictEqual(Stacks.keyOf("ci", "mac os"), "ci--mac_os--dggzhqzd9avp1pxt8avexxeh2")
    assert.strictEqual(
      Stacks.keyOf("ci", "x".repeat(200)),
      "ci--xxxxxxxxxxxxxxxxxxxxxxxxxxx--4rmc8a4y0hs9u80wv9mmvypq5"
    )
  })

  it("includes the cluster if it is given", () => {
    const cluster = "0193b1a6-6a2c-4f4e-9d1a-00000000000c"
    const made = Stacks.keyOf("ci", "linux", cluster)
    assert.match(made, /^ci--0193b1a6-6a2--linux--[a-z0-9]{25}$/)
    assert.strictEqual(Stacks.keyOf("ci", "linux", cluster), made)
    assert.notStrictEqual(Stacks.keyOf("ci", "linux", `${cluster.slice(0, -1)}d`), made)
    assert.strictEqual(Stacks.keyOf("ci", "linux", ""), "ci--linux")
  })

  it("differs from the keys of queues of other clusters", () => {
    const parts = ["a", "b", "-", "--", "a-b", "a--b", "-a", "a-", "Ü", " ", "x".repeat(80), `${"x".repeat(79)}y`]
    const seen = new Map<string, string>()
    for (const key of parts.filter((part) => /^[\w-]{1,80}$/.test(part))) {
      for (const queueKey of parts) {
        for (const cluster of [undefined, ...parts]) {
          const made = Stacks.keyOf(key, queueKey, cluster)
          assert.match(made, /^[A-Za-z0-9_-]{1,80}$/)
          assert.isFalse(seen.has(made), `${seen.get(made)} and ${key}, ${queueKey}, ${cluster}`)
          seen.set(made, `${key}, ${queueKey}, ${cluster}`)
        }
      }
    }
  })

  it("differs from the keys of other queues", () => {
    const parts = ["a", "b", "-", "--", "_", "a-b", "a--b", "b--a", "-a", "a-", "Ü", "ü", " ", "", "queue/1", "queue_1"]
    const long = parts.flatMap((part) => [
      part,
      part + "x".repeat(40),
      `${"y".repeat(70)}${part}`,
      `${"y".repeat(200)}${part}`
    ])
    const seen = new Map<string, string>()
    for (const key of long.filter((part) => /^[\w-]{1,80}$/.test(part))) {
      for (const queueKey of long) {
        const made = Stacks.keyOf(key, queueKey)
        assert.match(made, /^[A-Za-z0-9_-]{1,80}$/)
        assert.isFalse(seen.has(made), `${seen.get(made)} and ${key}, ${queueKey}`)
        seen.set(made, `${key}, ${queueKey}`)
      }
    }
  })
})
