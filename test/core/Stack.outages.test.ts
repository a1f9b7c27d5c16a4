/** A stack whose service is away, refuses it, or has forgotten it. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, Stack, type StacksError } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { DateTime, Duration, Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, census, countOf, done, emulated, type Run, slowly, start, takes, within } from "../support/stacks.ts"

const { Fault } = StacksEmulator

/** Ways of being away. */
const outages: Readonly<Record<string, ReadonlyArray<StacksEmulator.Fault>>> = {
  "answers 503": [Fault.Status({ status: 503 })],
  "breaks every connection": [Fault.Reset({})],
  "answers nothing": [Fault.Stall({})]
}

/** What the stack is doing when the service goes away, seconds after its start. */
const phases: ReadonlyArray<{ readonly phase: string; readonly after: number; readonly run: Run }> = [
  { phase: "registers", after: 0, run: takes("5 seconds") },
  { phase: "waits for jobs", after: 30, run: takes("5 seconds") },
  { phase: "runs jobs", after: 2, run: takes("1 minute") },
  { phase: "is about to finish jobs", after: 4, run: takes("5 seconds") }
]

const run = (runner: Run, options: Partial<Stack.Options> = {}) =>
  Stack.run({ key: "s", queueKey: "q", ...options }).pipe(Effect.provide(JobRunner.layer(runner)))

describe("The status of a stack", () => {
  it.effect("has the time of the last poll", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const stack = yield* start(takes("5 seconds"))
      const lookedAt = Effect.map(
        stack.status,
        ({ lastPolledAt }) => lastPolledAt && DateTime.toEpochMillis(lastPolledAt)
      )
      assert.isUndefined(yield* lookedAt)
      yield* slowly("5 seconds")
      const before = yield* lookedAt
      assert.isAtLeast(before ?? 0, 4000)
      yield* emulator.setFaults([Fault.Status({ status: 503 })])
      yield* slowly("2 seconds")
      const during = yield* lookedAt
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* lookedAt, during)
      yield* emulator.setFaults([])
      yield* TestClock.adjust("1 minute")
      assert.isAbove((yield* lookedAt) ?? 0, Duration.toMillis("5 minutes"))
      assert.deepInclude(yield* stack.status, { key: "s", queueKey: "q", phase: "running" })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})

describe("A stack whose service is down for ten minutes", () => {
  for (const { after, phase, run: runner } of phases) {
    for (const [outage, faults] of Object.entries(outages)) {
      it.effect(`while it ${phase}, and ${outage}, goes on as if nothing had happened`, () =>
        Effect.gen(function* () {
          const emulator = yield* StacksEmulator.StacksEmulator
          const runs = new Map<string, number>()
          const counted: Run = (context) => {
            runs.set(context.job.id, (runs.get(context.job.id) ?? 0) + 1)
            return runner(context)
          }
          if (phase !== "waits for jobs") yield* addJobs(20)
          if (after === 0) yield* emulator.setFaults(faults)
          const stack = yield* Effect.forkChild(run(counted, { maxInFlight: 5 }))
          yield* slowly(Duration.seconds(after))
          yield* emulator.setFaults(faults)
          if (phase === "waits for jobs") yield* addJobs(20)
          for (let minute = 0; minute < 10; minute++) yield* TestClock.adjust("1 minute")
          assert.isUndefined(stack.pollUnsafe(), "it goes on")
          yield* emulator.setFaults([])
          for (let minute = 0; minute < 10; minute++) yield* TestClock.adjust("1 minute")
          assert.deepStrictEqual(yield* census, { "finished 0": 20 })
          assert.strictEqual(runs.size, 20)
          assert.deepStrictEqual(new Set(runs.values()), new Set([1]))
          const { exit } = yield* within("1 minute", Fiber.interrupt(stack))
          assert.isTrue(Exit.isSuccess(exit))
          assert.isEmpty(yield* emulator.stacks)
        }).pipe(Effect.provide(emulated()))
      )
    }
  }

  it.effect("during reservations knows afterwards which jobs it has", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(20)
      // The first request to reserve is acted upon, and then nothing is heard of the service.
      yield* emulator.setFaults([
        Fault.LostResponse({ operations: ["batchReserveJobs"], times: 1 }),
        Fault.Reset({ operations: ["batchReserveJobs"] })
      ])
      const stack = yield* start(takes("5 seconds"), { maxInFlight: 5 })
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* census, { reserved: 5, scheduled: 15 })
      assert.isEmpty((yield* stack.status).inFlight)
      yield* emulator.setFaults([])
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* census, { "finished 0": 20 })
      for (const { body, operation } of yield* emulator.requests) {
        if (operation !== "batchReserveJobs") continue
        const { job_uuids } = Schema.decodeUnknownSync(Schema.Struct({ job_uuids: Schema.Array(Schema.String) }))(body)
        assert.isAtMost(job_uuids.length, 5, "those that may be reserved keep their slots")
      }
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("reports it in events, and polls with growing delays", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const stack = yield* start(takes("5 seconds"))
      yield* TestClock.adjust("1 second")
      yield* emulator.setFaults([Fault.Status({ status: 503 })])
      const before = yield* countOf("listScheduledJobs")
      for (let minute = 0; minute < 10; minute++) yield* TestClock.adjust("1 minute")
      const polls = (yield* countOf("listScheduledJobs")) - before
      assert.isAtMost(polls, 30)
      assert.strictEqual(stack.names().filter((name) => name === "RequestFailed").length, polls)
      yield* emulator.setFaults([])
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})

describe("A stack that is refused", () => {
  const refusals = [
    { status: 401, todo: /401 .*cluster token/ },
    { status: 403, todo: /403 .*limit of active stacks/ }
  ]
  for (const { status, todo } of refusals) {
    const isSaid = (exit: Exit.Exit<unknown, Stack.StartError | StacksError.CursorStalled>) => {
      const error = Exit.isFailure(exit)
        ? exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
        : undefined
      assert.match(error?.message ?? "", todo)
      assert.strictEqual(error?._tag === "ErrorResponse" ? error.status : 0, status)
    }

    it.effect(`with ${status} at its start fails at once, and says what to do`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* emulator.setFaults([Fault.Status({ status })])
        const { exit, passed } = yield* within("1 minute", run(takes(1)))
        isSaid(exit)
        assert.isAtMost(Duration.toSeconds(passed), 5)
      }).pipe(Effect.provide(emulated()))
    )

    it.effect(`with ${status} in mid-run ends after authGrace, and says what to do`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* addJobs(20)
        let interrupted = 0
        const runner = () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted++))
        const stack = yield* Effect.forkChild(
          run(runner, { maxInFlight: 5, authGrace: "1 minute", shutdownGrace: "10 seconds" })
        )
        yield* slowly("5 seconds")
        yield* emulator.setFaults([Fault.Status({ status })])
        const { exit, passed } = yield* within("4 minutes", Fiber.join(stack))
        isSaid(exit)
        assert.isAtLeast(Duration.toSeconds(passed), 60)
        assert.isAtMost(Duration.toSeconds(passed), 130)
        assert.strictEqual(interrupted, 5)
      }).pipe(Effect.provide(emulated()))
    )
  }

  it.effect("because the queue does not exist fails after authGrace, and says what to do", () =>
    Effect.gen(function* () {
      const { exit } = yield* within("1 minute", run(takes(1)))
      assert.match(String(exit), /check its key/)
    }).pipe(Effect.provide(emulated({ queues: ["other"] })))
  )
})

describe("A stack that the service has forgotten", () => {
  it.effect("registers again and continues, whichever request it was sending", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(200)
      const runs = new Map<string, number>()
      const stack = yield* start(
        ({ acquisitionToken, details, job, notify }) =>
          Effect.gen(function* () {
            runs.set(job.id, (runs.get(job.id) ?? 0) + 1)
            yield* notify("running")
            yield* Effect.sleep("1500 millis")
            yield* details
            yield* acquisitionToken
            return done
          }),
        { maxInFlight: 10 }
      )
      for (let i = 0; i < 30; i++) {
        yield* TestClock.adjust(1000 + i * 37)
        yield* emulator.forgetStack("s")
      }
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* census, { "finished 0": 200 })
      assert.deepStrictEqual(new Set(runs.values()), new Set([1]))
      const again = stack.names().filter((name) => name === "ReRegistered").length
      assert.isAtLeast(again, 29)
      assert.isAtMost(again, 31)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("registers again once, and finishes the jobs that end in the meantime", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(10)
      const stack = yield* start(takes("5 seconds"), { maxInFlight: 10, pollInterval: "30 seconds" })
      yield* slowly("2 seconds")
      yield* emulator.forgetStack("s")
      yield* slowly("4 seconds")
      assert.deepStrictEqual(yield* census, { "finished 0": 10 })
      assert.strictEqual(stack.names().filter((name) => name === "ReRegistered").length, 1)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
