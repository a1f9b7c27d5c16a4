/** How a job's time in a stack ends, whatever its runner does. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, RateLimit, StacksClient, StacksSchema } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, Data, Duration, Effect, Fiber, Layer } from "effect"
import { HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { rewriting } from "../support/oddResponses.ts"
import {
  addJobs,
  census,
  clientVia,
  countOf,
  done,
  emulated,
  jobOf,
  type Run,
  slowly,
  start,
  takes
} from "../support/stacks.ts"

class Broken extends Data.TaggedError("Broken")<{ readonly message: string }> {}

/** Runs one job with a runner, and tells what became of both. */
const runOne = (run: Run) =>
  Effect.gen(function* () {
    const [id = ""] = yield* addJobs(1)
    const stack = yield* start(run, { maxInFlight: 1 })
    yield* TestClock.adjust("2 seconds")
    const { detail, exitStatus, signalReason, state } = yield* jobOf(id)
    const last = stack.names().at(-1)
    // Its slot is free: the next job is run.
    const [next = ""] = yield* addJobs(1)
    yield* TestClock.adjust("2 seconds")
    assert.notStrictEqual((yield* jobOf(next)).state, "scheduled")
    assert.isEmpty((yield* stack.status).inFlight)
    return { job: { state, exitStatus, detail, signalReason }, last, finishes: yield* countOf("finishJob") }
  }).pipe(Effect.scoped, Effect.provide(emulated()))

const failed = (detail: string) => ({ state: "finished", exitStatus: -1, detail, signalReason: "stack_error" })

class OutOfMachines extends Data.TaggedError("OutOfMachines")<{ readonly isRetryable: boolean }> {}

describe("A job", () => {
  for (const isRetryable of [true, false]) {
    it.effect(
      `whose runner fails with an error of its own, isRetryable: ${isRetryable}, is ${isRetryable ? "" : "not "}tried again`,
      () => {
        let runs = 0
        return Effect.gen(function* () {
          yield* addJobs(1)
          yield* start(() => (runs++ === 0 ? Effect.fail(new OutOfMachines({ isRetryable })) : Effect.succeed(done)))
          yield* slowly("20 seconds", "500 millis")
          assert.deepStrictEqual(yield* census, { [isRetryable ? "finished 0" : "finished -1"]: 1 })
        }).pipe(Effect.scoped, Effect.provide(emulated()))
      }
    )
  }

  it.effect("is finished with its runner's exit status, including 0", () =>
    Effect.gen(function* () {
      const zero = yield* runOne(() => Effect.succeed(JobRunner.Finished({ exitStatus: 0, detail: "fine" })))
      assert.deepInclude(zero.job, { state: "finished", exitStatus: 0, detail: "fine" })
      assert.strictEqual(zero.last, "Finished")
      const seven = yield* runOne(() =>
        Effect.succeed(JobRunner.Finished({ exitStatus: 7, detail: "no", signalReason: "agent_stop" }))
      )
      assert.deepStrictEqual(seven.job, { state: "finished", exitStatus: 7, detail: "no", signalReason: "agent_stop" })
    })
  )

  it.effect("is finished if its runner gives no detail", () =>
    Effect.gen(function* () {
      const { job } = yield* runOne(() => Effect.succeed(JobRunner.Finished({ exitStatus: 0, detail: "" })))
      assert.deepInclude(job, { state: "finished", exitStatus: 0, detail: "finished" })
    })
  )

  it.effect("is finished with -1 and stack_error, once, when its runner fails", () =>
    Effect.gen(function* () {
      const { finishes, job, last } = yield* runOne(() => Effect.fail(new Broken({ message: "no machine" })))
      assert.deepStrictEqual(job, failed("no machine"))
      assert.strictEqual(last, "Failed")
      assert.strictEqual(finishes, 2)
    })
  )

  it.effect("is finished with -1 when its runner fails with any value, dies, throws, or interrupts itself", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* runOne(() => Effect.fail("a text"))).job, failed("a text"))
      assert.deepStrictEqual((yield* runOne(() => Effect.fail(new Broken({ message: "" })))).job, {
        ...failed("The runner failed without a message")
      })
      assert.deepStrictEqual((yield* runOne(() => Effect.die(new Error("a mistake")))).job, failed("a mistake"))
      assert.deepStrictEqual(
        (yield* runOne(() => {
          throw new Error("thrown")
        })).job,
        failed("thrown")
      )
      const byEffect = yield* runOne(() => Effect.interrupt)
      assert.deepInclude(byEffect.job, { state: "finished", exitStatus: -1, signalReason: "stack_error" })
      const byFiber = yield* runOne(() =>
        Effect.withFiber((fiber) => Effect.andThen(Effect.forkDetach(Fiber.interrupt(fiber)), Effect.never))
      )
      assert.deepInclude(byFiber.job, { state: "finished", exitStatus: -1, signalReason: "stack_error" })
      assert.strictEqual(byFiber.last, "Failed")
    })
  )

  it.effect("is finished with -1 when its runner times out", () =>
    Effect.gen(function* () {
      const { job } = yield* runOne(() => Effect.timeout(Effect.never, "1 second"))
      assert.deepInclude(job, { state: "finished", exitStatus: -1, signalReason: "stack_error" })
    })
  )

  it.effect("is finished at once if its runner returns AgentOwned and no agent has acquired it", () =>
    Effect.gen(function* () {
      const { job, last } = yield* runOne(() => Effect.succeed(JobRunner.AgentOwned))
      assert.deepStrictEqual(job, failed("The agent ended without acquiring the job"))
      assert.strictEqual(last, "Failed")
    })
  )

  it.effect("is not finished if an agent has acquired it", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      const stack = yield* start(({ acquisitionToken }) =>
        Effect.gen(function* () {
          yield* emulator.acquireJob(yield* acquisitionToken)
          return JobRunner.AgentOwned
        })
      )
      yield* TestClock.adjust("2 hours")
      assert.strictEqual((yield* jobOf(id)).state, "running")
      assert.strictEqual(yield* countOf("finishJob"), 0)
      assert.deepStrictEqual(stack.names(), ["Registered", "Reserved", "Started", "AgentOwned"])
      yield* emulator.completeJob(id, 3)
      yield* TestClock.adjust("1 minute")
      assert.deepInclude(yield* jobOf(id), { state: "finished", exitStatus: 3 })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("is finished if one response lacks its state, and no agent has acquired it", () => {
    let lacks = 1
    const lacking = rewriting("/get-states", (body) => (lacks-- > 0 ? { states: {} } : body))
    return Effect.gen(function* () {
      const [id = ""] = yield* addJobs(1)
      const stack = yield* start(() => Effect.succeed(JobRunner.AgentOwned)).pipe(Effect.provide(lacking))
      yield* slowly("1 minute", "1 second")
      assert.strictEqual(stack.names().at(-1), "Failed")
      assert.deepInclude(yield* jobOf(id), failed("The agent ended without acquiring the job"))
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  })

  it.effect("has been an agent's if the service has removed it before its agent ended", () => {
    let isRemoved = false
    const removing = rewriting("/get-states", (body) => (isRemoved ? { states: {} } : body))
    return Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(1)
      const stack = yield* start(({ job }) =>
        Effect.gen(function* () {
          yield* emulator.acquireJob(job.id)
          yield* Effect.sleep("2 hours")
          isRemoved = true
          return JobRunner.AgentOwned
        })
      ).pipe(Effect.provide(removing))
      yield* slowly("121 minutes", "1 minute")
      assert.strictEqual(stack.names().at(-1), "AgentOwned")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  })

  it.effect("is not finished if its runner fails after an agent has acquired it", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      const stack = yield* start(({ job }) =>
        Effect.andThen(emulator.acquireJob(job.id), Effect.die("lost sight of it"))
      )
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* jobOf(id)).state, "running")
      assert.strictEqual(stack.names().at(-1), "AgentOwned")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("is not finished again if its agent has finished it", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      const stack = yield* start(({ job }) =>
        // As an agent that is stopped: it cancels its job, and says so.
        Effect.andThen(emulator.acquireJob(job.id), Effect.never).pipe(
          Effect.onInterrupt(() => Effect.ignore(emulator.completeJob(job.id, -1)))
        )
      )
      yield* TestClock.adjust("5 seconds")
      yield* stack.drain
      assert.strictEqual(stack.names().at(-2), "AgentOwned")
      assert.deepInclude(yield* jobOf(id), { state: "finished", exitStatus: -1, signalReason: undefined })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect(
    "that is canceled has its runner interrupted, where it has an agent after cancelGrace, and its slot is free",
    () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const ids = yield* addJobs(1000)
        const isAcquired = (id: string) => Number.parseInt(id.slice(-1), 16) < 8
        let interrupted = 0
        const stack = yield* start(
          ({ job }) =>
            Effect.andThen(isAcquired(job.id) ? emulator.acquireJob(job.id) : Effect.void, Effect.never).pipe(
              Effect.onInterrupt(() => Effect.sync(() => void interrupted++))
            ),
          { maxInFlight: 1000, cancelGrace: "10 seconds" }
        )
        yield* slowly("7 seconds", "500 millis")
        assert.lengthOf((yield* stack.status).inFlight, 1000)
        // Some of them are the agents', some only reserved.
        const canceled = ids.slice(0, 500)
        for (const id of canceled) yield* emulator.cancelJob(id)
        yield* slowly("5 seconds", "500 millis")
        assert.strictEqual(interrupted, canceled.filter((id) => !isAcquired(id)).length)
        yield* slowly("10 seconds", "500 millis")
        assert.strictEqual(interrupted, 500)
        assert.lengthOf((yield* stack.status).inFlight, 500)
        assert.strictEqual(stack.names().filter((name) => name === "Canceled").length, 500)
        assert.strictEqual(yield* countOf("finishJob"), 0)
        yield* addJobs(500)
        yield* slowly("2 seconds", "500 millis")
        assert.lengthOf((yield* stack.status).inFlight, 1000)
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(emulated(), RateLimit.layerNone)))
  )

  it.effect("that was canceled before its runner failed counts as canceled", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const stack = yield* start(({ job }) => Effect.andThen(emulator.cancelJob(job.id), Effect.die("no more")))
      yield* addJobs(1)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* census, { canceled: 1 })
      assert.strictEqual(stack.names().at(-1), "Canceled")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("that can't be started backs off for 5, 10, 20 … seconds, and is released after startTimeout", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* addJobs(1)
      let tries = 0
      const stack = yield* start(
        () =>
          Effect.suspend(() => {
            tries++
            return Effect.fail(new JobRunner.JobRunnerError({ message: "no room", isRetryable: true }))
          }),
        { startTimeout: "1 minute" }
      )
      yield* slowly("4 seconds", "500 millis")
      assert.strictEqual(tries, 1)
      assert.strictEqual((yield* stack.status).backingOff, 1)
      assert.strictEqual((yield* jobOf(id)).state, "reserved")
      yield* slowly("60 seconds", "500 millis")
      assert.strictEqual((yield* jobOf(id)).state, "scheduled")
      assert.strictEqual(tries, 5)
      const delays = stack.seen.flatMap((event) =>
        event._tag === "BackedOff" ? [Duration.toSeconds(event.delay)] : []
      )
      assert.deepStrictEqual(delays, [5, 10, 20, 25])
      assert.strictEqual(stack.names().at(-1), "Released")
      assert.strictEqual((yield* stack.status).backingOff, 0)
      assert.strictEqual(yield* countOf("finishJob"), 0)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("that was hard to reserve has as many starts as any other", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(1)
      yield* emulator.setFaults([
        StacksEmulator.Fault.Status({ status: 422, operations: ["batchReserveJobs"], times: 4 })
      ])
      let tries = 0
      const stack = yield* start(
        () =>
          Effect.suspend(() => {
            tries++
            return Effect.fail(new JobRunner.JobRunnerError({ message: "no room", isRetryable: true }))
          }),
        { startTimeout: "1 minute" }
      )
      const released = Effect.sync(() => stack.names().includes("Released"))
      while (!(yield* released)) yield* slowly("1 second", "500 millis")
      assert.strictEqual(tries, 5)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("that is canceled in backoff does not start again", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      let tries = 0
      const stack = yield* start(() =>
        Effect.suspend(() => {
          tries++
          return Effect.fail(new JobRunner.JobRunnerError({ message: "no room", isRetryable: true }))
        })
      )
      yield* TestClock.adjust("1 second")
      yield* emulator.cancelJob(id)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(tries, 1)
      assert.strictEqual(stack.names().at(-1), "Canceled")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("stays reserved while it runs, and is not renewed afterwards", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* addJobs(1)
      yield* start(takes("3 hours"), { reservationExpiry: "2 minutes", pollInterval: "1 minute" })
      yield* slowly("1 second")
      for (let i = 0; i < 10; i++) {
        yield* TestClock.adjust("17 minutes")
        assert.strictEqual((yield* jobOf(id)).state, "reserved")
      }
      yield* TestClock.adjust("10 minutes")
      yield* slowly("1 second")
      assert.strictEqual((yield* jobOf(id)).state, "finished")
      const renewals = yield* countOf("batchReserveJobs")
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* countOf("batchReserveJobs"), renewals)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("stays reserved if a renewal has no response", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      yield* start(takes("1 hour"), { reservationExpiry: "1 minute" })
      yield* slowly("1 second")
      yield* emulator.setFaults([StacksEmulator.Fault.Stall({ operations: ["batchReserveJobs"], times: 1 })])
      for (let second = 0; second < 120; second++) {
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* jobOf(id)).state, "reserved")
      }
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("whose reservation is lost to another stack has its runner interrupted", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const client = yield* StacksClient.StacksClient
      let interrupted = 0
      const [id = ""] = yield* addJobs(1)
      const stack = yield* start(() => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted++)), {
        reservationExpiry: "1 minute"
      })
      yield* slowly("1 second")
      yield* client.registerStack({ key: "other", type: "custom", queueKey: "q" })
      yield* emulator.setFaults([StacksEmulator.Fault.Reset({ operations: ["batchReserveJobs"] })])
      for (let second = 0; second < 61; second++) yield* TestClock.adjust("1 second")
      yield* emulator.setFaults([])
      const { reserved } = yield* client.batchReserveJobs({ stackKey: "other", jobUuids: [id] })
      assert.deepStrictEqual(reserved, [id])
      for (let second = 0; second < 16; second++) yield* TestClock.adjust("1 second")
      assert.strictEqual(interrupted, 1)
      assert.strictEqual(stack.names().at(-1), "ReservationLost")
      assert.isEmpty((yield* stack.status).inFlight)
      assert.deepInclude(yield* jobOf(id), { state: "reserved", reservedBy: "other" })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect(
    "that another stack loses again is a job like any other: nothing is remembered of its first time here",
    () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const client = yield* StacksClient.StacksClient
        const [id = ""] = yield* addJobs(1)
        let runs = 0
        const stack = yield* start(
          ({ notify }) =>
            Effect.gen(function* () {
              runs++
              for (let count = 0; count < StacksSchema.MaxNotificationsPerJob; count++)
                yield* notify(`${runs}/${count}`)
              return yield* Effect.never
            }),
          { reservationExpiry: "1 minute" }
        )
        yield* slowly("1 second")
        yield* client.registerStack({ key: "other", type: "custom", queueKey: "q" })
        yield* emulator.setFaults([StacksEmulator.Fault.Reset({ operations: ["batchReserveJobs"] })])
        for (let second = 0; second < 61; second++) yield* TestClock.adjust("1 second")
        yield* emulator.setFaults([])
        yield* client.batchReserveJobs({ stackKey: "other", jobUuids: [id], reservationExpiry: "1 minute" })
        for (let second = 0; second < 80; second++) yield* TestClock.adjust("1 second")
        assert.strictEqual(stack.names().filter((name) => name === "ReservationLost").length, 1)
        assert.strictEqual(runs, 2)
        // It is for the service to say that these are too many.
        const sent = (yield* emulator.requests).filter(({ operation }) => operation === "createStackNotifications")
        assert.include(JSON.stringify(sent.map(({ body }) => body)), "2/99")
      }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect(
    "that is listed but can't be reserved is asked for again after 5, 10, 20 … seconds, at most 5 minutes",
    () =>
      Effect.gen(function* () {
        const [id = ""] = yield* addJobs(1)
        const at: Array<number> = []
        const refusing = clientVia((request, response) =>
          request.method === "PUT"
            ? Effect.map(Clock.currentTimeMillis, (now) => {
                at.push(now)
                return HttpServerResponse.toClientResponse(
                  HttpServerResponse.jsonUnsafe({ reserved: [], not_reserved: [id] }),
                  { request }
                )
              })
            : response
        )
        yield* Effect.gen(function* () {
          const stack = yield* start(takes(0))
          for (let second = 0; second < 1600; second++) yield* TestClock.adjust("1 second")
          assert.strictEqual(stack.names().filter((name) => name === "NotReserved").length, at.length)
        }).pipe(Effect.provide(refusing))
        const waits = at.slice(1).map((time, index) => Math.floor((time - (at[index] ?? 0)) / 1000))
        assert.deepStrictEqual(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300, 300])
      }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("frees its slot only after its runner has cleaned up", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      let open = 0
      let most = 0
      yield* start(
        () =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              open++
              most = Math.max(most, open)
            }),
            () => Effect.never,
            () =>
              Effect.andThen(
                Effect.sleep("3 seconds"),
                Effect.sync(() => void open--)
              )
          ),
        { maxInFlight: 2 }
      )
      const ids = yield* addJobs(6)
      for (const id of ids) {
        yield* emulator.cancelJob(id)
        yield* TestClock.adjust("10 seconds")
      }
      assert.strictEqual(most, 2)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})

describe("What a runner gets", () => {
  it.effect("details and a token, requested once at the first use, and notifications", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(1, { command: "make test", env: { CI: "true" } })
      const requests = Effect.all([countOf("getJob"), countOf("issueJobAcquisitionTokens")]).pipe(
        Effect.provideService(StacksEmulator.StacksEmulator, emulator)
      )
      const seen: Array<unknown> = []
      yield* start(({ acquisitionToken, details, job, notify, stackKey }) =>
        Effect.gen(function* () {
          seen.push(stackKey, job.build.branch, yield* requests)
          const [first, second] = yield* Effect.all([details, details], { concurrency: 2 })
          seen.push(first.command, first.env, first === second)
          const token = yield* acquisitionToken
          seen.push(token === (yield* acquisitionToken), yield* requests)
          yield* notify("hello")
          return done
        })
      )
      yield* TestClock.adjust("1 second")
      yield* TestClock.adjust("1 second")
      const [job] = yield* emulator.jobs
      assert.deepStrictEqual(seen, ["s", job?.build.branch, [0, 0], "make test", { CI: "true" }, true, true, [1, 1]])
      assert.deepStrictEqual(
        (yield* emulator.notifications).map(({ detail, jobUuid }) => [jobUuid, detail]),
        [[job?.id, "hello"]]
      )
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("the job's state, as it is at that moment", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(1)
      const seen: Array<unknown> = []
      yield* start(({ acquisitionToken, state }) =>
        Effect.gen(function* () {
          seen.push(yield* state)
          yield* emulator.acquireJob(yield* acquisitionToken)
          seen.push(yield* state)
          return JobRunner.AgentOwned
        })
      )
      yield* TestClock.adjust("1 second")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seen, ["reserved", "running"])
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("tokens in few requests if hundreds of jobs ask for them together", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(500)
      yield* start(
        ({ acquisitionToken }) =>
          Effect.as(Effect.flatMap(acquisitionToken, emulator.acquireJob), JobRunner.AgentOwned),
        { maxInFlight: 500 }
      )
      yield* slowly("2 seconds")
      assert.deepStrictEqual(yield* census, { running: 500 })
      assert.isAtMost(yield* countOf("issueJobAcquisitionTokens"), 10)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("a token even if the service refuses another job of the same request", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const ids = yield* addJobs(10)
      const refused = ids[3] ?? ""
      const picky = clientVia((request, response) =>
        request.url.endsWith("/job-acquisition-tokens") && request.body._tag === "Uint8Array"
          ? new TextDecoder().decode(request.body.body).includes(refused)
            ? Effect.succeed(
                HttpServerResponse.toClientResponse(
                  HttpServerResponse.jsonUnsafe({ message: "one of them is bad" }, { status: 422 }),
                  { request }
                )
              )
            : response
          : response
      )
      const stack = yield* start(({ acquisitionToken }) =>
        Effect.as(Effect.flatMap(acquisitionToken, emulator.acquireJob), JobRunner.AgentOwned)
      ).pipe(Effect.provide(picky))
      yield* slowly("2 seconds")
      assert.deepStrictEqual(yield* census, { running: 9, reserved: 1 })
      const backedOff = stack.seen.flatMap((event) => (event._tag === "BackedOff" ? [event.job.id] : []))
      assert.deepStrictEqual(backedOff, [refused])
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("a token even if another job's request for one has no response", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.setFaults([
        StacksEmulator.Fault.Stall({ operations: ["issueJobAcquisitionTokens"], duration: "50 seconds", times: 1 })
      ])
      yield* start(({ acquisitionToken }) =>
        Effect.as(Effect.flatMap(acquisitionToken, emulator.acquireJob), JobRunner.AgentOwned)
      )
      yield* addJobs(1)
      yield* TestClock.adjust("2 seconds")
      yield* addJobs(3)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* census, { reserved: 1, running: 3 })
      yield* TestClock.adjust("50 seconds")
      assert.deepStrictEqual(yield* census, { running: 4 })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("no token for a job that the stack no longer has", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(1)
      const failures: Array<string> = []
      yield* start(({ acquisitionToken, job }) =>
        Effect.gen(function* () {
          yield* emulator.cancelJob(job.id)
          return yield* Effect.as(acquisitionToken, JobRunner.AgentOwned)
        }).pipe(Effect.tapError((error) => Effect.sync(() => void failures.push(`${error._tag}: ${error.message}`))))
      )
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(failures, ["JobRunnerError: The service issued no acquisition token: the job is not ours"])
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
