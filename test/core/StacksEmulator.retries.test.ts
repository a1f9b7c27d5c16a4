/** How the service limits, retries and times out the jobs of a pipeline. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { labelOf, rounds, statesOf } from "../support/rehearse.ts"
import { begin, end, jobOf, listed, problemOf, started, stepStates } from "../support/startedPipeline.ts"

describe("a concurrency group", () => {
  const deploy = (label: string, more = {}) => ({
    command: label,
    concurrency: 1,
    concurrency_group: "deploy",
    ...more
  })

  it.effect("runs as many jobs as it may, in the order in which they were created", () =>
    Effect.gen(function* () {
      const emulator = yield* started({
        command: "x %n",
        label: "x %n",
        parallelism: 3,
        concurrency: 2,
        concurrency_group: "x"
      })
      assert.deepStrictEqual(yield* listed(emulator), ["x 0", "x 1"])
      assert.strictEqual((yield* jobOf(emulator, "x 2")).state, "limited")
      yield* end(emulator, "x 1")
      // The first one has not ended, and one more may run beside it.
      assert.deepStrictEqual(yield* listed(emulator), ["x 0", "x 2"])
    }).pipe(Effect.scoped)
  )

  it.effect("is shared by builds, and waits for earlier jobs that wait for others, unless it is eager", () =>
    Effect.gen(function* () {
      const emulator = yield* started({ command: "build", key: "build" }, deploy("first", { depends_on: "build" }))
      yield* emulator.uploadPipelines([{ steps: [deploy("second"), deploy("eager", { concurrency_method: "eager" })] }])
      assert.deepStrictEqual(yield* listed(emulator), ["build", "eager"])
      yield* end(emulator, "eager")
      assert.deepStrictEqual(yield* rounds(emulator), [["build"], ["first"], ["second"]])
    }).pipe(Effect.scoped)
  )

  it.effect("does not wait for jobs behind a block", () =>
    Effect.gen(function* () {
      const emulator = yield* started({ block: "Sure?" }, deploy("first"))
      yield* emulator.uploadPipelines([{ steps: [deploy("second")] }])
      assert.deepStrictEqual(yield* listed(emulator), ["second"])
    }).pipe(Effect.scoped)
  )

  it.effect("that is eager takes the most urgent job first", () =>
    Effect.gen(function* () {
      const eager = { concurrency_method: "eager" }
      const emulator = yield* started(
        deploy("running", eager),
        deploy("low", eager),
        deploy("high", { ...eager, priority: 5 })
      )
      assert.deepStrictEqual(yield* listed(emulator), ["high"])
      assert.deepStrictEqual(yield* rounds(emulator), [["high"], ["running"], ["low"]])
    }).pipe(Effect.scoped)
  )
})

describe("a retry", () => {
  it.effect("belongs to the build, right after the job before it", () =>
    Effect.gen(function* () {
      const emulator = yield* started({ command: "a" }, { command: "b" })
      const { id } = yield* jobOf(emulator, "a")
      yield* end(emulator, "a", 1)
      const retried = yield* emulator.retryJob(id)
      const [build] = yield* emulator.builds
      assert.deepStrictEqual(build?.jobUuids, [id, retried.id, (yield* jobOf(emulator, "b")).id])
    }).pipe(Effect.scoped)
  )

  it.effect("is a new job that knows its number, as often as the rule allows", () =>
    Effect.gen(function* () {
      const emulator = yield* started({ command: "a", retry: { automatic: true } }, "wait", { command: "b" })
      assert.deepStrictEqual(yield* rounds(emulator, { a: 1 }), [["a"], ["a"], ["a"]])
      const tries = (yield* emulator.jobs).filter((job) => labelOf(job) === "a")
      assert.deepStrictEqual(
        tries.map(({ env, retriedBy, retryCount }) => [retryCount, env["BUILDKITE_RETRY_COUNT"], retriedBy]),
        [
          [0, "0", tries[1]?.id],
          [1, "1", tries[2]?.id],
          [2, "2", undefined]
        ]
      )
      assert.strictEqual(tries[1]?.env["BUILDKITE_JOB_ID"], tries[1]?.id)
      assert.strictEqual((yield* jobOf(emulator, "b")).state, "waiting_failed")
    }).pipe(Effect.scoped)
  )

  it.effect("that passes lets the others go on", () =>
    Effect.gen(function* () {
      const emulator = yield* started({ command: "a", retry: { automatic: [{ exit_status: 1 }] } }, "wait", {
        command: "b"
      })
      yield* end(emulator, "a", 1)
      yield* end(emulator, "a", 0)
      assert.deepStrictEqual(yield* rounds(emulator), [["b"]])
    }).pipe(Effect.scoped)
  )

  it.effect("follows the first rule that matches; each rule counts for itself", () =>
    Effect.gen(function* () {
      const emulator = yield* started({
        command: "a",
        retry: {
          automatic: [
            { exit_status: [3, 4], limit: 1 },
            { exit_status: "*", limit: "1" },
            { exit_status: 0, limit: 9 }
          ]
        }
      })
      for (const [exitStatus, isRetried] of [
        [3, true],
        [5, true],
        [4, false]
      ] as const) {
        yield* end(emulator, "a", exitStatus)
        assert.strictEqual((yield* listed(emulator)).length > 0, isRetried, String(exitStatus))
      }
    }).pipe(Effect.scoped)
  )

  it.effect("may be for signals and their reasons only", () =>
    Effect.gen(function* () {
      const emulator = yield* started({
        command: "a",
        retry: { automatic: { signal_reason: "agent_stop", signal: "none" } }
      })
      yield* end(emulator, "a", 1)
      assert.deepStrictEqual(yield* listed(emulator), [])
    }).pipe(Effect.scoped)
  )

  it.effect("by a person runs what did not run because of the failure", () =>
    Effect.gen(function* () {
      const emulator = yield* started(
        { command: "a" },
        "wait",
        { command: "b" },
        { group: "g", steps: [{ command: "c" }] },
        "wait",
        { command: "d", retry: { manual: { allowed: false } } }
      )
      yield* rounds(emulator, { a: 1 })
      const { id } = yield* jobOf(emulator, "a")
      yield* emulator.retryJob(id)
      assert.include(yield* problemOf(emulator.retryJob(id)), "has been retried already")
      assert.deepStrictEqual(yield* rounds(emulator, { d: 1 }), [["a"], ["b", "c"], ["d"]])
      assert.include(yield* problemOf(emulator.retryJob((yield* jobOf(emulator, "d")).id)), "does not allow retries")
      assert.include(yield* problemOf(emulator.retryJob((yield* jobOf(emulator, "b")).id)), "has passed")
    }).pipe(Effect.scoped)
  )

  it.effect("does not follow a cancellation", () =>
    Effect.gen(function* () {
      const emulator = yield* started({ command: "a", retry: { automatic: true } })
      yield* emulator.cancelJob((yield* jobOf(emulator, "a")).id)
      assert.deepStrictEqual(yield* listed(emulator), [])
    }).pipe(Effect.scoped)
  )
})

describe("a time limit", () => {
  it.effect("stops a job, which has failed unless it passes all the same", () =>
    Effect.gen(function* () {
      const emulator = yield* started(
        { command: "a", key: "a", timeout_in_minutes: 2 },
        { command: "b", key: "b", timeout_in_minutes: 2 }
      )
      const [a, b] = [yield* begin(emulator, "a"), yield* begin(emulator, "b")]
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* statesOf(emulator), { a: "running", b: "running" })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* statesOf(emulator), { a: "timing_out", b: "timing_out" })
      yield* emulator.completeJob(a, 143)
      yield* emulator.completeJob(b, 0)
      // The one that passed all the same lets others go on.
      assert.deepStrictEqual(yield* statesOf(emulator), { a: "timed_out", b: "timed_out" })
      assert.deepStrictEqual(Object.values(yield* stepStates(emulator)), ["failed", "passed"])
    }).pipe(Effect.scoped)
  )
})
