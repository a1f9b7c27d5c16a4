/** A policy that decides which jobs a stack takes, before they are reserved. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, Stacks } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, census, countOf, done, emulated, jobOf, slowly, start, takes } from "../support/stacks.ts"

/** Who may run jobs here. */
const authors = new Set(["ada", "grace"])

describe("A stack with an admission policy", () => {
  it.effect("reserves no job of a fork, or of an unknown author", () =>
    Effect.gen(function* () {
      const job = (author: string, fork: boolean) =>
        addJobs(1, { env: { BUILDKITE_BUILD_AUTHOR: author, BUILDKITE_PULL_REQUEST_REPO: fork ? "git://fork" : "" } })
      const [trusted = ""] = yield* job("ada", false)
      const [fork = ""] = yield* job("grace", true)
      const [unknown = ""] = yield* job("mallory", false)
      const stack = yield* start(takes("1 second"), {
        admit: (_, details) =>
          Effect.map(
            details,
            ({ env }) => authors.has(env["BUILDKITE_BUILD_AUTHOR"] ?? "") && env["BUILDKITE_PULL_REQUEST_REPO"] === ""
          )
      })
      yield* slowly("10 seconds", "500 millis")
      yield* stack.awaitIdle
      assert.strictEqual((yield* jobOf(trusted)).state, "finished")
      for (const id of [fork, unknown]) assert.strictEqual((yield* jobOf(id)).state, "scheduled")
      const reserved = stack.seen.flatMap((event) => (event._tag === "Reserved" ? event.job.id : []))
      assert.deepStrictEqual(reserved, [trusted])
      const refused = stack.seen.flatMap((event) => (event._tag === "NotAdmitted" ? event.job.id : []))
      assert.sameMembers(refused, [fork, unknown])
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("calls admit by priority, for as many jobs as there are free slots, at most 16 at a time", () =>
    Effect.gen(function* () {
      yield* addJobs(500)
      const urgent = yield* addJobs(5, { priority: 5 })
      yield* addJobs(9500)
      const asked: Array<string> = []
      let asking = 0
      let most = 0
      yield* start(takes("1 second"), {
        maxInFlight: 100,
        admit: ({ id }) =>
          Effect.gen(function* () {
            asked.push(id)
            asking++
            most = Math.max(most, asking)
            yield* Effect.sleep("200 millis")
            asking--
            return false
          })
      })
      yield* slowly("5 seconds", "100 millis")
      assert.strictEqual(most, 16)
      assert.isAbove(asked.length, 100)
      assert.deepStrictEqual(asked.slice(0, 5), urgent)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("looks at its jobs only when something has changed, also with the slots of a pool", () =>
    Effect.gen(function* () {
      yield* addJobs(20)
      let looks = 0
      yield* Stacks.make({
        key: "s",
        queues: ["q", "r"],
        maxInFlight: 8,
        requests: () => {
          looks++
          return {}
        },
        admit: () => Effect.never
      }).pipe(Effect.provide(JobRunner.layer(takes("1 hour"))))
      yield* slowly("10 seconds", "1 second")
      // Each of some ten polls looks at the jobs once.
      assert.isAtMost(looks, 15 * 20)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("requests details of no more jobs than there are free slots", () =>
    Effect.gen(function* () {
      yield* addJobs(1000)
      yield* start(() => Effect.never, { maxInFlight: 3, admit: (_, details) => Effect.as(details, true) })
      yield* slowly("20 seconds", "500 millis")
      assert.strictEqual(yield* countOf("getJob"), 3)
      assert.strictEqual((yield* census)["reserved"], 3)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("keeps the result of admit while the job stays listed", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      yield* addJobs(1, { priority: 1 })
      const asked: Array<string> = []
      yield* start(takes("30 seconds"), {
        maxInFlight: 2,
        requests: () => ({ cpus: 1 }),
        capacity: { cpus: 1 },
        admit: ({ id }) => Effect.sync(() => asked.push(id) > 0)
      })
      yield* slowly("20 seconds", "500 millis")
      assert.lengthOf(asked, 2)
      yield* slowly("1 minute", "500 millis")
      assert.lengthOf(asked, 2)
      assert.deepStrictEqual(yield* census, { "finished 0": 2 })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  for (const [what, refuse] of [
    ["false", Effect.succeed(false)],
    ["a failure", Effect.die("the policy is broken")],
    ["a call that interrupts itself", Effect.interrupt],
    ["a call that takes longer than a minute", Effect.never]
  ] as const) {
    it.effect(`asks again after ${what}: after 1 minute, 2 minutes, 4 minutes`, () =>
      Effect.gen(function* () {
        const [id = ""] = yield* addJobs(1)
        const at: Array<number> = []
        let isAllowed = false
        const begin = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        const stack = yield* start(() => Effect.succeed(done), {
          admit: () =>
            Effect.gen(function* () {
              at.push(((yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - begin) / 60_000)
              return isAllowed ? true : yield* refuse
            })
        })
        for (let minute = 0; minute < 10; minute++) yield* slowly("1 minute", "1 second")
        assert.deepStrictEqual(
          at.map((minutes) => Math.floor(minutes)),
          what.includes("longer") ? [0, 2, 5] : [0, 1, 3, 7]
        )
        assert.lengthOf(
          stack.seen.filter(({ _tag }) => _tag === "NotAdmitted"),
          at.length
        )
        isAllowed = true
        for (let minute = 0; minute < 8; minute++) yield* slowly("1 minute", "1 second")
        assert.strictEqual((yield* jobOf(id)).state, "finished")
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  it.effect("takes other jobs though calls of admit for urgent ones never end, and says so", () =>
    Effect.gen(function* () {
      const stuck = new Set(yield* addJobs(4, { priority: 1 }))
      yield* addJobs(10)
      const stack = yield* start(takes("1 second"), {
        maxInFlight: 4,
        admit: ({ id }) => (stuck.has(id) ? Effect.never : Effect.succeed(true))
      })
      yield* slowly("50 seconds", "500 millis")
      assert.deepStrictEqual(yield* census, { scheduled: 14 })
      yield* slowly("40 seconds", "500 millis")
      assert.deepStrictEqual(yield* census, { scheduled: 4, "finished 0": 10 })
      const reasons = stack.seen.flatMap((event) => (event._tag === "NotAdmitted" ? event.reason : []))
      assert.deepStrictEqual(new Set(reasons), new Set(["admit failed: it took longer than 1 minute"]))
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("ends the calls of admit for jobs that have left the queue, and takes others instead", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const canceled = yield* addJobs(4, { priority: 1 })
      yield* addJobs(10)
      let ended = 0
      const stack = yield* start(takes("1 second"), {
        maxInFlight: 4,
        admit: ({ id }) =>
          canceled.includes(id)
            ? Effect.ensuring(
                Effect.never,
                Effect.sync(() => ended++)
              )
            : Effect.succeed(true)
      })
      yield* slowly("5 seconds", "500 millis")
      assert.strictEqual(ended, 0)
      for (const id of canceled) yield* emulator.cancelJob(id)
      yield* slowly("20 seconds", "500 millis")
      assert.strictEqual(ended, 4)
      assert.strictEqual((yield* census)["finished 0"], 10)
      assert.notInclude(stack.names(), "NotAdmitted")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("reports an admit that returns no effect, as in a program without types", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      const stack = yield* start(() => Effect.succeed(done), { admit: () => undefined as never })
      yield* slowly("10 seconds", "500 millis")
      assert.lengthOf(
        stack.seen.filter(({ _tag }) => _tag === "NotAdmitted"),
        1
      )
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("calls admit again after a failure of the service", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      yield* emulator.setFaults([StacksEmulator.Fault.Status({ status: 404, operations: ["getJob"], times: 2 })])
      const stack = yield* start(() => Effect.succeed(done), { admit: (_, details) => Effect.as(details, true) })
      yield* TestClock.adjust("5 seconds")
      yield* slowly("10 seconds", "500 millis")
      assert.include(["scheduled", "finished"], (yield* jobOf(id)).state)
      yield* slowly("3 minutes", "1 second")
      assert.strictEqual((yield* jobOf(id)).state, "finished")
      assert.isAtMost(stack.seen.filter(({ _tag }) => _tag === "NotAdmitted").length, 2)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
