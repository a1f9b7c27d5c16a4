/** How a stack reads the listings of a provider: at what time, and which of them count. */
import { assert, describe, it } from "@effect/vitest"
import { AgentProvider, JobStore, Stack } from "@stacksapi/core"
import { AgentProviderEmulator } from "@stacksapi/core/testing"
import { Clock, DateTime, Effect, Layer } from "effect"
import { addJobs, census, emulated, slowly } from "../support/stacks.ts"

const services = (options: AgentProviderEmulator.Options = {}) =>
  AgentProviderEmulator.layer(options).pipe(Layer.provideMerge(emulated()), Layer.provideMerge(JobStore.layerMemory))

/** A provider that lists an agent only when it has existed for a time. */
const listedAfter = (millis: number) =>
  Layer.effect(
    AgentProvider.AgentProvider,
    Effect.map(AgentProvider.AgentProvider, (provider) => ({
      ...provider,
      list: (stackKey: string) =>
        Effect.gen(function* () {
          const agents = yield* provider.list(stackKey)
          const now = yield* Clock.currentTimeMillis
          return agents.filter(
            ({ createdAt }) => createdAt === undefined || DateTime.toEpochMillis(createdAt) + millis <= now
          )
        })
    }))
  )

const begin = (options: AgentProvider.RunnerOptions = {}) =>
  Stack.make({ key: "s", queueKey: "q", onClose: "detach" }).pipe(Effect.provide(AgentProvider.layerRunner(options)))

describe("A stack whose provider", () => {
  it.effect("lists agents late lets an agent work that has acquired its job before it is listed", () =>
    Effect.gen(function* () {
      const { agents, calls } = yield* AgentProviderEmulator.AgentProviderEmulator
      yield* addJobs(3)
      yield* begin()
      yield* slowly("3 minutes", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 3 })
      assert.strictEqual((yield* calls).created, 3)
      assert.isEmpty(yield* agents)
    }).pipe(
      Effect.scoped,
      Effect.provide(
        listedAfter(20_000).pipe(Layer.provideMerge(services({ bootTime: "1 second", runTime: () => "1 minute" })))
      )
    )
  )

  it.effect("lists agents later than they end waits until the job is over", () =>
    Effect.gen(function* () {
      const { agents, calls } = yield* AgentProviderEmulator.AgentProviderEmulator
      yield* addJobs(3)
      yield* begin()
      yield* slowly("3 minutes", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 3 })
      assert.strictEqual((yield* calls).created, 3)
      assert.isEmpty(yield* agents)
    }).pipe(
      Effect.scoped,
      Effect.provide(listedAfter(40_000).pipe(Layer.provideMerge(services({ runTime: () => "5 seconds" }))))
    )
  )

  it.effect("responds at once lists its agents once per interval", () =>
    Effect.gen(function* () {
      const { calls } = yield* AgentProviderEmulator.AgentProviderEmulator
      yield* addJobs(3)
      yield* begin({ listInterval: "1 second" })
      yield* slowly("20 seconds", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 3 })
      assert.isAtMost((yield* calls).list, 21)
    }).pipe(Effect.scoped, Effect.provide(services({ callTime: 0 })))
  )
})
