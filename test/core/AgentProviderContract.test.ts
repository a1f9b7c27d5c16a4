/** The contract of providers holds for the emulator, and catches providers that break it. */
import { assert, describe, it } from "@effect/vitest"
import { AgentProvider } from "@stacksapi/core"
import { AgentProviderContract, AgentProviderEmulator } from "@stacksapi/core/testing"
import { Cause, DateTime, Effect, Exit, Layer, Redacted, Stream } from "effect"
import { emulated, within } from "../support/stacks.ts"

const emulator = (options: AgentProviderEmulator.Options = {}) =>
  AgentProviderEmulator.layer(options).pipe(Layer.provideMerge(emulated()))

/** How a case ends, with time that passes by itself. */
const check = (cases: ReturnType<typeof AgentProviderContract.cases>, rule: string) =>
  Effect.map(within("1 hour", cases[rule] ?? Effect.die(`no rule ${rule}`), "100 millis"), ({ exit }) => exit)

/** An agent that has a name and a job, and nothing else. */
const agentOf = ({ job, name }: AgentProvider.AgentRequest): AgentProvider.Agent => ({
  name,
  jobUuid: job.id,
  phase: "Running"
})

describe("The contract of providers", () => {
  const options: AgentProviderContract.Options = { endedWithin: "10 seconds" }

  for (const [kind, settings] of Object.entries({
    "the emulator": { hasChanges: true },
    "an emulator that is slow": { callTime: "5 seconds", bootTime: "1 minute", deleteTime: "20 seconds" },
    "an emulator without room, whose agents pend": { capacity: { agents: 2 }, beyondCapacity: "pends" }
  } satisfies Record<string, AgentProviderEmulator.Options>)) {
    const isQuick = kind === "the emulator"
    for (const rule of Object.keys(AgentProviderContract.cases(isQuick ? options : {}))) {
      it.effect(`holds for ${kind}: ${rule}`, () =>
        Effect.gen(function* () {
          const exit = yield* check(AgentProviderContract.cases(isQuick ? options : {}), rule)
          if (Exit.isFailure(exit)) assert.fail(Cause.pretty(exit.cause))
          const { agents } = yield* AgentProviderEmulator.AgentProviderEmulator
          assert.isEmpty(yield* agents)
        }).pipe(Effect.provide(emulator(settings)))
      )
    }
  }

  it.effect("passes if calls fail temporarily", () =>
    Effect.gen(function* () {
      const { setFaults } = yield* AgentProviderEmulator.AgentProviderEmulator
      yield* setFaults([
        { kind: "Unavailable", rate: 0.2 },
        { kind: "LostResponse", rate: 0.2 }
      ])
      const cases = AgentProviderContract.cases(options)
      for (const rule of Object.keys(cases)) {
        const exit = yield* check(cases, rule)
        if (Exit.isFailure(exit)) assert.fail(Cause.pretty(exit.cause))
      }
    }).pipe(Effect.provide(emulator({ hasChanges: true })))
  )

  it.effect("checks the agents that another process sees", () =>
    Effect.gen(function* () {
      const provider = yield* AgentProvider.AgentProvider
      const cases = AgentProviderContract.cases({
        otherProcess: Layer.succeed(AgentProvider.AgentProvider, { ...provider })
      })
      const [rule = ""] = Object.keys(cases).filter((name) => name.includes("another process"))
      assert.isTrue(Exit.isSuccess(yield* check(cases, rule)))
    }).pipe(Effect.provide(emulator()))
  )

  it.effect("names an invalid option", () =>
    Effect.gen(function* () {
      const [first = Effect.void] = Object.values(AgentProviderContract.cases({ pollInterval: 0 }))
      const error = yield* Effect.flip(first)
      assert.strictEqual(error._tag === "InvalidOptions" ? error.option : error._tag, "pollInterval")
    }).pipe(Effect.provide(emulator()))
  )
})

// -----------------------------------------------------------------------------
// Providers that are wrong
// -----------------------------------------------------------------------------

/** A provider over the emulated one, with a mistake. */
type Mistake = (right: AgentProvider.Service) => AgentProvider.Service

interface Wrong {
  readonly mistake: Mistake
  /** A part of the rule that has to be found broken, and how. */
  readonly rule: string
  readonly how: RegExp
  readonly options?: AgentProviderContract.Options
}

const refused = (message: string) => new AgentProvider.ProviderError({ reason: "Refused", message })

/** A place that knows its agents by a key of the request, and does what it is told at once. */
const place = (
  keyOf: (request: AgentProvider.AgentRequest) => string,
  change: (agents: Map<string, AgentProvider.AgentRequest>) => Partial<AgentProvider.Service> = () => ({})
): Mistake => {
  return () => {
    const agents = new Map<string, AgentProvider.AgentRequest>()
    return {
      create: (request) =>
        Effect.sync(() => {
          if (!agents.has(keyOf(request))) agents.set(keyOf(request), request)
        }),
      list: (stackKey) =>
        Effect.sync(() =>
          Array.from(agents.values())
            .filter((it) => it.stackKey === stackKey)
            .map(agentOf)
        ),
      delete: ({ name }) =>
        Effect.sync(() => {
          for (const [key, request] of agents) if (request.name === name) agents.delete(key)
        }),
      ...change(agents)
    }
  }
}

let created = 0

const wrong: Record<string, Wrong> = {
  "makes an agent for every create": {
    mistake: place(() => String(created++)),
    rule: "create: succeeds if the agent is there",
    how: /list has two agents of one name/
  },
  "looks before it creates, and makes two where two look at once": {
    mistake: place(
      () => String(created++),
      (agents) => ({
        create: (request) =>
          Effect.suspend(() =>
            Array.from(agents.values()).some(({ name }) => name === request.name)
              ? Effect.void
              : Effect.delay(
                  Effect.sync(() => void agents.set(String(created++), request)),
                  "1 second"
                )
          )
      })
    ),
    rule: "create: makes one agent, however many",
    how: /two agents of one name/
  },
  "fails where the agent is there": {
    mistake: (right) => {
      const names = new Set<string>()
      return {
        ...right,
        create: (request) =>
          names.has(request.name)
            ? Effect.fail(refused("409 Conflict"))
            : Effect.andThen(
                Effect.sync(() => names.add(request.name)),
                right.create(request)
              )
      }
    },
    rule: "create: succeeds if the agent is there",
    how: /create failed unexpectedly: Refused: 409 Conflict/
  },
  "never lists": {
    mistake: (right) => ({ ...right, list: () => Effect.succeed([]) }),
    rule: "create: the agent is listed",
    how: /a created agent was not listed within 30s/
  },
  "lists another name": {
    mistake: (right) => ({
      ...right,
      list: (stackKey) =>
        Effect.map(right.list(stackKey), (all) => all.map((agent) => ({ ...agent, name: `vm-${agent.name}` })))
    }),
    rule: "create: the agent is listed",
    how: /an agent that nobody created: vm-agent-/
  },
  "tells job ids apart only in lower case": {
    mistake: (right) => ({
      ...right,
      list: (stackKey) =>
        Effect.map(right.list(stackKey), (all) =>
          all.map((agent) => ({ ...agent, jobUuid: agent.jobUuid.toLowerCase() }))
        )
    }),
    rule: "create: works for job ids with any characters",
    how: /the agent of job "JOB" is listed with the job "job"/
  },
  "does not take odd characters": {
    mistake: (right) => ({
      ...right,
      create: (request) =>
        /^[\w-]+$/.test(request.job.id) ? right.create(request) : Effect.fail(refused("a label must be plain"))
    }),
    rule: "create: works for job ids with any characters",
    how: /Refused: a label must be plain/
  },
  "lists the agents of all stacks": {
    mistake: place(
      ({ name }) => name,
      (agents) => ({
        list: () => Effect.sync(() => Array.from(agents.values(), agentOf))
      })
    ),
    rule: "list: has only the agents of the stack",
    how: /has an agent of the stack/
  },
  "finds agents by the beginning of the stack's key": {
    mistake: place(
      ({ name }) => name,
      (agents) => ({
        list: (stackKey) =>
          Effect.sync(() =>
            Array.from(agents.values())
              .filter((it) => it.stackKey.startsWith(stackKey))
              .map(agentOf)
          )
      })
    ),
    rule: "list: has only the agents of the stack",
    how: /has an agent of the stack/
  },
  "cuts the stack's key to what a label takes": {
    mistake: place(
      ({ name }) => name,
      (agents) => ({
        list: (stackKey) =>
          Effect.sync(() =>
            Array.from(agents.values())
              .filter((it) => it.stackKey.slice(0, 63) === stackKey.slice(0, 63))
              .map(agentOf)
          )
      })
    ),
    rule: "list: has only the agents of the stack",
    how: /has an agent of the stack/
  },
  "forgets agents that have ended": {
    mistake: (right) => ({
      ...right,
      list: (stackKey) =>
        Effect.map(right.list(stackKey), (all) => all.filter(({ phase }) => phase === "Pending" || phase === "Running"))
    }),
    rule: "list: has an agent that has ended",
    how: /an agent that ended is not listed any more/,
    options: { endedWithin: "10 seconds" }
  },
  "does not delete": {
    mistake: (right) => ({ ...right, delete: () => Effect.void }),
    rule: "delete: the agent goes away",
    how: /a deleted agent was not gone within 30s/
  },
  "fails to delete what is gone": {
    mistake: place(
      ({ name }) => name,
      (agents) => ({
        delete: ({ name }) =>
          Effect.suspend(() => (agents.delete(name) ? Effect.void : Effect.fail(refused("404 Not Found"))))
      })
    ),
    rule: "delete: succeeds if the agent is gone",
    how: /delete failed unexpectedly: Refused: 404 Not Found/
  },
  "deletes all agents of a job, whichever stack has them": {
    mistake: place(
      ({ name }) => name,
      (agents) => ({
        delete: ({ jobUuid }) =>
          Effect.sync(() => {
            for (const [key, { job }] of agents) if (job.id === jobUuid) agents.delete(key)
          })
      })
    ),
    rule: "delete: leaves other agents alone",
    how: /is gone, too/
  },
  "goes on creating when it is interrupted": {
    mistake: (right) => ({
      ...right,
      create: (request) => Effect.asVoid(Effect.forkDetach(Effect.delay(right.create(request), "500 millis")))
    }),
    rule: "create: may be interrupted at any moment",
    how: /is there after its deletion|was not gone/
  },
  "never makes a name twice": {
    mistake: (right) => {
      const used = new Set<string>()
      return {
        ...right,
        create: (request) =>
          Effect.suspend(() => {
            if (used.has(request.name)) return Effect.void
            used.add(request.name)
            return right.create(request)
          })
      }
    },
    rule: "create: works again for an agent that was deleted",
    how: /a created agent was not listed/
  },
  "dies instead of failing": {
    mistake: (right) => ({
      ...right,
      create: () => {
        throw new TypeError("fetch failed")
      }
    }),
    rule: "create: the agent is listed",
    how: /create died instead of failing with a ProviderError/
  },
  "never answers": {
    mistake: (right) => ({ ...right, list: () => Effect.never }),
    rule: "create: the agent is listed",
    how: /list did not end within 1m/
  },
  "has trouble without end": {
    mistake: (right) => ({
      ...right,
      create: () => Effect.fail(new AgentProvider.ProviderError({ reason: "Unavailable", message: "503" }))
    }),
    rule: "create: the agent is listed",
    how: /Unavailable: 503/
  },
  "shows the token": {
    mistake: place(
      ({ name }) => name,
      (agents) => ({
        list: (stackKey) =>
          Effect.sync(() =>
            Array.from(agents.values())
              .filter((it) => it.stackKey === stackKey)
              .map((it) => ({ ...agentOf(it), message: `BUILDKITE_AGENT_TOKEN=${Redacted.value(it.token)}` }))
          )
      })
    ),
    rule: "create: the agent is listed",
    how: /shows the token/
  },
  "changes annotations": {
    mistake: (right) => ({
      ...right,
      list: (stackKey) => Effect.map(right.list(stackKey), (all) => all.map((agent) => ({ ...agent, annotations: {} })))
    }),
    rule: "create: the agent is listed",
    how: /the annotation stacksapi\/build is "undefined" in the listing, and was "contract#1"/
  },
  "invents a phase": {
    mistake: (right) => ({
      ...right,
      list: (stackKey) =>
        Effect.map(right.list(stackKey), (all) =>
          all.map((agent) => ({ ...agent, phase: "booting" as AgentProvider.Agent["phase"] }))
        )
    }),
    rule: "create: the agent is listed",
    how: /an agent is listed with the phase "booting"/
  },
  "tells the time of the listing as the time of creation": {
    mistake: (right) => ({
      ...right,
      list: (stackKey) =>
        Effect.gen(function* () {
          const createdAt = yield* DateTime.now
          return (yield* right.list(stackKey)).map((agent) => ({ ...agent, createdAt }))
        })
    }),
    rule: "list: tells the time of creation",
    how: /it was .* at first, and then/
  },
  "keeps its agents in its memory": {
    mistake: (right) => right,
    rule: "another process",
    how: /another process does not list the agent/,
    options: {
      otherProcess: Layer.succeed(AgentProvider.AgentProvider, place(({ name }) => name)({} as AgentProvider.Service))
    }
  },
  "creates again to give a new token": {
    mistake: place(
      () => String(created++),
      (agents) => ({
        refreshToken: ({ jobUuid }) =>
          Effect.sync(() => {
            const agent = Array.from(agents.values()).find(({ job }) => job.id === jobUuid)
            if (agent !== undefined) agents.set(String(created++), agent)
          })
      })
    ),
    rule: "refreshToken",
    how: /two agents of one name/
  },
  "tells of changes of all stacks": {
    mistake: (right) => ({
      ...right,
      changes: (stackKey) =>
        Stream.merge(right.changes?.(stackKey) ?? Stream.never, right.changes?.(`${stackKey}-2`) ?? Stream.never)
    }),
    rule: "changes",
    how: /which is not the stack's/
  },
  "tells of no change": {
    mistake: (right) => ({ ...right, changes: () => Stream.never }),
    rule: "changes",
    how: /no change was told/
  },
  "can't read logs": {
    mistake: (right) => ({ ...right, logs: () => Stream.fail(refused("no logs here")) }),
    rule: "logs",
    how: /no logs here/
  }
}

describe("The contract of providers catches one that", () => {
  for (const [name, { how, mistake, options, rule }] of Object.entries(wrong)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const provider = mistake(yield* AgentProvider.AgentProvider)
        const cases = AgentProviderContract.cases(options)
        const [found = ""] = Object.keys(cases).filter((it) => it.includes(rule))
        const exit = yield* check(cases, found).pipe(Effect.provideService(AgentProvider.AgentProvider, provider))
        assert(Exit.isFailure(exit), "the contract found nothing")
        const violation = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
        assert(violation?._tag === "ContractViolation", Cause.pretty(exit.cause))
        assert.strictEqual(violation.rule, found)
        assert.match(violation.how, how)
        assert.strictEqual(violation.message, `${violation.rule}: ${violation.how}`)
      }).pipe(Effect.provide(emulator({ hasChanges: true, runTime: () => "1 hour" })))
    )
  }
})
