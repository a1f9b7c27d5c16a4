import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, ScheduledJobs, StacksClient, StacksError } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Fiber, Logger, Stream } from "effect"
import { TestClock } from "effect/testing"
import { addJobs } from "../support/emulated.ts"
import {
  at,
  emulated,
  emulator,
  listed,
  numbered,
  page,
  request,
  scripted,
  watching
} from "../support/scheduledJobs.ts"

const { Fault } = StacksEmulator

describe("ScheduledJobs.watch", () => {
  it.effect("emits each job once while it stays listed", () =>
    Effect.gen(function* () {
      yield* addJobs("a", "b")
      const { next } = yield* watching()
      assert.deepStrictEqual(yield* next(0), ["a", "b"])
      yield* addJobs("c")
      assert.deepStrictEqual(yield* next("1 second"), ["c"])
      assert.deepStrictEqual(yield* next("1 minute"), [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("emits a job again that left the list and returned", () =>
    Effect.gen(function* () {
      yield* addJobs("a", "b")
      const { next } = yield* watching()
      yield* next(0)
      const client = yield* StacksClient.StacksClient
      yield* client.batchReserveJobs({ stackKey: "s", jobUuids: ["a"], reservationExpiry: "10 seconds" })
      assert.deepStrictEqual(yield* next("9 seconds"), [])
      assert.deepStrictEqual(yield* next("3 seconds"), ["a"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("does not emit a job again that older ones moved to a later page", () =>
    Effect.gen(function* () {
      yield* addJobs({ id: "a", scheduledAt: at(10_000) }, { id: "b", scheduledAt: at(11_000) })
      const { next } = yield* watching({ pageSize: 1, maxPages: 2 })
      assert.deepStrictEqual(yield* next(0), ["a", "b"])
      yield* addJobs({ id: "older", scheduledAt: at(5000) })
      assert.deepStrictEqual(yield* next("1 second"), ["older"])
      yield* emulator(({ cancelJob }) => cancelJob("older"))
      assert.deepStrictEqual(yield* next("10 seconds"), [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("emits a job again that was missing before the last listed job", () =>
    Effect.gen(function* () {
      yield* addJobs(
        { id: "a", scheduledAt: at(1000) },
        { id: "b", scheduledAt: at(2000) },
        { id: "c", scheduledAt: at(3000) },
        { id: "d", scheduledAt: at(4000) }
      )
      const { next } = yield* watching({ pageSize: 2, maxPages: 1 })
      assert.deepStrictEqual(yield* next(0), ["a", "b"])
      const client = yield* StacksClient.StacksClient
      yield* client.batchReserveJobs({ stackKey: "s", jobUuids: ["a"], reservationExpiry: "5 seconds" })
      assert.deepStrictEqual(yield* next("2 seconds"), ["c"])
      assert.deepStrictEqual(yield* next("5 seconds"), ["a"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("remembers ten times as many jobs as a poll can list", () =>
    Effect.gen(function* () {
      const { next } = yield* watching({ pageSize: 1, maxPages: 1 })
      // Each job pushes the ones before it behind the page.
      for (let index = 0; index < 12; index++) {
        yield* addJobs({ id: `j${index}`, scheduledAt: at(100_000 - index * 1000) })
        assert.deepStrictEqual(yield* next(index === 0 ? 0 : "1 second"), [`j${index}`])
      }
      for (let index = 11; index > 1; index--) {
        yield* emulator(({ cancelJob }) => cancelJob(`j${index}`))
        assert.deepStrictEqual(yield* next("1 second"), index === 2 ? ["j1"] : [])
      }
    }).pipe(Effect.provide(emulated))
  )

  it.effect("reads two pages by default", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(10))
      const { next } = yield* watching({ pageSize: 3 })
      assert.deepStrictEqual(yield* next(0), numbered(6))
      assert.lengthOf(yield* listed, 2)
      const all = yield* watching({ pageSize: 3, maxPages: 10 })
      assert.deepStrictEqual(yield* all.next(0), numbered(10))
    }).pipe(Effect.provide(emulated))
  )

  it.effect("emits no jobs while the queue is paused, and all of them when it resumes", () =>
    Effect.gen(function* () {
      yield* addJobs("before")
      const { next } = yield* watching()
      assert.deepStrictEqual(yield* next(0), ["before"])
      yield* emulator(({ pauseQueue }) => pauseQueue("q", true))
      yield* addJobs("during")
      assert.deepStrictEqual(yield* next("1 minute"), [])
      yield* emulator(({ pauseQueue }) => pauseQueue("q", false))
      assert.deepStrictEqual(yield* next("1 second"), ["during"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("emits a job with the first poll after its runnableAt", () =>
    Effect.gen(function* () {
      yield* addJobs({ id: "later", runnableAt: at(4500) }, { id: "past", runnableAt: at(0) })
      const { next } = yield* watching()
      assert.deepStrictEqual(yield* next(0), ["past"])
      assert.deepStrictEqual(yield* next("4 seconds"), [])
      assert.deepStrictEqual(yield* next("1 second"), ["later"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("omits jobs whose rules do not match the tags", () =>
    Effect.gen(function* () {
      yield* addJobs(
        { id: "linux", agentQueryRules: ["queue=q", "os=linux"] },
        { id: "mac", agentQueryRules: ["queue=q", "os=mac"] },
        { id: "any", agentQueryRules: ["queue=q"] }
      )
      const { next } = yield* watching({ tags: ["os=linux"] })
      assert.deepStrictEqual(yield* next("5 seconds"), ["linux", "any"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("emits the jobs of the pages before one that fails", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(4))
      yield* emulator(({ setFaults }) => setFaults([Fault.Reset({ skip: 1, times: 1 })]))
      const { next } = yield* watching({ pageSize: 2 })
      assert.deepStrictEqual(yield* next(0), ["j0", "j1"])
      assert.deepStrictEqual(yield* next("1 second"), ["j2", "j3"])
    }).pipe(Effect.provide([emulated, Logger.layer([])]))
  )
})

describe("ScheduledJobs.watch, on failures", () => {
  it.effect("continues after retryable failures, with one request and one warning each, whatever the policy", () =>
    Effect.gen(function* () {
      const warnings: Array<unknown> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel === "Warn") warnings.push(message)
      })
      yield* addJobs("a")
      yield* emulator(({ setFaults }) =>
        setFaults([
          Fault.Status({ status: 503, times: 1 }),
          Fault.Html({ times: 1 }),
          Fault.Reset({ times: 1 }),
          Fault.Truncate({ times: 1 })
        ])
      )
      const { next } = yield* watching().pipe(
        RetryPolicy.withPolicy(RetryPolicy.standard),
        Effect.provide(Logger.layer([logger]))
      )
      assert.deepStrictEqual(yield* next("14 seconds"), [])
      assert.lengthOf(yield* listed, 4)
      assert.lengthOf(warnings, 4)
      assert.deepStrictEqual(yield* next("1 second"), ["a"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("fails with a fatal failure", () =>
    Effect.gen(function* () {
      const { fiber, next } = yield* watching()
      yield* next("3 seconds")
      yield* emulator(({ forgetStack }) => forgetStack("s"))
      yield* next("1 second")
      const error = yield* Effect.flip(Fiber.join(fiber))
      assert.strictEqual(error._tag === "ErrorResponse" && error.reason._tag, "NotFound")
    }).pipe(Effect.provide(emulated))
  )

  it.effect("fails with an invalid request", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Stream.runDrain(ScheduledJobs.watch({ ...request, pageSize: 1001 })))
      assert.strictEqual(error._tag, "InvalidRequest")
    }).pipe(Effect.provide(emulated))
  )

  it.effect("fails with a cursor that does not advance, and ignores one that it need not follow", () =>
    Effect.gen(function* () {
      const { layer } = scripted(() => page(["a"], null, true))
      const error = yield* Effect.flip(Stream.runDrain(ScheduledJobs.watch(request))).pipe(Effect.provide(layer))
      assert.instanceOf(error, StacksError.CursorStalled)
      const [job] = yield* ScheduledJobs.watch({ ...request, maxPages: 1 }).pipe(
        Stream.take(1),
        Stream.runCollect,
        Effect.provide(layer)
      )
      assert.strictEqual(job?.id, "a")
    })
  )

  it.effect("aborts the poll in flight if it is interrupted", () =>
    Effect.gen(function* () {
      let aborted = 0
      const { layer } = scripted(() => Effect.never, { onAbort: () => aborted++ })
      const { fiber } = yield* watching().pipe(Effect.provide(layer))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(aborted, 1)
    })
  )
})
