/** The finish of a job: it is sent until the service accepts it, and never costs another run. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, JobStore } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Exit, Scope } from "effect"
import { rewriting } from "../support/oddResponses.ts"
import { addJobs, census, countOf, done, emulated, jobOf, type Run, slowly, start, within } from "../support/stacks.ts"

const { Fault } = StacksEmulator

/** A runner that counts its runs. */
const counting = (outcome: JobRunner.JobOutcome) => {
  const counter = { runs: 0 }
  const run: Run = () =>
    Effect.suspend(() => {
      counter.runs++
      return Effect.as(Effect.sleep("1 second"), outcome)
    })
  return { counter, run }
}

const trouble: Readonly<Record<string, StacksEmulator.Fault>> = {
  ...Object.fromEntries(
    [302, 401, 403, 404, 408, 409, 425, 429, 500, 503].map((status) => [String(status), Fault.Status({ status })])
  ),
  "a broken connection": Fault.Reset({}),
  "no response though the service has acted": Fault.LostResponse({}),
  "a body that does not decode": Fault.Malformed({}),
  "a proxy's page": Fault.Html({})
}

describe("A finish", () => {
  for (const [name, fault] of Object.entries(trouble)) {
    it.effect(`that meets ${name} for two minutes is sent again until it is accepted, and the job runs once`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const [id = ""] = yield* addJobs(1)
        const { counter, run } = counting(done)
        yield* emulator.setFaults([{ ...fault, operations: ["finishJob"] }])
        const stack = yield* start(run, { reservationExpiry: "30 seconds" })
        yield* slowly("2 minutes", "1 second")
        assert.include(["reserved", "finished"], (yield* jobOf(id)).state)
        yield* emulator.setFaults([])
        yield* slowly("90 seconds", "1 second")
        assert.deepInclude(yield* jobOf(id), { state: "finished", exitStatus: 0, detail: "done" })
        assert.strictEqual(counter.runs, 1)
        assert.strictEqual((yield* stack.status).finishing, 0)
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  it.effect("that is delayed holds no slot, and maxInFlight of them stop reservations", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(20)
      yield* emulator.setFaults([Fault.Status({ status: 503, operations: ["finishJob"] })])
      const { run } = counting(done)
      const stack = yield* start(run, { maxInFlight: 4 })
      yield* slowly("2 minutes", "1 second")
      const { finishing, inFlight } = yield* stack.status
      assert.isEmpty(inFlight)
      assert.isAtLeast(finishing, 4)
      assert.isAtMost(finishing, 8)
      assert.strictEqual((yield* census)["reserved"], finishing)
      yield* emulator.setFaults([])
      yield* slowly("2 minutes", "1 second")
      assert.deepStrictEqual(yield* census, { "finished 0": 20 })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("that is refused while the stack has the job is replaced by -1 with stack_error, once", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      yield* emulator.setFaults([Fault.Status({ status: 422, operations: ["finishJob"], times: 1 })])
      const { counter, run } = counting(done)
      yield* start(run)
      yield* slowly("5 seconds", "100 millis")
      assert.deepInclude(yield* jobOf(id), { state: "finished", exitStatus: -1, signalReason: "stack_error" })
      assert.strictEqual(counter.runs, 1)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("that stays refused is reported once, and retried with delays of at most 5 minutes", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      yield* emulator.setFaults([Fault.Status({ status: 422, operations: ["finishJob"] })])
      const { counter, run } = counting(done)
      const stack = yield* start(run, { reservationExpiry: "2 minutes" })
      yield* slowly("1 hour", "10 seconds")
      assert.strictEqual((yield* jobOf(id)).state, "reserved")
      assert.lengthOf(
        stack.names().filter((name) => name === "FinishRejected"),
        1
      )
      const sent = yield* countOf("finishJob")
      assert.isAtLeast(sent, 12)
      assert.isAtMost(sent, 24)
      yield* emulator.setFaults([])
      yield* slowly("6 minutes", "5 seconds")
      assert.deepInclude(yield* jobOf(id), { state: "finished", exitStatus: -1 })
      assert.strictEqual(counter.runs, 1)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("ends when the job's state is final, even if the service keeps responding with 409", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      yield* emulator.setFaults([Fault.Status({ status: 409, operations: ["finishJob"] })])
      const { run } = counting(done)
      const stack = yield* start(run)
      yield* slowly("5 seconds", "500 millis")
      yield* emulator.cancelJob(id)
      yield* slowly("2 minutes", "1 second")
      assert.strictEqual((yield* stack.status).finishing, 0)
      assert.strictEqual(stack.names().at(-1), "Canceled")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("of a job that the service has deleted (404) is dropped, so that the stack can be idle", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(1)
      yield* emulator.setFaults([Fault.Status({ status: 404, operations: ["finishJob"] })])
      const { run } = counting(done)
      const stack = yield* start(run).pipe(Effect.provide(rewriting("/get-states", () => ({ states: {} }))))
      yield* slowly("3 minutes", "1 second")
      assert.strictEqual((yield* stack.status).finishing, 0)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})

describe("An outcome that can't be sent", () => {
  const outcomes: Readonly<Record<string, readonly [outcome: unknown, mistake: RegExp]>> = {
    "exit status NaN": [JobRunner.Finished({ exitStatus: Number.NaN, detail: "x" }), /exitStatus.*NaN/],
    "exit status 1.5": [JobRunner.Finished({ exitStatus: 1.5, detail: "x" }), /exitStatus.*1\.5/],
    "exit status Infinity": [JobRunner.Finished({ exitStatus: Number.POSITIVE_INFINITY, detail: "x" }), /exitStatus/],
    "exit status 2^40": [JobRunner.Finished({ exitStatus: 2 ** 40, detail: "x" }), /exitStatus/],
    "no exit status": [{ _tag: "Finished", detail: "x" }, /exitStatus/],
    "no detail": [{ _tag: "Finished", exitStatus: 0 }, /detail/],
    "an empty signal reason": [JobRunner.Finished({ exitStatus: 0, detail: "x", signalReason: "" }), /signalReason/],
    "a signal reason that is a big integer": [
      { _tag: "Finished", exitStatus: 0, detail: "x", signalReason: 9n },
      /signalReason.*9/
    ],
    "a detail that has no text": [
      { _tag: "Finished", exitStatus: 0, detail: Object.create(null) },
      /detail must be a text, not \{\}/
    ],
    "a tag that has no text": [{ _tag: Object.create(null) }, /outcome must be .*, not \{\}/],
    "a detail that throws": [
      Object.defineProperty({ _tag: "Finished", exitStatus: 0 }, "detail", {
        get: () => {
          throw new Error("no detail")
        }
      }),
      /failed to handle the runner's outcome/
    ],
    nothing: [undefined, /outcome/],
    "another tag": [{ _tag: "Done" }, /outcome.*Done/]
  }
  for (const [name, [outcome, mistake]] of Object.entries(outcomes)) {
    it.effect(`(${name}) becomes -1 with stack_error and a message that names the mistake`, () =>
      Effect.gen(function* () {
        const [id = ""] = yield* addJobs(1)
        const { counter, run } = counting(outcome as JobRunner.JobOutcome)
        yield* start(run, { reservationExpiry: "10 seconds" })
        yield* slowly("1 minute", "500 millis")
        const job = yield* jobOf(id)
        assert.deepInclude(job, { state: "finished", exitStatus: -1, signalReason: "stack_error" })
        assert.match(job.detail ?? "", mistake)
        assert.strictEqual(counter.runs, 1)
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }
})

describe("A stack whose token is refused", () => {
  for (const status of [401, 403]) {
    it.effect(`with ${status} when a job has ended ends after authGrace; the next process sends the outcome`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const store = yield* JobStore.makeMemory
        const [id = ""] = yield* addJobs(1)
        const { counter, run } = counting(done)
        const process = Effect.fnUntraced(function* () {
          const scope = yield* Scope.make()
          const stack = yield* start(run, { authGrace: "1 minute" }).pipe(
            Scope.provide(scope),
            Effect.provideService(JobStore.JobStore, store)
          )
          return { ...stack, end: Scope.close(scope, Exit.void) }
        })
        const first = yield* process()
        yield* slowly("500 millis", "100 millis")
        yield* emulator.setFaults([Fault.Status({ status })])
        const { exit } = yield* within("4 minutes", first.awaitFailure)
        assert.isTrue(Exit.isFailure(exit))
        yield* within("1 minute", first.end)
        const [saved] = yield* store.load("s")
        assert.deepInclude(saved?.outcome, { exitStatus: 0, detail: "done" })
        yield* emulator.setFaults([])
        const next = yield* process()
        yield* slowly("5 seconds", "100 millis")
        assert.deepInclude(yield* jobOf(id), { state: "finished", exitStatus: 0, detail: "done" })
        assert.strictEqual(counter.runs, 1)
        assert.isEmpty(yield* store.load("s"))
        yield* next.end
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  it.effect("once, for one request, continues after authGrace", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      yield* emulator.setFaults([Fault.Status({ status: 403, operations: ["issueJobAcquisitionTokens"], times: 1 })])
      const stack = yield* start(({ acquisitionToken }) => Effect.as(acquisitionToken, done), { authGrace: "1 minute" })
      yield* slowly("2 seconds", "100 millis")
      yield* emulator.cancelJob(id)
      const failed = yield* Effect.forkChild(stack.awaitFailure)
      yield* slowly("3 minutes", "1 second")
      assert.isUndefined(failed.pollUnsafe())
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
