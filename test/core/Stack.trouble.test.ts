/** Trouble of the service, the network or the host, which is never the job's fault. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Duration, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { rewriting } from "../support/oddResponses.ts"
import { addJobs, census, countOf, done, emulated, jobOf, type Run, slowly, start, takes } from "../support/stacks.ts"

const { Fault } = StacksEmulator
const noRoom = new JobRunner.JobRunnerError({ message: "no file descriptor left", isRetryable: true })

const agent: Run = ({ acquisitionToken }) =>
  Effect.andThen(acquisitionToken, Effect.as(Effect.sleep("5 seconds"), done))
const reader: Run = ({ details }) => Effect.as(details, done)

const troubles: Readonly<Record<string, StacksEmulator.Fault>> = {
  "503": Fault.Status({ status: 503 }),
  "500": Fault.Status({ status: 500 }),
  "429": Fault.Status({ status: 429 }),
  "403": Fault.Status({ status: 403 }),
  "401": Fault.Status({ status: 401 }),
  "broken connections": Fault.Reset({}),
  "bodies that do not decode": Fault.Malformed({}),
  "a proxy's page": Fault.Html({})
}

describe("While the service is down", () => {
  for (const [operation, run] of [
    ["issueJobAcquisitionTokens", agent],
    ["getJob", reader]
  ] as const) {
    for (const [name, fault] of Object.entries(troubles)) {
      it.effect(
        `a job whose ${operation === "getJob" ? "details" : "token"} meets ${name} stays reserved, and runs afterwards`,
        () =>
          Effect.gen(function* () {
            const emulator = yield* StacksEmulator.StacksEmulator
            yield* emulator.setFaults([{ ...fault, operations: [operation] }])
            const [id = ""] = yield* addJobs(1)
            const stack = yield* start(run, { reservationExpiry: "1 minute", startTimeout: "1 minute" })
            for (let minute = 0; minute < 4; minute++) {
              yield* slowly("1 minute", "1 second")
              assert.strictEqual((yield* jobOf(id)).state, "reserved")
            }
            assert.strictEqual(yield* countOf("finishJob"), 0)
            assert.include(stack.names(), "BackedOff")
            yield* emulator.setFaults([])
            yield* slowly("6 minutes", "5 seconds")
            assert.deepStrictEqual(yield* census, { "finished 0": 1 })
            assert.notInclude(stack.names(), "ReservationLost")
          }).pipe(Effect.scoped, Effect.provide(emulated()))
      )
    }
  }

  it.effect("a job that had host trouble before has no time limit", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      let starts = 0
      const [id = ""] = yield* addJobs(1)
      const stack = yield* start((context) => (starts++ === 0 ? Effect.fail(noRoom) : reader(context)), {
        startTimeout: "1 minute"
      })
      yield* TestClock.adjust("2 seconds")
      yield* emulator.setFaults([Fault.Status({ status: 500, operations: ["getJob"] })])
      yield* slowly("10 minutes", "5 seconds")
      assert.strictEqual((yield* jobOf(id)).state, "reserved")
      assert.notInclude(stack.names(), "Released")
      yield* emulator.setFaults([])
      yield* slowly("6 minutes", "5 seconds")
      assert.deepStrictEqual(yield* census, { "finished 0": 1 })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("notifications are kept, and delivered afterwards with their original times", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(1)
      yield* start(({ notify }) => Effect.andThen(notify("hello"), Effect.as(Effect.sleep("10 minutes"), done)))
      yield* emulator.setFaults([Fault.Status({ status: 503, operations: ["createStackNotifications"] })])
      yield* slowly("3 minutes", "1 second")
      assert.isEmpty(yield* emulator.notifications)
      yield* emulator.setFaults([])
      yield* slowly("1 minute", "1 second")
      const [notification] = yield* emulator.notifications
      assert.strictEqual(notification?.detail, "hello")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  for (const expired of [true, false]) {
    it.effect(`a job whose token ${expired ? "has expired already" : "is empty"} is not started with it`, () => {
      let isOn = true
      let starts = 0
      return Effect.gen(function* () {
        yield* addJobs(1)
        yield* start(({ acquisitionToken }) =>
          Effect.as(
            Effect.tap(acquisitionToken, () => Effect.sync(() => starts++)),
            done
          )
        )
        yield* slowly("1 minute", "1 second")
        assert.strictEqual(starts, 0)
        isOn = false
        yield* slowly("2 minutes", "1 second")
        assert.deepStrictEqual(yield* census, { "finished 0": 1 })
      }).pipe(
        Effect.scoped,
        Effect.provide(
          rewriting("/job-acquisition-tokens", (body) => {
            if (!isOn) return body
            const { job_acquisition_tokens: tokens } = body as {
              readonly job_acquisition_tokens: ReadonlyArray<Record<string, string>>
            }
            const change = expired ? { expires_at: "1969-12-31T23:59:00Z" } : { job_acquisition_token: "" }
            return { job_acquisition_tokens: tokens.map((token) => ({ ...token, ...change })), not_issued: [] }
          }).pipe(Layer.provideMerge(emulated()))
        )
      )
    })
  }

  it.effect("a job waits without a time limit, and then runs", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.setFaults([Fault.Status({ status: 503, operations: ["getJob"] })])
      const [id = ""] = yield* addJobs(1)
      yield* start(reader)
      yield* slowly("1 hour", "20 seconds")
      assert.strictEqual((yield* jobOf(id)).state, "reserved")
      yield* emulator.setFaults([])
      yield* slowly("6 minutes", "5 seconds")
      assert.deepStrictEqual(yield* census, { "finished 0": 1 })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect(
    "a runner that wraps the failure of details has its job restarted; one that fails otherwise has it failed",
    () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* emulator.setFaults([Fault.Status({ status: 404, operations: ["getJob"] })])
        yield* emulator.addJobs([
          { queueKey: "q", id: "wraps" },
          { queueKey: "q", id: "dies" },
          { queueKey: "q", id: "other" }
        ])
        yield* start(({ details, job }) => {
          if (job.id === "wraps") {
            return Effect.mapError(
              details,
              (cause) => new JobRunner.JobRunnerError({ message: "no details", cause })
            ).pipe(Effect.as(done))
          }
          return job.id === "dies"
            ? Effect.as(Effect.orDie(details), done)
            : Effect.andThen(Effect.ignore(details), Effect.die("a mistake of the runner"))
        })
        yield* slowly("10 seconds", "100 millis")
        assert.strictEqual((yield* jobOf("wraps")).state, "reserved")
        assert.strictEqual((yield* jobOf("dies")).state, "reserved")
        assert.deepInclude(yield* jobOf("other"), { state: "finished", exitStatus: -1, signalReason: "stack_error" })
      }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("a job without an issued token is dropped and not finished, because another stack has it", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(2)
      let runs = 0
      const stack = yield* start(
        (context) =>
          Effect.andThen(
            Effect.sync(() => runs++),
            agent(context)
          ),
        {
          maxInFlight: 1
        }
      ).pipe(
        Effect.provide(
          rewriting("/job-acquisition-tokens", (_, request) => ({
            job_acquisition_tokens: [],
            not_issued: JSON.parse(
              new TextDecoder().decode(request.body._tag === "Uint8Array" ? request.body.body : undefined)
            ).job_uuids
          }))
        )
      )
      yield* slowly("5 seconds", "100 millis")
      assert.strictEqual(yield* countOf("finishJob"), 0)
      assert.strictEqual(runs, 2)
      assert.strictEqual(stack.names().filter((name) => name === "ReservationLost").length, 2)
      assert.strictEqual((yield* stack.status).inFlight.length, 0)
      assert.isEmpty((yield* emulator.jobs).filter(({ state }) => state === "finished"))
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})

describe("While a host can't start jobs", () => {
  it.effect("jobs are released after startTimeout, and none fails", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* addJobs(1)
      const stack = yield* start(() => Effect.fail(noRoom), { startTimeout: "30 seconds" })
      yield* slowly("29 seconds", "100 millis")
      assert.strictEqual((yield* jobOf(id)).state, "reserved")
      yield* slowly("3 seconds", "100 millis")
      assert.strictEqual((yield* jobOf(id)).state, "scheduled")
      assert.strictEqual(stack.names().at(-1), "Released")
      assert.strictEqual(yield* countOf("finishJob"), 0)
      // The stack leaves it to others for 30 seconds.
      yield* slowly("25 seconds", "100 millis")
      assert.strictEqual((yield* jobOf(id)).state, "scheduled")
      yield* slowly("10 seconds", "100 millis")
      assert.strictEqual((yield* jobOf(id)).state, "reserved")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("no job fails if the trouble lasts two seconds", () =>
    Effect.gen(function* () {
      yield* addJobs(40)
      let isBroken = true
      yield* start(() => Effect.suspend(() => (isBroken ? Effect.fail(noRoom) : Effect.succeed(done))), {
        maxInFlight: 40
      })
      yield* slowly("2 seconds", "100 millis")
      isBroken = false
      yield* slowly("3 minutes", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 40 })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("the stack suspends starts when different jobs fail, and releases the waiting jobs", () =>
    Effect.gen(function* () {
      yield* addJobs(60)
      const stack = yield* start(() => Effect.fail(noRoom), { maxInFlight: 20 })
      yield* slowly("5 seconds", "100 millis")
      assert.deepStrictEqual(yield* census, { scheduled: 60 })
      assert.strictEqual((yield* stack.status).startsSuspended, true)
      const suspended = stack.seen.filter(({ _tag }) => _tag === "StartsSuspended")
      assert.lengthOf(suspended, 1)
      assert.deepInclude(suspended[0], { message: "no file descriptor left" })
      const reserves = yield* countOf("batchReserveJobs")
      yield* slowly("20 seconds", "100 millis")
      assert.strictEqual(yield* countOf("batchReserveJobs"), reserves)
      assert.strictEqual(yield* countOf("finishJob"), 0)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("the stack tries one job after a growing delay, and resumes when one starts", () =>
    Effect.gen(function* () {
      yield* addJobs(60)
      let isBroken = true
      let starts = 0
      const stack = yield* start(
        (context) =>
          Effect.suspend(() => {
            starts++
            return isBroken ? Effect.fail(noRoom) : takes("1 second")(context)
          }),
        { maxInFlight: 20 }
      )
      yield* slowly("5 seconds", "100 millis")
      const before = starts
      yield* slowly("30 seconds", "100 millis")
      assert.strictEqual(starts, before + 1)
      yield* slowly("45 seconds", "100 millis")
      assert.strictEqual(starts, before + 1)
      const delays = stack.seen.flatMap((event) =>
        event._tag === "StartsSuspended" ? [Duration.toSeconds(event.delay)] : []
      )
      assert.deepStrictEqual(delays, [30, 60])
      isBroken = false
      yield* slowly("2 minutes", "100 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 60 })
      assert.include(stack.names(), "StartsResumed")
      assert.strictEqual((yield* stack.status).startsSuspended, false)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("the stack does not suspend starts while other jobs start", () =>
    Effect.gen(function* () {
      yield* addJobs(60)
      let starts = 0
      const stack = yield* start(
        (context) => Effect.suspend(() => (starts++ % 3 === 0 ? Effect.fail(noRoom) : takes("1 second")(context))),
        { maxInFlight: 5 }
      )
      for (let minute = 0; minute < 10; minute++) yield* slowly("1 minute", "1 second")
      assert.notInclude(stack.names(), "StartsSuspended")
      assert.deepStrictEqual(yield* census, { "finished 0": 60 })
      yield* TestClock.adjust("1 second")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("a stack with one slot does not stop for long either", () =>
    Effect.gen(function* () {
      yield* addJobs(20)
      const stack = yield* start(() => Effect.fail(noRoom), { maxInFlight: 1, startTimeout: "10 seconds" })
      yield* slowly("3 minutes", "500 millis")
      assert.include(stack.names(), "StartsSuspended")
      assert.strictEqual(yield* countOf("finishJob"), 0)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
