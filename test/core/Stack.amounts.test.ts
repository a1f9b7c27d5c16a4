/** Jobs that take amounts of a capacity, such as CPUs. */
import { assert, describe, it } from "@effect/vitest"
import { SlotPool } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, census, done, emulated, jobOf, type Run, slowly, start, takes, within } from "../support/stacks.ts"

/** A job says how many CPUs it takes, and how many seconds it runs, in its step's key: `4 cpus, 10 s`. */
const cpusOf = (key: string | null) => Number(key?.match(/(\d+) cpus/)?.[1] ?? 0)
const secondsOf = (key: string | null) => Number(key?.match(/(\d+) s/)?.[1] ?? 1)

const add = (count: number, cpus: number, seconds: number, job: Partial<StacksEmulator.NewJob> = {}) =>
  addJobs(count, { step: { key: `${cpus} cpus, ${seconds} s` }, ...job })

/** A runner that takes note of the CPUs in use. */
const measured = () => {
  let inUse = 0
  const seen = { most: 0, inUse: () => inUse, startedAt: new Map<string, number>() }
  const run: Run = ({ job }) =>
    Effect.gen(function* () {
      inUse += cpusOf(job.step.key)
      seen.most = Math.max(seen.most, inUse)
      yield* Effect.sleep(`${secondsOf(job.step.key)} seconds`)
      return done
    }).pipe(Effect.ensuring(Effect.sync(() => (inUse -= cpusOf(job.step.key)))))
  return { run, seen }
}

const requests = ({ step }: { readonly step: { readonly key: string | null } }) => ({ cpus: cpusOf(step.key) })

describe("A stack with a capacity", () => {
  it.effect("never exceeds the capacity, and uses all of it while there are jobs", () =>
    Effect.gen(function* () {
      yield* add(10, 4, 10)
      yield* add(40, 1, 10)
      const { run, seen } = measured()
      yield* start(run, { requests, capacity: { cpus: 8 }, agingTime: "1 hour" })
      let idle = 0
      while ((yield* census)["finished 0"] !== 50) {
        yield* TestClock.adjust("500 millis")
        const left = (yield* StacksEmulator.StacksEmulator).jobs
        const waiting = (yield* left).filter(({ state }) => state === "scheduled")
        idle = seen.inUse() < 8 && waiting.length > 8 ? idle + 1 : 0
        assert.isAtMost(idle, 4)
      }
      assert.strictEqual(seen.most, 8)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("starts a large job at most agingTime plus the longest running job later", () =>
    Effect.gen(function* () {
      yield* add(8, 1, 20)
      const { run, seen } = measured()
      const stack = yield* start(run, { requests, capacity: { cpus: 8 }, agingTime: "1 minute" })
      yield* slowly("5 seconds", "500 millis")
      const [large = ""] = yield* add(1, 8, 5)
      const isStarted = () => stack.seen.some((event) => event._tag === "Started" && event.job.id === large)
      for (let second = 0; second < 60; second++) {
        // Smaller jobs without end.
        yield* add(1, 1, 20)
        yield* slowly("1 second", "500 millis")
      }
      assert.isFalse(isStarted())
      for (let second = 0; second < 22; second++) {
        yield* add(1, 1, 20)
        yield* slowly("1 second", "500 millis")
      }
      assert.isTrue(isStarted())
      yield* slowly("6 minutes", "1 second")
      assert.strictEqual((yield* census)["scheduled"], undefined)
      assert.strictEqual(seen.most, 8)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("lets jobs overtake that don't take the amounts kept for a large job", () =>
    Effect.gen(function* () {
      yield* add(2, 4, 300)
      const { run } = measured()
      yield* start(run, { requests, capacity: { cpus: 8 }, agingTime: "10 seconds" })
      yield* slowly("3 seconds", "500 millis")
      yield* add(1, 8, 1)
      yield* slowly("1 minute", "500 millis")
      const [free = ""] = yield* add(1, 0, 1)
      const [small = ""] = yield* add(1, 1, 1)
      yield* slowly("4 seconds", "500 millis")
      assert.strictEqual((yield* jobOf(free)).state, "finished")
      assert.strictEqual((yield* jobOf(small)).state, "scheduled")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("never reserves a job that is larger than the capacity, reports it once, and is idle without it", () =>
    Effect.gen(function* () {
      const [large = ""] = yield* add(1, 9, 1)
      yield* add(3, 1, 1)
      const { run } = measured()
      const stack = yield* start(run, { requests, capacity: { cpus: 8 } })
      yield* slowly("10 seconds", "500 millis")
      yield* stack.awaitIdle
      assert.strictEqual((yield* jobOf(large)).state, "scheduled")
      const reported = stack.seen.filter(({ _tag }) => _tag === "NotAdmitted")
      assert.deepStrictEqual(
        reported.map((event) => event._tag === "NotAdmitted" && [event.job.id, event.reason]),
        [[large, "needs 9 of cpus; the capacity is 8"]]
      )
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("treats amounts without a capacity as unlimited", () =>
    Effect.gen(function* () {
      yield* addJobs(5)
      const stack = yield* start(() => Effect.never, {
        requests: () => ({ gpus: 100 }),
        capacity: { cpus: 1 }
      })
      yield* slowly("3 seconds", "500 millis")
      const { amounts, inFlight } = yield* stack.status
      assert.lengthOf(inFlight, 5)
      assert.deepStrictEqual(amounts, { gpus: 500 })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("reports a job with invalid requests, and runs the others", () =>
    Effect.gen(function* () {
      const ids = yield* addJobs(4)
      const wrong = [{ cpus: -1 }, { cpus: Number.NaN }, "many"]
      const stack = yield* start(() => Effect.succeed(done), {
        requests: ({ id }) => {
          const index = ids.indexOf(id)
          if (index === 3) return {}
          return wrong[index] as Readonly<Record<string, number>>
        },
        capacity: { cpus: 1 }
      })
      yield* slowly("5 seconds", "500 millis")
      assert.deepStrictEqual(yield* census, { scheduled: 3, "finished 0": 1 })
      assert.lengthOf(
        stack.seen.filter(({ _tag }) => _tag === "NotAdmitted"),
        3
      )
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("never exceeds the capacity though requests sometimes fails", () =>
    Effect.gen(function* () {
      yield* add(20, 1, 60)
      const { run, seen } = measured()
      let calls = 0
      yield* start(run, {
        requests: (job) => {
          if (calls++ % 2 === 1) throw new Error("flaky")
          return requests(job)
        },
        capacity: { cpus: 4 }
      })
      yield* slowly("30 seconds", "500 millis")
      assert.strictEqual(seen.most, 4)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("counts amounts by any name", () =>
    Effect.gen(function* () {
      yield* addJobs(6)
      const [large = ""] = yield* addJobs(1, { priority: -1 })
      const of = (entries: ReadonlyArray<readonly [string, number]>) => Object.fromEntries(entries)
      const stack = yield* start(takes("1 hour"), {
        requests: ({ id }) =>
          of([
            ["constructor", id === large ? 5 : 2],
            ["__proto__", 1]
          ]),
        capacity: of([
          ["constructor", 4],
          ["toString", 1],
          ["__proto__", 10]
        ])
      })
      yield* slowly("5 seconds", "500 millis")
      const { amounts, inFlight } = yield* stack.status
      assert.lengthOf(inFlight, 2)
      assert.sameDeepMembers(Object.entries(amounts), [
        ["constructor", 4],
        ["__proto__", 2]
      ])
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("frees a job's amounts however it ends", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const ids = yield* add(6, 4, 1)
      const stack = yield* start(
        ({ job }) => {
          switch (ids.indexOf(job.id)) {
            case 0:
              return Effect.fail("failed")
            case 1:
              return Effect.die("died")
            case 2:
              return Effect.interrupt
            case 3:
              return Effect.andThen(emulator.cancelJob(job.id), Effect.never)
            default:
              return Effect.succeed(done)
          }
        },
        { requests, capacity: { cpus: 4 } }
      )
      yield* slowly("1 minute", "500 millis")
      yield* stack.awaitIdle
      assert.deepStrictEqual((yield* stack.status).amounts, {})
      assert.strictEqual((yield* census)["finished 0"], 2)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})

describe("Stacks that share a pool with a capacity", () => {
  it.effect("never exceed the capacity together, and follow setCapacity", () =>
    Effect.gen(function* () {
      yield* add(20, 2, 5)
      yield* add(20, 2, 5, { queueKey: "other" })
      const { run, seen } = measured()
      const pool = yield* SlotPool.make(50, { capacity: { cpus: 4 } })
      yield* start(run, { key: "a", requests, pool })
      yield* start(run, { key: "b", queueKey: "other", requests, pool })
      yield* slowly("30 seconds", "500 millis")
      assert.strictEqual(seen.most, 4)
      assert.deepStrictEqual(pool.held(), { cpus: 4 })
      yield* pool.setCapacity({ cpus: 12 })
      yield* slowly("3 minutes", "500 millis")
      assert.strictEqual(seen.most, 12)
      assert.deepStrictEqual(yield* census, { "finished 0": 40 })
      assert.deepStrictEqual(pool.held(), {})
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  for (const how of ["drains", "has a paused queue", "waits as long as the service asks for"]) {
    it.effect(`keep no amounts for a large job of a stack that ${how}`, () =>
      Effect.gen(function* () {
        const service = yield* StacksEmulator.StacksEmulator
        const { run } = measured()
        const pool = yield* SlotPool.make(50, { capacity: { cpus: 8 } })
        yield* add(1, 2, 10_000)
        const stack = yield* start(run, {
          key: "a",
          requests,
          pool,
          agingTime: "10 seconds",
          shutdownGrace: how === "drains" ? "1 minute" : 0
        })
        yield* start(run, { key: "b", queueKey: "other", requests, pool })
        yield* slowly("5 seconds", "500 millis")
        yield* add(1, 8, 1)
        yield* slowly("30 seconds", "500 millis")
        if (how === "drains") yield* Effect.forkChild(stack.drain)
        if (how.includes("paused")) yield* service.pauseQueue("q", true)
        if (how.includes("asks")) {
          const operations = ["batchReserveJobs"] as const
          yield* service.setFaults([
            StacksEmulator.Fault.Status({ status: 503, retryAfter: "3 minutes", operations, times: 1 })
          ])
          yield* add(1, 0, 1)
        }
        yield* slowly("3 seconds", "500 millis")
        yield* add(5, 1, 1, { queueKey: "other" })
        yield* slowly("30 seconds", "500 millis")
        assert.strictEqual((yield* census)["finished 0"], 5)
        yield* within("2 minutes", stack.drain)
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  it.effect("both start their large jobs, although each needs the whole capacity", () =>
    Effect.gen(function* () {
      const queues = [{}, { queueKey: "other" }]
      for (const queue of queues) yield* add(4, 1, 10, queue)
      const large = (yield* Effect.forEach(queues, (queue) => add(1, 4, 5, queue))).flat()
      for (const queue of queues) yield* add(30, 1, 10, queue)
      const { run } = measured()
      const pool = yield* SlotPool.make(50, { capacity: { cpus: 4 } })
      yield* start(run, { key: "a", requests, pool, agingTime: "20 seconds" })
      yield* start(run, { key: "b", queueKey: "other", requests, pool, agingTime: "20 seconds" })
      yield* slowly("2 minutes", "500 millis")
      for (const id of large) assert.strictEqual((yield* jobOf(id)).state, "finished")
      yield* slowly("5 minutes", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 70 })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
