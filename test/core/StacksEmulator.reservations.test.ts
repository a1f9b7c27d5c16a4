import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { DateTime, Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, answer, emulated, finish, job, list, register, reserve, states } from "../support/emulated.ts"

const at = (millis: number) => DateTime.makeUnsafe(millis)

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `job-${i}`)

describe("reserving jobs", () => {
  it.effect("returns the reserved jobs, each once, and removes them from the list", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("a", "b", "c")
      assert.deepStrictEqual(yield* reserve(["c", "unknown", "a", "c"]), {
        status: 200,
        body: { reserved: ["c", "a"], not_reserved: ["unknown"] }
      })
      assert.deepStrictEqual((yield* list()).ids, ["b"])
      assert.deepInclude(yield* job("a"), { state: "reserved", reservedBy: "s", reservedUntil: at(900_000) })
      assert.deepStrictEqual(yield* reserve(["unknown"]), {
        status: 200,
        body: { reserved: [], not_reserved: ["unknown"] }
      })
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("does not reserve jobs that another stack has or that are not scheduled", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* register("other")
      yield* addJobs("theirs", "running", "canceled", "finished", "free")
      yield* reserve(["theirs"], { stackKey: "other" })
      yield* emulator.acquireJob("running")
      yield* emulator.cancelJob("canceled")
      yield* finish("finished")
      assert.deepStrictEqual((yield* reserve(["theirs", "running", "canceled", "finished", "free"])).body, {
        reserved: ["free"],
        not_reserved: ["theirs", "running", "canceled", "finished"]
      })
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("accepts 1 to 1000 jobs for 1 to 3600 seconds", () =>
    Effect.gen(function* () {
      yield* register()
      assert.strictEqual((yield* reserve([])).status, 422)
      assert.strictEqual((yield* reserve(numbered(1001))).status, 422)
      assert.strictEqual((yield* reserve(numbered(1000))).status, 200)
      for (const seconds of [0, -1, 1.5, 3601]) {
        assert.strictEqual((yield* reserve(["a"], { seconds })).status, 422, String(seconds))
      }
      assert.strictEqual((yield* reserve(["a"], { seconds: 3600 })).status, 200)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("lapses, and the job is listed again at its old position", () =>
    Effect.gen(function* () {
      yield* register()
      yield* register("other")
      yield* addJobs("a", "b", "c")
      yield* reserve(["b"])
      yield* reserve(["c"], { seconds: 10 })
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual((yield* list()).ids, ["a", "c"])
      yield* TestClock.adjust("889 seconds")
      assert.deepStrictEqual((yield* list()).ids, ["a", "c"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual((yield* list()).ids, ["a", "b", "c"])
      assert.deepInclude(yield* job("b"), { state: "scheduled", reservedBy: undefined, reservedUntil: undefined })
      assert.deepStrictEqual((yield* reserve(["b"], { stackKey: "other" })).body, { reserved: ["b"], not_reserved: [] })
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("is extended or shortened by the stack that has it", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("a", "b")
      yield* reserve(["a", "b"], { seconds: 10 })
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual((yield* reserve(["a"], { seconds: 10 })).body, { reserved: ["a"], not_reserved: [] })
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual((yield* list()).ids, ["b"])
      yield* reserve(["a"], { seconds: 3600 })
      yield* reserve(["a"], { seconds: 1 })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual((yield* list()).ids, ["a", "b"])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("survives its stack's registration", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* addJobs("a")
      yield* reserve(["a"])
      yield* emulator.forgetStack("s")
      yield* register()
      assert.deepStrictEqual((yield* list()).ids, [])
      assert.deepStrictEqual((yield* reserve(["a"])).body, { reserved: ["a"], not_reserved: [] })
    }).pipe(Effect.provide(emulated()))
  )
})

describe("finishing a job", () => {
  it.effect("works once, for a reserved or scheduled job, with an empty 200", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("a", "b")
      yield* reserve(["a"])
      yield* TestClock.adjust("1 second")
      const body = { exit_status: 0, detail: "fine", signal_reason: "stack_error" }
      assert.deepStrictEqual(yield* finish("a", body), { status: 200, body: undefined })
      assert.deepInclude(yield* job("a"), {
        state: "finished",
        exitStatus: 0,
        detail: "fine",
        signalReason: "stack_error",
        finishedAt: at(1000),
        reservedUntil: undefined
      })
      assert.strictEqual((yield* finish("b")).status, 200)
      assert.deepInclude(yield* job("b"), { state: "finished", exitStatus: -1, detail: "done" })
      assert.deepStrictEqual(yield* finish("a"), { status: 422, body: { message: "The job is already finished" } })
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual((yield* list()).ids, [])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("requires a detail of at most 4096 bytes", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("j")
      assert.strictEqual((yield* finish("j", {})).status, 422)
      assert.strictEqual((yield* finish("j", { detail: "" })).status, 422)
      assert.strictEqual((yield* finish("j", { detail: "x", exit_status: 1.5 })).status, 422)
      assert.deepStrictEqual(yield* finish("j", { detail: "ü".repeat(2049) }), {
        status: 422,
        body: { message: 'Expected a detail of at most 4096 bytes at ["detail"]' }
      })
      assert.strictEqual((yield* finish("j", { detail: "ü".repeat(2048) })).status, 200)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("is refused for jobs that agents own, that are canceled, or that other stacks have reserved", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* register("other")
      yield* addJobs("running", "canceling", "canceled", "theirs")
      yield* emulator.acquireJob("running")
      yield* emulator.acquireJob("canceling")
      yield* emulator.cancelJob("canceling")
      yield* emulator.cancelJob("canceled")
      yield* reserve(["theirs"], { stackKey: "other" })
      const refusals = yield* Effect.forEach(["running", "canceling", "canceled", "theirs"], (id) => finish(id))
      assert.deepStrictEqual(refusals, [
        { status: 422, body: { message: "The job is running: an agent owns it" } },
        { status: 422, body: { message: "The job is canceling: an agent owns it" } },
        { status: 422, body: { message: "The job is already canceled" } },
        { status: 422, body: { message: "The job is reserved by another stack" } }
      ])
      assert.strictEqual((yield* finish("unknown")).status, 404)
    }).pipe(Effect.provide(emulated()))
  )
})

describe("job acquisition tokens", () => {
  const issue = (ids: ReadonlyArray<string>, seconds?: number, stackKey = "s") =>
    answer("POST", `stacks/${stackKey}/job-acquisition-tokens`, {
      body: { job_uuids: ids, token_lifetime_seconds: seconds }
    })

  /** The token of one job. */
  const tokenOf = Effect.fnUntraced(function* (id: string, seconds?: number) {
    const { body } = yield* issue([id], seconds)
    const { job_acquisition_tokens: tokens } = body as {
      job_acquisition_tokens: ReadonlyArray<{ job_acquisition_token: string }>
    }
    return tokens[0]?.job_acquisition_token ?? ""
  })

  it.effect("are issued for the jobs that this stack has reserved", () =>
    Effect.gen(function* () {
      yield* register()
      yield* register("other")
      yield* addJobs("mine", "theirs", "free")
      yield* reserve(["mine"])
      yield* reserve(["theirs"], { stackKey: "other" })
      const { body, status } = yield* issue(["theirs", "mine", "free", "unknown"])
      const issued = body as { job_acquisition_tokens: ReadonlyArray<{ job_acquisition_token: string }> }
      assert.strictEqual(status, 201)
      const token = issued.job_acquisition_tokens[0]?.job_acquisition_token
      assert.match(token ?? "", /^bkjat_eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{43}$/)
      assert.deepStrictEqual(body, {
        job_acquisition_tokens: [
          { job_uuid: "mine", job_acquisition_token: token, expires_at: "1970-01-01T00:15:00.000Z" }
        ],
        not_issued: ["theirs", "free", "unknown"]
      })
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("are issued for 1 to 1000 jobs and 1 to 3600 seconds", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("j")
      yield* reserve(["j"])
      assert.strictEqual((yield* issue([])).status, 422)
      assert.strictEqual((yield* issue(numbered(1001))).status, 422)
      assert.strictEqual((yield* issue(["j"], 0)).status, 422)
      assert.strictEqual((yield* issue(["j"], 3601)).status, 422)
      const { body } = yield* issue(["j"], 60)
      assert.include(JSON.stringify(body), "1970-01-01T00:01:00.000Z")
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("let one agent acquire their job", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* addJobs("j")
      yield* reserve(["j"])
      const token = yield* tokenOf("j")
      const acquired = yield* emulator.acquireJob(Redacted.make(token))
      assert.deepInclude(acquired, { id: "j", state: "running", startedAt: at(0), reservedBy: "s" })
      const rejected = yield* Effect.flip(emulator.acquireJob(token))
      assert.strictEqual(rejected._tag, "AcquireRejected")
      assert.strictEqual((yield* job("j")).state, "running")
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("expire, and end with the reservation", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* addJobs("j")
      yield* reserve(["j"], { seconds: 100 })
      const short = yield* tokenOf("j", 50)
      const long = yield* tokenOf("j", 3600)
      yield* TestClock.adjust("50 seconds")
      assert.strictEqual((yield* Effect.flip(emulator.acquireJob(short))).message, "the token has expired")
      yield* TestClock.adjust("50 seconds")
      yield* reserve(["j"])
      assert.strictEqual((yield* Effect.flip(emulator.acquireJob(long))).message, "the token is not valid")
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("stay valid when the reservation is extended", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* addJobs("j")
      yield* reserve(["j"], { seconds: 100 })
      const token = yield* tokenOf("j", 3600)
      yield* TestClock.adjust("99 seconds")
      yield* reserve(["j"], { seconds: 100 })
      yield* TestClock.adjust("99 seconds")
      assert.strictEqual((yield* emulator.acquireJob(token)).state, "running")
    }).pipe(Effect.provide(emulated()))
  )
})

describe("agents and users", () => {
  it.effect("run jobs to their end", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs("a", "b")
      yield* emulator.acquireJob("a")
      yield* TestClock.adjust("3 seconds")
      assert.deepInclude(yield* emulator.completeJob("a", 7), {
        state: "finished",
        exitStatus: 7,
        startedAt: at(0),
        finishedAt: at(3000)
      })
      yield* emulator.acquireJob("b")
      assert.strictEqual((yield* emulator.completeJob("b")).exitStatus, 0)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("cancel a waiting job at once, and a running job when its agent is done", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* addJobs("scheduled", "reserved", "running", "finished")
      yield* reserve(["reserved"])
      yield* emulator.acquireJob("running")
      yield* finish("finished")
      yield* Effect.forEach(["scheduled", "reserved", "running", "finished"], emulator.cancelJob)
      assert.deepStrictEqual((yield* states("scheduled", "reserved", "running", "finished")).body, {
        states: { scheduled: "canceled", reserved: "canceled", running: "canceling", finished: "finished" }
      })
      assert.strictEqual((yield* emulator.completeJob("running", -1)).state, "canceled")
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual((yield* list()).ids, [])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("get a defect for an impossible action", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs("j")
      assert.include(String(yield* Effect.exit(emulator.cancelJob("unknown"))), "there is no job unknown")
      assert.include(String(yield* Effect.exit(emulator.completeJob("j"))), "job j is scheduled: no agent owns it")
    }).pipe(Effect.provide(emulated()))
  )
})
