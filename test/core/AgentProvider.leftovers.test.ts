/** Providers whose answers are late, wrong or incomplete: no agent is left behind, none that works is deleted, and jobs go on. */
import { assert, describe, it } from "@effect/vitest"
import { AgentProvider } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Exit } from "effect"
import { agents, begin, calls, emulator, services } from "../support/agentStacks.ts"
import { addJobs, census, jobOf, slowly, within } from "../support/stacks.ts"

describe("An agent", () => {
  it.effect("that does not end after its job is deleted within three minutes, and its slot is free", () =>
    Effect.gen(function* () {
      const service = yield* StacksEmulator.StacksEmulator
      const [first = "", second = ""] = yield* addJobs(2)
      yield* begin({}, { maxInFlight: 1 })
      yield* slowly("20 seconds", "500 millis")
      yield* service.completeJob(first)
      yield* slowly("30 seconds", "1 second")
      // It may still upload logs.
      assert.lengthOf(yield* agents, 1)
      yield* slowly("3 minutes", "1 second")
      assert.strictEqual((yield* jobOf(second)).state, "running")
      assert.lengthOf(yield* agents, 1)
    }).pipe(Effect.scoped, Effect.provide(services({ runTime: () => "1 day" })))
  )

  it.effect("that works is not deleted because one listing lacks it", () =>
    Effect.gen(function* () {
      let isIncomplete = false
      yield* addJobs(5)
      yield* begin({}, {}, ({ list }) => ({
        list: (key) => Effect.map(list(key), (all) => (isIncomplete ? [] : all))
      }))
      yield* slowly("20 seconds", "500 millis")
      isIncomplete = true
      yield* slowly("1 second", "100 millis")
      isIncomplete = false
      yield* slowly("30 seconds", "500 millis")
      assert.lengthOf(yield* agents, 5)
      yield* slowly("10 minutes", "1 second")
      assert.deepStrictEqual(yield* census, { "finished 0": 5 })
      assert.strictEqual((yield* calls).created, 5)
    }).pipe(Effect.scoped, Effect.provide(services({ runTime: () => "10 minutes" })))
  )

  it.effect("of an earlier process that still boots gets a new token", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      const options = { reservationExpiry: "5 minutes" } as const
      const first = yield* begin({ startDeadline: "2 hours" }, options)
      yield* slowly("20 seconds", "500 millis")
      yield* first.close
      yield* begin({ startDeadline: "2 hours" }, options)
      yield* slowly("15 minutes", "1 second")
      assert.strictEqual((yield* calls).created, 1)
      assert.deepStrictEqual(yield* census, { "finished 0": 1 })
    }).pipe(Effect.scoped, Effect.provide(services({ bootTime: "12 minutes" })))
  )

  it.effect("that waits for capacity is deleted when a drain releases its job", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* addJobs(1)
      const stack = yield* begin({}, { onClose: "drain" })
      yield* slowly("1 minute", "500 millis")
      assert.lengthOf(yield* agents, 1)
      yield* within("5 minutes", stack.drain)
      yield* stack.close
      yield* slowly("5 seconds", "500 millis")
      assert.strictEqual((yield* jobOf(id)).state, "scheduled")
      assert.isEmpty(yield* agents)
    }).pipe(Effect.scoped, Effect.provide(services({ capacity: { agents: 0 }, beyondCapacity: "pends" })))
  )

  it.effect("without a job's id does not keep the stack from reserving", () =>
    Effect.gen(function* () {
      yield* addJobs(3)
      const foreign: AgentProvider.Agent = { name: "made by hand", jobUuid: "", phase: "Running" }
      yield* begin({}, {}, ({ list }) => ({ list: (key) => Effect.map(list(key), (all) => [...all, foreign]) }))
      yield* slowly("1 minute", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 3 })
    }).pipe(Effect.scoped, Effect.provide(services()))
  )

  it.effect("that can't be deleted does not keep deleteAll from the others", () =>
    Effect.gen(function* () {
      yield* addJobs(10)
      const stack = yield* begin({}, { maxInFlight: 10 })
      yield* slowly("1 minute", "500 millis")
      yield* stack.close
      const provider = yield* AgentProvider.AgentProvider
      const [stuck] = yield* agents
      const failing: AgentProvider.Service = {
        ...provider,
        delete: (agent, reason) =>
          agent.name === stuck?.name
            ? Effect.fail(new AgentProvider.ProviderError({ reason: "Unavailable", message: "protected" }))
            : provider.delete(agent, reason)
      }
      const { exit } = yield* within(
        "10 minutes",
        Effect.provideService(AgentProvider.deleteAll("s", "for good"), AgentProvider.AgentProvider, failing)
      )
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual(
        (yield* agents).map(({ name }) => name),
        [stuck?.name]
      )
    }).pipe(Effect.scoped, Effect.provide(services({ runTime: () => "5 hours" })))
  )
})

describe("A provider that creates no agents for a while, but lists them", () => {
  it.effect("gets no more jobs meanwhile, and jobs go on later", () =>
    Effect.gen(function* () {
      const { setFaults } = yield* emulator
      yield* addJobs(1)
      yield* begin({}, { maxInFlight: 20 })
      yield* setFaults([{ kind: "Unavailable", operations: ["create"] }])
      yield* slowly("20 seconds", "500 millis")
      const later = yield* addJobs(20)
      yield* slowly("5 minutes", "500 millis")
      for (const id of later) assert.strictEqual((yield* jobOf(id)).state, "scheduled")
      yield* setFaults([])
      yield* slowly("3 minutes", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 21 })
    }).pipe(Effect.scoped, Effect.provide(services()))
  )
})
