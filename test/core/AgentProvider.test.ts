/** Agents that run elsewhere, created by a provider. */
import { assert, describe, it } from "@effect/vitest"
import { AgentProvider } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Exit, Layer } from "effect"
import { agents, begin, calls, emulator, services } from "../support/agentStacks.ts"
import { addJobs, census, jobOf, slowly, within } from "../support/stacks.ts"

describe("A stack whose agents run elsewhere", () => {
  it.effect("creates an agent for each job, and deletes it when the job is over", () =>
    Effect.gen(function* () {
      yield* addJobs(20)
      const stack = yield* begin()
      yield* slowly("30 seconds", "500 millis")
      yield* stack.awaitIdle
      assert.deepStrictEqual(yield* census, { "finished 0": 20 })
      assert.isEmpty(yield* agents)
      assert.strictEqual((yield* calls).created, 20)
      assert.strictEqual(stack.names().filter((name) => name === "AgentOwned").length, 20)
    }).pipe(Effect.scoped, Effect.provide(services()))
  )

  it.effect("lists once per interval for any number of jobs, and creates at most createConcurrency at once", () =>
    Effect.gen(function* () {
      yield* addJobs(100)
      yield* begin({ createConcurrency: 3 }, { maxInFlight: 100 })
      yield* slowly("20 seconds", "500 millis")
      const { created, list, mostCreates } = yield* calls
      assert.strictEqual(created, 100)
      assert.isAtMost(list, 21)
      assert.strictEqual(mostCreates, 3)
    }).pipe(Effect.scoped, Effect.provide(services({ runTime: () => "5 minutes" })))
  )

  it.effect("passes a new token, variables and labels to each create", () => {
    const requests: Array<AgentProvider.AgentRequest> = []
    return Effect.gen(function* () {
      const [id = ""] = yield* addJobs(1)
      yield* begin({ endpoint: "https://agents.example/v3/", tags: ["os=linux"] })
      yield* slowly("10 seconds", "500 millis")
      const [request] = requests
      assert(request !== undefined)
      const { BUILDKITE_AGENT_TOKEN, ...variables } = request.env
      assert.deepStrictEqual(variables, {
        BUILDKITE_AGENT_ACQUIRE_JOB: id,
        BUILDKITE_AGENT_ENDPOINT: "https://agents.example/v3/",
        BUILDKITE_AGENT_NAME: AgentProvider.nameOf("s", id),
        BUILDKITE_AGENT_TAGS: "queue=q,os=linux"
      })
      assert.strictEqual(String(BUILDKITE_AGENT_TOKEN), "<redacted>")
      assert.deepStrictEqual(request.labels, { "stacksapi-stack": "s", "stacksapi-queue": "q", "stacksapi-job": id })
      assert.match(request.name, /^[a-z0-9-]{1,63}$/)
      assert.deepStrictEqual(yield* census, { "finished 0": 1 })
    }).pipe(
      Effect.scoped,
      Effect.provide(
        services({
          behavior: (request) => {
            requests.push(request)
            return "works"
          }
        })
      )
    )
  })

  it.effect("makes no second agent if the response to create is lost", () =>
    Effect.gen(function* () {
      const { setFaults } = yield* emulator
      yield* setFaults([{ kind: "LostResponse", operations: ["create"], times: 3 }])
      yield* addJobs(5)
      yield* begin()
      yield* slowly("30 seconds", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 5 })
      const { create, created } = yield* calls
      assert.strictEqual(created, 5)
      assert.strictEqual(create, 5)
    }).pipe(Effect.scoped, Effect.provide(services({ runTime: () => "10 seconds" })))
  )

  it.effect("fails a job that the provider refuses, with the reason", () =>
    Effect.gen(function* () {
      const { setFaults } = yield* emulator
      yield* setFaults([{ kind: "Refused", operations: ["create"], times: 1 }])
      yield* addJobs(1)
      const stack = yield* begin()
      yield* slowly("10 seconds", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished -1": 1 })
      const failed = stack.events.find((event) => event._tag === "Failed")
      assert.match(failed?._tag === "Failed" ? failed.detail : "", /The provider refuses the agent: An emulated fault/)
    }).pipe(Effect.scoped, Effect.provide(services()))
  )

  it.effect("fails and reserves no job while the provider is unavailable", () =>
    Effect.gen(function* () {
      const { setFaults } = yield* emulator
      const [first = ""] = yield* addJobs(1)
      const stack = yield* begin()
      yield* slowly("1 second", "100 millis")
      yield* setFaults([{ kind: "Unavailable" }])
      yield* slowly("5 seconds", "500 millis")
      const later = yield* addJobs(5)
      yield* slowly("20 minutes", "5 seconds")
      for (const id of later) assert.strictEqual((yield* jobOf(id)).state, "scheduled")
      assert.notInclude(stack.names(), "Failed")
      yield* setFaults([])
      yield* slowly("2 minutes", "1 second")
      assert.deepStrictEqual(yield* census, { "finished 0": 6 })
      assert.strictEqual((yield* jobOf(first)).exitStatus, 0)
    }).pipe(Effect.scoped, Effect.provide(services()))
  )

  for (const kind of ["Unavailable", "Refused", "Stall"] as const) {
    it.effect(`says why it reserves nothing, if the provider's lists end as ${kind} from the start on`, () =>
      Effect.gen(function* () {
        const { setFaults } = yield* emulator
        yield* setFaults([{ kind, operations: ["list"] }])
        yield* addJobs(3)
        const stack = yield* begin()
        yield* slowly("40 seconds", "1 second")
        assert.deepStrictEqual(yield* census, { scheduled: 3 })
        const reason = kind === "Stall" ? "no list of agents within 30s" : `An emulated fault: ${kind}`
        assert.strictEqual((yield* stack.status).runnerUnavailable, reason)
        yield* setFaults([])
        yield* slowly("2 minutes", "1 second")
        assert.isUndefined((yield* stack.status).runnerUnavailable)
        assert.deepStrictEqual(yield* census, { "finished 0": 3 })
      }).pipe(Effect.scoped, Effect.provide(services()))
    )
  }

  it.effect(
    "deletes an agent that does not acquire its job by startDeadline, tries once more, then releases the job",
    () =>
      Effect.gen(function* () {
        const [id = ""] = yield* addJobs(1)
        const stack = yield* begin({ startDeadline: "2 minutes" })
        yield* slowly("3 minutes", "1 second")
        assert.strictEqual((yield* calls).created, 2)
        yield* slowly("2 minutes", "1 second")
        const released = stack.events.find((event) => event._tag === "Released")
        assert.match(released?._tag === "Released" ? released.reason : "", /No agent acquired the job within 2m/)
        const { notifications } = yield* StacksEmulator.StacksEmulator
        const told = (yield* notifications).filter(({ jobUuid }) => jobUuid === id).map(({ detail }) => detail)
        assert.isTrue(told.some((detail) => detail.includes("No agent acquired the job within 2m")))
      }).pipe(Effect.scoped, Effect.provide(services({ behavior: () => "hangs" })))
  )

  it.effect("says on the job's page why an agent failed that had acquired the job", () =>
    Effect.gen(function* () {
      const [failing = "", passing = ""] = yield* addJobs(2)
      yield* begin()
      yield* slowly("10 seconds", "500 millis")
      assert.strictEqual((yield* jobOf(failing)).state, "running")
      yield* (yield* emulator).crashAgent(AgentProvider.nameOf("s", failing))
      yield* slowly("2 minutes", "500 millis")
      const { notifications } = yield* StacksEmulator.StacksEmulator
      const told = (yield* notifications).map(({ detail, jobUuid }) => [jobUuid, detail])
      assert.deepStrictEqual(told, [[failing, "The agent failed: The machine crashed"]])
      assert.strictEqual((yield* jobOf(passing)).exitStatus, 0)
      assert.isEmpty(yield* agents)
    }).pipe(Effect.scoped, Effect.provide(services({ runTime: () => "1 minute" })))
  )

  it.effect("creates an agent again that failed to boot", () => {
    let boots = 0
    return Effect.gen(function* () {
      yield* addJobs(1)
      yield* begin()
      yield* slowly("20 seconds", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 1 })
      assert.strictEqual((yield* calls).created, 2)
    }).pipe(Effect.scoped, Effect.provide(services({ behavior: () => (boots++ === 0 ? "failsToBoot" : "works") })))
  })

  it.effect("deletes an agent that lives longer than maxLifetime", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      const stack = yield* begin({ maxLifetime: "10 minutes" })
      yield* slowly("9 minutes", "1 second")
      assert.lengthOf(yield* agents, 1)
      yield* slowly("2 minutes", "1 second")
      assert.isEmpty(yield* agents)
      assert.include(stack.names(), "AgentOwned")
    }).pipe(Effect.scoped, Effect.provide(services({ runTime: () => "1 hour" })))
  )

  it.effect("gives a new token to an agent that waits longer than its token is valid", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      yield* begin({ startDeadline: "1 hour" }, { reservationExpiry: "5 minutes" })
      yield* slowly("20 minutes", "1 second")
      assert.isAtLeast((yield* calls).refreshToken, 3)
      yield* slowly("12 minutes", "1 second")
      assert.deepStrictEqual(yield* census, { "finished 0": 1 })
    }).pipe(Effect.scoped, Effect.provide(services({ bootTime: "30 minutes" })))
  )

  it.effect("waits for the agent of a canceled job to end, and then deletes it", () =>
    Effect.gen(function* () {
      const service = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      const stack = yield* begin()
      yield* slowly("10 seconds", "500 millis")
      assert.strictEqual((yield* jobOf(id)).state, "running")
      yield* service.cancelJob(id)
      yield* slowly("20 seconds", "500 millis")
      assert.strictEqual((yield* jobOf(id)).state, "canceled")
      assert.include(stack.names(), "Canceled")
      assert.isEmpty(yield* agents)
    }).pipe(Effect.scoped, Effect.provide(services({ runTime: () => "1 hour" })))
  )

  it.effect("deletes the agent of a job at once if the job is canceled before it is acquired", () =>
    Effect.gen(function* () {
      const service = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      yield* begin()
      yield* slowly("5 seconds", "500 millis")
      assert.lengthOf(yield* agents, 1)
      yield* service.cancelJob(id)
      yield* slowly("15 seconds", "500 millis")
      assert.isEmpty(yield* agents)
    }).pipe(Effect.scoped, Effect.provide(services({ bootTime: "1 hour" })))
  )

  it.effect("keeps a job's slot and amounts until its agent is gone", () =>
    Effect.gen(function* () {
      yield* addJobs(4)
      yield* begin({}, { requests: () => ({ cpus: 4 }), capacity: { cpus: 8 } })
      yield* slowly("2 minutes", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 4 })
      assert.strictEqual((yield* calls).mostAgents, 2)
    }).pipe(Effect.scoped, Effect.provide(services({ deleteTime: "20 seconds" })))
  )

  for (const operation of ["delete", "list"] as const) {
    it.effect(`leaves no agent behind though ${operation} keeps failing for a while`, () =>
      Effect.gen(function* () {
        const { setFaults } = yield* emulator
        yield* setFaults([{ kind: "Unavailable", operations: [operation], rate: 0.7 }])
        yield* addJobs(10)
        yield* begin()
        yield* slowly("15 minutes", "2 seconds")
        assert.deepStrictEqual(yield* census, { "finished 0": 10 })
        assert.isEmpty(yield* agents)
        assert.strictEqual((yield* calls).created, 10)
      }).pipe(Effect.scoped, Effect.provide(services()))
    )
  }
})

describe("Without capacity", () => {
  it.effect("a job waits without a slot, says so on its page, and starts when there is capacity", () =>
    Effect.gen(function* () {
      const { setCapacity } = yield* emulator
      const [id = ""] = yield* addJobs(1)
      const stack = yield* begin({}, { maxInFlight: 1 })
      yield* slowly("1 minute", "500 millis")
      assert.strictEqual((yield* jobOf(id)).state, "reserved")
      const { backingOff, inFlight } = yield* stack.status
      assert.deepStrictEqual([backingOff, inFlight.length], [1, 0])
      const { notifications } = yield* StacksEmulator.StacksEmulator
      assert.isTrue((yield* notifications).some(({ detail }) => detail.startsWith("Waiting for an agent: ")))
      yield* setCapacity({})
      yield* slowly("1 minute", "500 millis")
      assert.strictEqual((yield* jobOf(id)).state, "finished")
    }).pipe(Effect.scoped, Effect.provide(services({ capacity: { agents: 0 } })))
  )

  it.effect("no more jobs with equal requests are reserved, but other jobs are", () =>
    Effect.gen(function* () {
      const large = yield* addJobs(10, { step: { key: "large" } })
      yield* begin(
        {},
        { maxInFlight: 3, requests: ({ step }): Record<string, number> => (step.key === "large" ? { gpus: 1 } : {}) }
      )
      yield* slowly("1 minute", "500 millis")
      const states = yield* Effect.forEach(large, (id) => Effect.map(jobOf(id), ({ state }) => state))
      assert.isAtMost(states.filter((state) => state === "reserved").length, 3)
      const small = yield* addJobs(5)
      yield* slowly("1 minute", "500 millis")
      for (const id of small) assert.strictEqual((yield* jobOf(id)).state, "finished")
    }).pipe(Effect.scoped, Effect.provide(services({ capacity: { amounts: { gpus: 0 } } })))
  )

  it.effect("no more equal jobs are reserved while agents of some work, and all jobs end", () =>
    Effect.gen(function* () {
      const { setCapacity } = yield* emulator
      yield* addJobs(40)
      const stack = yield* begin({ capacityTimeout: "1 hour" }, { maxInFlight: 10 })
      for (let minute = 0; minute < 4; minute++) {
        yield* slowly("1 minute", "1 second")
        assert.isAtMost((yield* stack.status).backingOff, 10)
      }
      assert.isAbove((yield* census)["finished 0"] ?? 0, 4)
      yield* setCapacity({})
      yield* slowly("5 minutes", "1 second")
      assert.deepStrictEqual(yield* census, { "finished 0": 40 })
    }).pipe(
      Effect.scoped,
      Effect.provide(services({ bootTime: "20 seconds", runTime: () => "30 seconds", capacity: { agents: 2 } }))
    )
  )

  it.effect("a job is released after capacityTimeout", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      const stack = yield* begin({ capacityTimeout: "2 minutes" })
      yield* slowly("110 seconds", "1 second")
      assert.notInclude(stack.names(), "Released")
      yield* slowly("1 minute", "1 second")
      assert.include(stack.names(), "Released")
    }).pipe(Effect.scoped, Effect.provide(services({ capacity: { agents: 0 } })))
  )

  it.effect("a pending agent stays, and runs its job when there is capacity", () =>
    Effect.gen(function* () {
      const { setCapacity } = yield* emulator
      const [id = ""] = yield* addJobs(1)
      const stack = yield* begin()
      yield* slowly("1 minute", "500 millis")
      assert.strictEqual((yield* stack.status).inFlight.length, 0)
      assert.lengthOf(yield* agents, 1)
      yield* setCapacity({})
      yield* slowly("1 minute", "500 millis")
      assert.strictEqual((yield* jobOf(id)).state, "finished")
      assert.strictEqual((yield* calls).created, 1)
      // No run watched it: the sweep finds it.
      yield* slowly("1 minute", "500 millis")
      assert.isEmpty(yield* agents)
    }).pipe(Effect.scoped, Effect.provide(services({ capacity: { agents: 0 }, beyondCapacity: "pends" })))
  )
})

describe("A provider that keeps reporting a problem", () => {
  it.effect("does not affect an agent that has acquired its job", () =>
    Effect.gen(function* () {
      const provider = yield* AgentProvider.AgentProvider
      let listings = 0
      const problem = new AgentProvider.ProviderError({ reason: "NoCapacity", message: "the scheduler is behind" })
      const late: AgentProvider.Service = {
        ...provider,
        list: (stackKey) =>
          Effect.map(provider.list(stackKey), (agents) => {
            listings++
            return agents.map((agent) => (agent.phase === "Running" ? { ...agent, problem } : agent))
          })
      }
      yield* addJobs(1)
      yield* begin().pipe(Effect.provideService(AgentProvider.AgentProvider, late))
      yield* slowly("3 minutes", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 1 })
      assert.isEmpty(yield* agents)
      assert.isAtMost(listings, 181)
    }).pipe(Effect.scoped, Effect.provide(services({ runTime: () => "1 minute" })))
  )
})

describe("The next process", () => {
  it.effect("continues with working agents, and creates none twice", () =>
    Effect.gen(function* () {
      yield* addJobs(10)
      const first = yield* begin()
      yield* slowly("30 seconds", "500 millis")
      assert.lengthOf(yield* agents, 10)
      yield* first.close
      assert.lengthOf(yield* agents, 10)
      assert.notInclude(first.names(), "Failed")
      yield* begin()
      yield* slowly("6 minutes", "1 second")
      assert.deepStrictEqual(yield* census, { "finished 0": 10 })
      assert.isEmpty(yield* agents)
      assert.strictEqual((yield* calls).created, 10)
    }).pipe(Effect.scoped, Effect.provide(services({ runTime: () => "5 minutes" })))
  )

  it.effect("continues with working agents of a process that was stopped while it drained", () =>
    Effect.gen(function* () {
      yield* addJobs(10)
      const first = yield* begin({}, { shutdownGrace: "1 hour" })
      yield* slowly("30 seconds", "500 millis")
      yield* Effect.forkChild(first.drain)
      yield* slowly("30 seconds", "500 millis")
      yield* first.close
      assert.lengthOf(yield* agents, 10)
      assert.strictEqual(first.names().filter((name) => name === "Stopped").length, 1)
      yield* begin()
      yield* slowly("6 minutes", "1 second")
      assert.deepStrictEqual(yield* census, { "finished 0": 10 })
      assert.strictEqual((yield* calls).created, 10)
    }).pipe(Effect.scoped, Effect.provide(services({ runTime: () => "5 minutes" })))
  )

  it.effect("starts jobs that the last process had reserved, without waiting for reservations to lapse", () =>
    Effect.gen(function* () {
      const { setFaults } = yield* emulator
      yield* addJobs(5)
      yield* setFaults([{ kind: "Stall", operations: ["create"] }])
      const first = yield* begin()
      yield* slowly("10 seconds", "500 millis")
      yield* first.close
      yield* setFaults([])
      yield* begin()
      yield* slowly("15 seconds", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 5 })
    }).pipe(Effect.scoped, Effect.provide(services()))
  )

  it.effect("deletes agents whose jobs ended in the meantime", () =>
    Effect.gen(function* () {
      yield* addJobs(3)
      const first = yield* begin()
      yield* slowly("20 seconds", "500 millis")
      yield* first.close
      // The jobs end while no process is there.
      yield* slowly("2 minutes", "1 second")
      yield* begin()
      yield* slowly("3 minutes", "1 second")
      assert.isEmpty(yield* agents)
      assert.deepStrictEqual(yield* census, { "finished 0": 3 })
    }).pipe(Effect.scoped, Effect.provide(services({ runTime: () => "1 minute" })))
  )

  it.effect("waits for the capacity of agents whose jobs ended in the meantime", () =>
    Effect.gen(function* () {
      yield* addJobs(4)
      const options = { requests: () => ({ cpus: 4 }), capacity: { cpus: 8 } }
      const first = yield* begin({}, options)
      yield* slowly("20 seconds", "500 millis")
      assert.lengthOf(yield* agents, 2)
      yield* first.close
      // The jobs end while no process is there. Their agents stay.
      yield* slowly("2 minutes", "1 second")
      yield* begin({}, options)
      yield* slowly("4 minutes", "1 second")
      assert.deepStrictEqual(yield* census, { "finished 0": 4 })
      assert.isEmpty(yield* agents)
      const { create, created } = yield* calls
      assert.strictEqual(created, 4)
      assert.strictEqual(create, 4)
    }).pipe(
      Effect.scoped,
      Effect.provide(
        services({ runTime: () => "1 minute", deleteTime: "10 seconds", capacity: { amounts: { cpus: 8 } } })
      )
    )
  )

  it.effect("deletes all agents with deleteAll", () =>
    Effect.gen(function* () {
      yield* addJobs(5)
      const first = yield* begin()
      yield* slowly("20 seconds", "500 millis")
      yield* first.close
      assert.lengthOf(yield* agents, 5)
      const { exit } = yield* within("1 minute", AgentProvider.deleteAll("s", "the machine is given back"))
      assert.isTrue(Exit.isSuccess(exit))
      assert.isEmpty(yield* agents)
    }).pipe(Effect.scoped, Effect.provide(services({ runTime: () => "1 hour" })))
  )
})

describe("The options of the runner", () => {
  for (const [option, value] of [
    ["startDeadline", 0],
    ["maxLifetime", -1],
    ["cancelGrace", Number.NaN],
    ["capacityTimeout", -1],
    ["listInterval", "10 millis"],
    ["createConcurrency", 0],
    ["endpoint", "nowhere"],
    ["tags", [""]]
  ] as const) {
    it.effect(`refuse an impossible ${option}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(
          Effect.scoped(Layer.build(AgentProvider.layerRunner({ [option]: value } as AgentProvider.RunnerOptions)))
        )
        assert.strictEqual(error._tag === "InvalidOptions" ? error.option : error._tag, option)
      }).pipe(Effect.scoped, Effect.provide(services()))
    )
  }
})
