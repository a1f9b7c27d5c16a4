/** A process that dies at any step of a job whose agent runs elsewhere: the next one goes on, and nothing is lost, doubled or left. */
import { assert, describe, it } from "@effect/vitest"
import { AgentProvider, JobRunner, JobStore, Stack, StacksClient } from "@stacksapi/core"
import { AgentProviderEmulator, StacksEmulator } from "@stacksapi/core/testing"
import { Context, Effect, Exit, type Fiber, Layer, Random, Scope } from "effect"
import { HttpClient } from "effect/http"
import { addJobs, census, emulated, slowly } from "../support/stacks.ts"

/** A process: from its death on, nothing that it sends arrives, and nothing that it is sent. */
class Process {
  isAlive = true
  /** Requests, calls of the provider and writes to the store. */
  steps = 0
  readonly #diesAt: number
  readonly #isProcessed: boolean
  fiber: Fiber.Fiber<unknown, unknown> | undefined

  /** `diesAt`: with which step. `isProcessed`: whether that step still takes effect. */
  constructor(diesAt: number, isProcessed: boolean) {
    this.#diesAt = diesAt
    this.#isProcessed = isProcessed
  }

  step<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend((): Effect.Effect<A, E, R> => {
      if (!this.isAlive) return Effect.never
      this.steps++
      if (this.steps !== this.#diesAt) {
        return Effect.flatMap(Effect.exit(effect), (exit): Effect.Effect<A, E> => (this.isAlive ? exit : Effect.never))
      }
      this.isAlive = false
      return this.#isProcessed ? Effect.andThen(Effect.exit(effect), Effect.never) : Effect.never
    })
  }
}

const runnerOptions: AgentProvider.RunnerOptions = { startDeadline: "1 minute", capacityTimeout: "10 minutes" }

/** Starts a stack in a process of its own. */
const begin = Effect.fnUntraced(function* (process: Process) {
  const { baseUrl, token } = yield* StacksEmulator.StacksEmulator
  const http = yield* HttpClient.HttpClient
  const provider = yield* AgentProvider.AgentProvider
  const store = yield* JobStore.JobStore
  const scope = yield* Scope.make()
  const client = yield* StacksClient.make({ baseUrl, token }).pipe(
    Effect.provideService(
      HttpClient.HttpClient,
      HttpClient.transform(http, (response) => process.step(response))
    )
  )
  const ownProvider: AgentProvider.Service = {
    create: (request) => process.step(provider.create(request)),
    list: (stackKey) => process.step(provider.list(stackKey)),
    delete: (agent, reason) => process.step(provider.delete(agent, reason))
  }
  const ownStore: JobStore.Service = {
    load: store.load,
    save: (stackKey, jobs) => process.step(store.save(stackKey, jobs)),
    remove: (stackKey, jobUuids) => process.step(store.remove(stackKey, jobUuids))
  }
  const runner = yield* AgentProvider.layerRunner(runnerOptions).pipe(
    Layer.provide(Layer.succeed(AgentProvider.AgentProvider, ownProvider)),
    Layer.buildWithScope(scope)
  )
  process.fiber = yield* Stack.make({
    key: "s",
    queueKey: "q",
    reservationExpiry: "15 minutes",
    requests: () => ({ cpus: 1 }),
    capacity: { cpus: 8 }
  }).pipe(
    Effect.provideService(StacksClient.StacksClient, client),
    Effect.provideService(JobRunner.JobRunner, Context.get(runner, JobRunner.JobRunner)),
    Effect.provideService(JobStore.JobStore, ownStore),
    Scope.provide(scope),
    Effect.forkDetach
  )
  return { close: Effect.forkDetach(Scope.close(scope, Exit.void)) }
})

const services = (options: AgentProviderEmulator.Options) =>
  StacksEmulator.layerHttpClient.pipe(
    Layer.provideMerge(AgentProviderEmulator.layer(options)),
    Layer.provideMerge(emulated()),
    Layer.provideMerge(JobStore.layerMemory)
  )

const left = Effect.flatMap(AgentProviderEmulator.AgentProviderEmulator, ({ agents }) => agents)
const made = Effect.map(
  Effect.flatMap(AgentProviderEmulator.AgentProviderEmulator, ({ calls }) => calls),
  ({ created }) => created
)

describe("A process that dies", () => {
  for (const isProcessed of [false, true]) {
    it.effect(
      `at any of its first 60 steps, ${isProcessed ? "after" : "before"} it takes effect, costs no job and leaves no agent`,
      () =>
        Effect.gen(function* () {
          let isDone = false
          for (let diesAt = 1; diesAt <= 60 && !isDone; diesAt++) {
            yield* Effect.gen(function* () {
              yield* addJobs(3)
              const first = new Process(diesAt, isProcessed)
              const dying = yield* begin(first)
              yield* slowly("20 seconds", "500 millis")
              isDone = first.isAlive
              yield* dying.close
              const next = new Process(Number.POSITIVE_INFINITY, true)
              const living = yield* begin(next)
              yield* slowly("2 minutes", "1 second")
              const at = `died at step ${diesAt}`
              assert.deepStrictEqual(yield* census, { "finished 0": 3 }, at)
              assert.isEmpty(yield* left, at)
              assert.strictEqual(yield* made, 3, at)
              yield* living.close
              yield* slowly("10 seconds", "1 second")
            }).pipe(Effect.scoped, Effect.provide(services({ bootTime: "3 seconds", runTime: () => "5 seconds" })))
          }
          assert.isTrue(isDone, "the process would have needed more steps")
        })
    )
  }

  for (let seed = 1; seed <= 12; seed++) {
    it.effect(`again and again, with a provider and a service that fail: every job ends once (seed ${seed})`, () =>
      Effect.gen(function* () {
        const service = yield* StacksEmulator.StacksEmulator
        const { agents, setCapacity, setFaults } = yield* AgentProviderEmulator.AgentProviderEmulator
        const jobs = yield* addJobs(25)
        let most = 0
        const troubled = Effect.gen(function* () {
          yield* setFaults([
            { kind: "Unavailable", rate: 0.1 },
            { kind: "LostResponse", rate: 0.1 },
            { kind: "NoCapacity", operations: ["create"], rate: 0.05 }
          ])
          yield* service.setFaults([
            StacksEmulator.Fault.Status({ status: 503, rate: 0.1 }),
            StacksEmulator.Fault.LostResponse({ rate: 0.05 })
          ])
        })
        yield* troubled
        for (let life = 0; life < 10; life++) {
          const process = new Process(5 + (yield* Random.nextIntBetween(0, 150)), (yield* Random.next) < 0.5)
          const living = yield* begin(process)
          for (let second = 0; second < 90 && process.isAlive; second++) {
            yield* slowly("1 second", "500 millis")
            most = Math.max(most, (yield* agents).length)
          }
          if (life % 3 === 0) yield* setCapacity({ agents: yield* Random.nextIntBetween(0, 8) })
          if (life % 3 === 1) yield* setCapacity({})
          process.isAlive = false
          yield* living.close
        }
        yield* setFaults([])
        yield* service.setFaults([])
        yield* setCapacity({})
        yield* begin(new Process(Number.POSITIVE_INFINITY, true))
        for (let minute = 0; minute < 40 && (yield* census)["finished 0"] !== jobs.length; minute++) {
          yield* slowly("1 minute", "1 second")
        }
        assert.deepStrictEqual(yield* census, { "finished 0": jobs.length })
        yield* slowly("2 minutes", "1 second")
        assert.isEmpty(yield* left)
        assert.isAtMost(most, 8)
      }).pipe(
        Effect.scoped,
        Effect.provide(
          services({
            bootTime: "5 seconds",
            runTime: () => "20 seconds"
          })
        ),
        Random.withSeed(`crashes ${seed}`)
      )
    )
  }
})
