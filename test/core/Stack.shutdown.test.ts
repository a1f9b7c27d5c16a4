/** How a stack ends: in order, and in bounded time whatever the service and the runners do. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, census, done, emulated, type Run, slowly, start, takes, within } from "../support/stacks.ts"

const { Fault } = StacksEmulator

/** A stack in a scope of its own, that has run for five seconds. */
const started = Effect.fnUntraced(function* (run: Run, options: Partial<Stack.Options> = {}) {
  const scope = yield* Scope.make()
  const stack = yield* start(run, { shutdownGrace: "20 seconds", maxInFlight: 5, ...options }).pipe(
    Scope.provide(scope)
  )
  yield* slowly("5 seconds")
  return { stack, close: within("5 minutes", Scope.close(scope, Exit.void)) }
})

describe("A stack that ends", () => {
  it.effect("takes no more jobs, waits for running jobs, and deregisters", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(50)
      const { close, stack } = yield* started(takes("8 seconds"))
      const { passed } = yield* close
      assert.isAtMost(Duration.toSeconds(passed), 5)
      assert.deepStrictEqual(yield* census, { "finished 0": 5, scheduled: 45 })
      assert.isEmpty(yield* emulator.stacks)
      assert.deepStrictEqual(stack.names().slice(-7), ["Draining", ...Array(5).fill("Finished"), "Stopped"])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("interrupts jobs after shutdownGrace, and finishes them with stack_error", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(50)
      let interrupted = 0
      const { close } = yield* started(() =>
        Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted++))
      )
      const { passed } = yield* close
      assert.isAtLeast(Duration.toSeconds(passed), 20)
      assert.isAtMost(Duration.toSeconds(passed), 22)
      assert.strictEqual(interrupted, 5)
      assert.deepStrictEqual(yield* census, { "finished -1": 5, scheduled: 45 })
      assert.deepStrictEqual(
        new Set((yield* emulator.jobs).map(({ signalReason }) => signalReason)),
        new Set(["stack_error", undefined])
      )
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("tells which jobs it stops at the end of shutdownGrace, before their outcomes", () =>
    Effect.gen(function* () {
      const [quick = "", ...slow] = yield* addJobs(3)
      const { close, stack } = yield* started(({ job }) =>
        Effect.as(Effect.sleep(job.id === quick ? "10 seconds" : "1 hour"), done)
      )
      yield* close
      const stopped = stack.seen.flatMap((event) => (event._tag === "Interrupted" ? [event] : []))
      assert.sameMembers(
        stopped.map(({ job }) => job.id),
        slow
      )
      for (const { after } of stopped) assert.strictEqual(Duration.format(after), "20s")
      assert.deepStrictEqual(stack.names().slice(-7), [
        "Draining",
        "Finished",
        "Interrupted",
        "Interrupted",
        "Failed",
        "Failed",
        "Stopped"
      ])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("drains once under load, however often drain is called", () =>
    Effect.gen(function* () {
      yield* addJobs(500)
      const { close, stack } = yield* started(takes("3 seconds"), { maxInFlight: 50 })
      const hasty = yield* Effect.forkChild(stack.drain)
      yield* TestClock.adjust(1)
      yield* Fiber.interrupt(hasty)
      const { exit } = yield* within("1 minute", Effect.all([stack.drain, stack.drain], { concurrency: 2 }))
      assert.isTrue(Exit.isSuccess(exit))
      const after = yield* census
      assert.deepInclude(yield* stack.status, { phase: "stopped", inFlight: [], backingOff: 0 })
      assert.strictEqual((after["finished 0"] ?? 0) + (after["scheduled"] ?? 0), 500)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* census, after)
      yield* close
      assert.strictEqual(stack.names().filter((name) => name === "Draining").length, 1)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("leaves no registration behind if it ends while it registers", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.setFaults([Fault.LostResponse({ operations: ["registerStack"] })])
      const starting = yield* Effect.forkChild(Effect.scoped(start(takes("1 second"))))
      yield* slowly("500 millis")
      assert.lengthOf(yield* emulator.stacks, 1)
      yield* within("1 minute", Fiber.interrupt(starting))
      assert.isEmpty(yield* emulator.stacks)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("releases at once jobs that it has reserved and not started", () =>
    Effect.gen(function* () {
      yield* addJobs(5)
      const { close, stack } = yield* started(() =>
        Effect.fail(new JobRunner.JobRunnerError({ message: "later", isRetryable: true }))
      )
      assert.strictEqual((yield* stack.status).backingOff, 5)
      assert.deepStrictEqual(yield* census, { reserved: 5 })
      yield* close
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* census, { scheduled: 5 })
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("releases jobs while running jobs have their grace", () =>
    Effect.gen(function* () {
      const [held = ""] = yield* addJobs(2)
      const { close, stack } = yield* started(
        ({ job }) =>
          job.id === held
            ? Effect.fail(new JobRunner.JobRunnerError({ message: "later", isRetryable: true }))
            : Effect.as(Effect.sleep("10 minutes"), done),
        { shutdownGrace: "10 minutes", reservationExpiry: "1 minute" }
      )
      const draining = yield* Effect.forkChild(stack.drain)
      yield* slowly("2 seconds")
      assert.deepStrictEqual(yield* census, { scheduled: 1, reserved: 1 })
      for (let minute = 0; minute < 8; minute++) yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* census, { scheduled: 1, reserved: 1 })
      yield* within("3 minutes", Fiber.join(draining))
      assert.deepStrictEqual(yield* census, { scheduled: 1, "finished 0": 1 })
      yield* close
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("sends its last notifications", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(5)
      const { close } = yield* started(({ notify }) =>
        Effect.onInterrupt(Effect.never, () => Effect.forEach(Array(100).keys(), (n) => notify(`word ${n}`)))
      )
      yield* close
      assert.lengthOf(yield* emulator.notifications, 500)
    }).pipe(Effect.provide(emulated()))
  )

  const trouble: Readonly<Record<string, ReadonlyArray<StacksEmulator.Fault>>> = {
    "the service answers nothing, for ever": [Fault.Stall({})],
    "the service breaks every connection": [Fault.Reset({})],
    "the service answers 503 and asks for an hour": [Fault.Status({ status: 503, retryAfter: "1 hour" })]
  }
  for (const [what, faults] of Object.entries(trouble)) {
    it.effect(`does so within its grace and 25 seconds though ${what}`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* addJobs(50)
        let count = 0
        // Some run on, some want to be finished, some wait for another try; and there is something to tell.
        const { close, stack } = yield* started(({ notify }) =>
          Effect.gen(function* () {
            const mine = count++ % 3
            yield* notify("running")
            if (mine === 0) return yield* Effect.never
            yield* Effect.sleep("8 seconds")
            yield* notify("ends")
            return yield* mine === 1
              ? Effect.fail("broken")
              : Effect.fail(new JobRunner.JobRunnerError({ message: "later", isRetryable: true }))
          })
        )
        yield* emulator.setFaults(faults)
        yield* TestClock.adjust("4 seconds")
        const { passed } = yield* close
        assert.isAtMost(Duration.toSeconds(passed), 45)
        assert.strictEqual(stack.names().at(-1), "Stopped")
        const asked = (yield* emulator.requests).length
        yield* TestClock.adjust("2 hours")
        assert.strictEqual((yield* emulator.requests).length, asked, "nothing goes on behind its back")
      }).pipe(Effect.provide(emulated()))
    )
  }

  it.effect("ends in time if a reserve request has no response, and releases the jobs in doubt", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.setFaults([Fault.Stall({ operations: ["batchReserveJobs"], times: 1 })])
      yield* addJobs(5)
      const { close } = yield* started(takes("1 second"), { shutdownGrace: 0 })
      const { passed } = yield* close
      assert.isAtMost(Duration.toSeconds(passed), 7)
      yield* TestClock.adjust("30 seconds")
      const counts = yield* census
      assert.strictEqual((counts["finished 0"] ?? 0) + (counts["scheduled"] ?? 0), 5)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("interrupts jobs after a short grace, and ends 25 seconds later, though nothing responds any more", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const interruptedAt = yield* Deferred.make<number>()
      yield* addJobs(1)
      const { close } = yield* started(
        ({ notify }) =>
          Effect.onInterrupt(Effect.never, () =>
            Effect.flatMap(Clock.currentTimeMillis, (now) => Deferred.succeed(interruptedAt, now)).pipe(
              Effect.andThen(notify("interrupted")),
              Effect.andThen(Effect.never)
            )
          ),
        {
          shutdownGrace: "3 seconds",
          onEvent: ({ _tag }) => (_tag === "Draining" ? Effect.never : Effect.void)
        }
      )
      // A second job is being reserved when the stack closes.
      yield* emulator.setFaults([Fault.Stall({ operations: ["batchReserveJobs"] })])
      yield* addJobs(1)
      yield* slowly("2 seconds")
      yield* emulator.setFaults([Fault.Stall({})])
      const closedAt = yield* Clock.currentTimeMillis
      const { passed } = yield* close
      assert.isAtMost((yield* Deferred.await(interruptedAt)) - closedAt, 3500)
      assert.isAtMost(Duration.toSeconds(passed), 3 + 25)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("ends in time if a runner ignores its interruption", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      const { close } = yield* started(() => Effect.uninterruptible(Effect.never))
      const { passed } = yield* close
      assert.isAtMost(Duration.toSeconds(passed), 45)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("ends by itself when the queue is empty and all is done", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(3)
      const { exit, passed } = yield* within(
        "1 minute",
        Stack.runUntilIdle({ key: "s", queueKey: "q" }).pipe(Effect.provide(JobRunner.layer(takes("10 seconds"))))
      )
      assert.deepStrictEqual(exit, Exit.void)
      assert.isAtMost(Duration.toSeconds(passed), 13)
      assert.deepStrictEqual(yield* census, { "finished 0": 3 })
      assert.isEmpty(yield* emulator.stacks)
    }).pipe(Effect.provide(emulated()))
  )
})
