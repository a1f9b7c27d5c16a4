/** Stacks that write down their jobs, and stacks that go on where another life of them stopped. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, type Stack, type StackLedger, StacksClient, type StacksSchema } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Exit, Scope } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, countOf, done, emulated, jobOf, type Run, start, takes } from "../support/stacks.ts"

/** A ledger in memory, which outlives its stacks. */
const makeLedger = () => {
  const book = new Map<string, StackLedger.Entry>()
  const ledger: StackLedger.StackLedger = {
    entries: Effect.sync(() => Array.from(book.values())),
    enter: (jobs) =>
      Effect.sync(() => {
        for (const job of jobs) book.set(job.id, { job, isStarted: false })
        return true
      }),
    strike: (ids) => Effect.sync(() => ids.forEach((id) => void book.delete(id)))
  }
  const markStarted = (job: StacksSchema.ScheduledJob) =>
    Effect.sync(() => void book.set(job.id, { job, isStarted: true }))
  return { book, ledger, markStarted }
}

/** A life of the stack that ends when it is told to. */
const live = Effect.fnUntraced(function* (run: Run, options: Partial<Stack.Options>) {
  const scope = yield* Scope.make()
  const stack = yield* start(run, options).pipe(Scope.provide(scope))
  return { ...stack, end: Scope.close(scope, Exit.void) }
})

describe("A stack with a ledger", () => {
  it.effect("enters a job before it is reserved, and strikes it when it is over", () =>
    Effect.gen(function* () {
      const { book, ledger } = makeLedger()
      const reservedAtEntry: Array<number> = []
      const [id = ""] = yield* addJobs(1)
      const reserves = yield* Effect.map(Effect.context<StacksEmulator.StacksEmulator>(), (context) =>
        Effect.provideContext(countOf("batchReserveJobs"), context)
      )
      yield* start(takes("5 seconds"), {
        ledger: {
          ...ledger,
          enter: (jobs) =>
            Effect.andThen(
              Effect.map(reserves, (count) => void reservedAtEntry.push(count)),
              ledger.enter(jobs)
            )
        }
      })
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(reservedAtEntry, [0])
      assert.deepStrictEqual(Array.from(book.keys()), [id])
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual((yield* jobOf(id)).state, "finished")
      assert.strictEqual(book.size, 0)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("reserves nothing that could not be entered, and tries again", () =>
    Effect.gen(function* () {
      const { ledger } = makeLedger()
      let isOpen = false
      const [id = ""] = yield* addJobs(1)
      yield* start(takes(0), {
        ledger: { ...ledger, enter: (jobs) => (isOpen ? ledger.enter(jobs) : Effect.succeed(false)) }
      })
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* countOf("batchReserveJobs"), 0)
      isOpen = true
      yield* TestClock.adjust("40 seconds")
      assert.strictEqual((yield* jobOf(id)).state, "finished")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("goes on when its ledger hangs", () =>
    Effect.gen(function* () {
      const { ledger } = makeLedger()
      let hangs = true
      const [id = ""] = yield* addJobs(1)
      yield* start(takes(0), {
        ledger: { ...ledger, enter: (jobs) => (hangs ? Effect.never : ledger.enter(jobs)) }
      })
      yield* TestClock.adjust("5 seconds")
      hangs = false
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual((yield* jobOf(id)).state, "finished")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("strikes what it did not get", () =>
    Effect.gen(function* () {
      const client = yield* StacksClient.StacksClient
      const { book, ledger } = makeLedger()
      const [id = ""] = yield* addJobs(1)
      yield* client.registerStack({ key: "other", type: "custom", queueKey: "q" })
      yield* start(takes(0), {
        ledger: {
          ...ledger,
          // Somebody else is faster.
          enter: (jobs) =>
            Effect.andThen(
              Effect.orDie(client.batchReserveJobs({ stackKey: "other", jobUuids: jobs.map((job) => job.id) })),
              ledger.enter(jobs)
            )
        }
      })
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* jobOf(id)).reservedBy, "other")
      assert.strictEqual(book.size, 0)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})

describe("A stack that is left to another life of it", () => {
  it.effect("stops at once, finishes nothing, and stays registered", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const { book, ledger } = makeLedger()
      const interrupted: Array<string> = []
      const [id = ""] = yield* addJobs(1)
      const first = yield* live(
        ({ job }) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted.push(job.id))),
        { ledger, onClose: "leave" }
      )
      yield* TestClock.adjust("2 seconds")
      yield* first.end
      assert.deepStrictEqual(interrupted, [id])
      assert.deepStrictEqual(Array.from(book.keys()), [id])
      assert.strictEqual((yield* jobOf(id)).state, "reserved")
      assert.strictEqual(yield* countOf("finishJob"), 0)
      assert.deepStrictEqual(
        (yield* emulator.stacks).map(({ key }) => key),
        ["s"]
      )
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("has its jobs started by the next one, before any others", () =>
    Effect.gen(function* () {
      const { book, ledger } = makeLedger()
      const ids = yield* addJobs(2)
      const first = yield* live(() => Effect.never, { ledger, onClose: "leave", maxInFlight: 2 })
      yield* TestClock.adjust("2 seconds")
      yield* first.end
      yield* addJobs(1, { priority: 10 })

      const started: Array<string> = []
      const second = yield* live(
        ({ job }) =>
          Effect.as(
            Effect.sync(() => started.push(job.id)),
            done
          ),
        {
          ledger,
          maxInFlight: 2
        }
      )
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(started.slice(0, 2).sort(), [...ids].sort())
      assert.strictEqual(started.length, 3)
      assert.strictEqual(book.size, 0)
      yield* second.end
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("keeps a slot for a job that an agent of the first life runs, until its runner says so", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const { book, ledger, markStarted } = makeLedger()
      const [id = ""] = yield* addJobs(1)
      const first = yield* live(
        ({ acquisitionToken, job }) =>
          Effect.flatMap(acquisitionToken, emulator.acquireJob).pipe(
            Effect.andThen(markStarted(job)),
            Effect.andThen(Effect.never)
          ),
        { ledger, onClose: "leave" }
      )
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* jobOf(id)).state, "running")
      yield* first.end

      const second = yield* live(() => Effect.as(Effect.sleep("20 seconds"), JobRunner.AgentOwned), { ledger })
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(
        (yield* second.status).inFlight.map((job) => job.id),
        [id]
      )
      yield* emulator.completeJob(id, 0)
      yield* TestClock.adjust("20 seconds")
      assert.isEmpty((yield* second.status).inFlight)
      assert.strictEqual(book.size, 0)
      assert.strictEqual(yield* countOf("finishJob"), 0)
      yield* second.end
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("and whose job has ended meanwhile, has it struck", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const { book, ledger, markStarted } = makeLedger()
      const [id = ""] = yield* addJobs(1)
      const first = yield* live(({ job }) => Effect.andThen(markStarted(job), Effect.never), {
        ledger,
        onClose: "leave"
      })
      yield* TestClock.adjust("2 seconds")
      yield* first.end
      yield* emulator.cancelJob(id)

      const started: Array<string> = []
      const second = yield* live(
        ({ job }) =>
          Effect.as(
            Effect.sync(() => started.push(job.id)),
            done
          ),
        { ledger }
      )
      yield* TestClock.adjust("5 seconds")
      assert.isEmpty(started)
      assert.strictEqual(book.size, 0)
      yield* second.end
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
