/** Stacks that save their jobs, and stacks that go on where an earlier process ended. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, JobStore, Stack, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
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
  takes,
  within
} from "../support/stacks.ts"

/** A process with this store, until it is ended. */
const process = Effect.fnUntraced(function* (store: JobStore.Service, run: Run, options: Partial<Stack.Options> = {}) {
  const scope = yield* Scope.make()
  const stack = yield* start(run, options).pipe(Scope.provide(scope), Effect.provideService(JobStore.JobStore, store))
  return { ...stack, end: within("2 minutes", Scope.close(scope, Exit.void)) }
})

describe("A stack with a store", () => {
  it.effect("saves a job before it reserves it, and removes the job when it is over", () =>
    Effect.gen(function* () {
      const memory = yield* JobStore.makeMemory
      const context = yield* Effect.context<StacksEmulator.StacksEmulator>()
      const reservedBefore: Array<number> = []
      const store: JobStore.Service = {
        ...memory,
        save: (key, jobs) =>
          countOf("batchReserveJobs").pipe(
            Effect.tap((count) => Effect.sync(() => void reservedBefore.push(count))),
            Effect.andThen(memory.save(key, jobs)),
            Effect.provideContext(context)
          )
      }
      const [id = ""] = yield* addJobs(3)
      yield* process(store, takes("5 seconds"))
      yield* slowly("2 seconds", "100 millis")
      // One call for all jobs of a request.
      assert.deepStrictEqual(reservedBefore, [0])
      assert.lengthOf(yield* memory.load("s"), 3)
      yield* slowly("6 seconds", "100 millis")
      assert.strictEqual((yield* jobOf(id)).state, "finished")
      assert.isEmpty(yield* memory.load("s"))
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  for (const [what, fails] of [
    ["fails", Effect.fail(new JobStore.JobStoreError({ message: "disk full" }))],
    ["hangs", Effect.never]
  ] as const) {
    it.effect(`reserves nothing while the store ${what}, and goes on when it works again`, () =>
      Effect.gen(function* () {
        const memory = yield* JobStore.makeMemory
        let isBroken = true
        const [id = ""] = yield* addJobs(1)
        yield* process(
          { ...memory, save: (key, jobs) => Effect.suspend(() => (isBroken ? fails : memory.save(key, jobs))) },
          takes(0)
        )
        yield* slowly("5 seconds", "500 millis")
        assert.strictEqual(yield* countOf("batchReserveJobs"), 0)
        isBroken = false
        yield* slowly("60 seconds", "500 millis")
        assert.strictEqual((yield* jobOf(id)).state, "finished")
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  it.effect("does not start an earlier process's job before it knows whether the queue is paused", () => {
    let isSlow = false
    return Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const memory = yield* JobStore.makeMemory
      yield* addJobs(1)
      const first = yield* process(memory, () => Effect.never, { onClose: "detach" })
      yield* slowly("3 seconds", "100 millis")
      yield* first.end
      yield* emulator.pauseQueue("q", true)
      isSlow = true
      let starts = 0
      const next = yield* process(memory, () =>
        Effect.as(
          Effect.sync(() => starts++),
          done
        )
      )
      yield* slowly("10 seconds", "100 millis")
      assert.deepStrictEqual(next.names().includes("Reserved"), true)
      assert.strictEqual(starts, 0)
      yield* emulator.pauseQueue("q", false)
      yield* slowly("15 seconds", "100 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 1 })
    }).pipe(
      Effect.scoped,
      Effect.provide(
        clientVia((request, response) =>
          isSlow && request.url.includes("/scheduled-jobs?") ? Effect.delay(response, "3 seconds") : response
        ).pipe(Layer.provideMerge(emulated()))
      )
    )
  })

  it.effect("removes a job from the store if another stack has reserved it", () =>
    Effect.gen(function* () {
      const client = yield* StacksClient.StacksClient
      const memory = yield* JobStore.makeMemory
      const [id = ""] = yield* addJobs(1)
      yield* client.registerStack({ key: "other", type: "custom", queueKey: "q" })
      yield* process(
        {
          ...memory,
          save: (key, jobs) =>
            Effect.andThen(
              Effect.orDie(client.batchReserveJobs({ stackKey: "other", jobUuids: jobs.map(({ job }) => job.id) })),
              memory.save(key, jobs)
            )
        },
        takes(0)
      )
      yield* slowly("2 seconds", "100 millis")
      assert.strictEqual((yield* jobOf(id)).reservedBy, "other")
      assert.isEmpty(yield* memory.load("s"))
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})

describe("A stack that detaches", () => {
  it.effect("stops at once, finishes and releases nothing, and stays registered", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const store = yield* JobStore.makeMemory
      const interrupted: Array<string> = []
      const [id = ""] = yield* addJobs(1)
      const first = yield* process(
        store,
        ({ job }) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted.push(job.id))),
        { onClose: "detach" }
      )
      yield* slowly("2 seconds", "100 millis")
      yield* first.end
      assert.deepStrictEqual(interrupted, [id])
      assert.lengthOf(yield* store.load("s"), 1)
      assert.strictEqual((yield* jobOf(id)).state, "reserved")
      assert.strictEqual(yield* countOf("finishJob"), 0)
      assert.lengthOf(yield* emulator.stacks, 1)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("leaves jobs that the next process starts before any others", () =>
    Effect.gen(function* () {
      const store = yield* JobStore.makeMemory
      const ids = yield* addJobs(2)
      const first = yield* process(store, () => Effect.never, { onClose: "detach", maxInFlight: 2 })
      yield* slowly("2 seconds", "100 millis")
      yield* first.end
      yield* addJobs(1, { priority: 10 })
      const started: Array<string> = []
      yield* process(
        store,
        ({ job }) =>
          Effect.as(
            Effect.sync(() => started.push(job.id)),
            done
          ),
        { maxInFlight: 2 }
      )
      yield* slowly("10 seconds", "100 millis")
      assert.sameMembers(started.slice(0, 2), Array.from(ids))
      assert.lengthOf(started, 3)
      assert.isEmpty(yield* store.load("s"))
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("calls a runner with outlivesStack again for a job that an agent has acquired", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const store = yield* JobStore.makeMemory
      const [id = ""] = yield* addJobs(1)
      let runs = 0
      const outliving = Effect.fnUntraced(function* () {
        const scope = yield* Scope.make()
        const layer = JobRunner.layer(
          ({ acquisitionToken, state }) =>
            Effect.gen(function* () {
              runs++
              if ((yield* state) === "reserved") yield* Effect.flatMap(acquisitionToken, emulator.acquireJob)
              while ((yield* state) === "running") yield* Effect.sleep("2 seconds")
              return JobRunner.AgentOwned
            }),
          { outlivesStack: true }
        )
        const stack = yield* Stack.make({ key: "s", queueKey: "q" }).pipe(
          Effect.provide(layer),
          Scope.provide(scope),
          Effect.provideService(JobStore.JobStore, store)
        )
        return { ...stack, end: within("1 minute", Scope.close(scope, Exit.void)) }
      })
      const first = yield* outliving()
      yield* slowly("3 seconds", "100 millis")
      assert.strictEqual((yield* jobOf(id)).state, "running")
      yield* first.end
      const second = yield* outliving()
      yield* slowly("5 seconds", "100 millis")
      assert.strictEqual(runs, 2)
      assert.lengthOf((yield* second.status).inFlight, 1)
      yield* emulator.completeJob(id, 0)
      yield* slowly("10 seconds", "100 millis")
      assert.isEmpty((yield* second.status).inFlight)
      assert.isEmpty(yield* store.load("s"))
      assert.strictEqual(yield* countOf("finishJob"), 0)
      yield* second.end
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("does not start a job that was canceled before the next process starts", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const store = yield* JobStore.makeMemory
      const [id = ""] = yield* addJobs(1)
      const first = yield* process(store, () => Effect.never, { onClose: "detach" })
      yield* slowly("2 seconds", "100 millis")
      yield* first.end
      yield* emulator.cancelJob(id)
      let starts = 0
      yield* process(store, () =>
        Effect.as(
          Effect.sync(() => starts++),
          done
        )
      )
      yield* slowly("5 seconds", "100 millis")
      assert.strictEqual(starts, 0)
      assert.isEmpty(yield* store.load("s"))
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})

describe("A process that crashes", () => {
  /** The request at which it crashes; whether the service acted on that request. */
  for (const isProcessed of [false, true]) {
    for (let crash = 1; crash <= 14; crash++) {
      it.effect(`at request ${crash}, ${isProcessed ? "its response" : "and the request"} lost, strands no job`, () =>
        Effect.gen(function* () {
          const memory = yield* JobStore.makeMemory
          yield* addJobs(4)
          let requests = 0
          let isDead = false
          const client = clientVia((_, response) =>
            Effect.suspend(() => {
              if (isDead) return Effect.never
              requests++
              if (requests < crash) return response
              isDead = true
              return isProcessed ? Effect.andThen(response, Effect.never) : Effect.never
            })
          )
          // A process that is dead writes nothing.
          const alive = <A, E>(effect: Effect.Effect<A, E>) => Effect.suspend(() => (isDead ? Effect.never : effect))
          const store: JobStore.Service = {
            load: memory.load,
            save: (key, jobs) => alive(memory.save(key, jobs)),
            remove: (key, ids) => alive(memory.remove(key, ids))
          }
          let running = 0
          let most = 0
          const run: Run = () =>
            Effect.suspend(() => {
              most = Math.max(most, ++running)
              return Effect.as(Effect.sleep("3 seconds"), done)
            }).pipe(Effect.ensuring(Effect.sync(() => void running--)))
          const options = { maxInFlight: 2, reservationExpiry: "2 minutes", stateInterval: "2 seconds" } as const
          const first = yield* Effect.forkChild(
            process(store, run, { ...options, onClose: "detach" }).pipe(Effect.provide(client))
          )
          for (let step = 0; step < 100 && !isDead; step++) yield* slowly("200 millis", "100 millis")
          assert.isTrue(isDead)
          const dead = first.pollUnsafe()
          if (dead === undefined) yield* within("1 minute", Fiber.interrupt(first))
          else if (Exit.isSuccess(dead)) yield* dead.value.end
          const next = yield* process(memory, run, options)
          yield* slowly("1 minute", "200 millis")
          assert.deepStrictEqual(yield* census, { "finished 0": 4 })
          assert.isEmpty(yield* memory.load("s"))
          assert.isAtMost(most, 2)
          assert.isEmpty((yield* next.status).inFlight)
          yield* next.end
        }).pipe(Effect.scoped, Effect.provide(emulated()))
      )
    }
  }
})
