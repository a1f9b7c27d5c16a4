/** The rules of an `AgentProvider`, each with a case that checks it. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as AgentProvider from "../../AgentProvider.ts"
import { agentName } from "../agentProvider/agentName.ts"
import { type Broken, broken, type Subject } from "./subject.ts"

type Case = (subject: Subject) => Effect.Effect<void, Broken>

/** Job ids that a stack may pass to a provider: at most 100 characters without control characters. */
const oddIds: ReadonlyArray<string> = [
  "job",
  "JOB",
  "a/b\\c d",
  "..job",
  "-job-",
  `"quoted" & <marked> $HOME %2F`,
  "jöb-日本-🚀",
  `${"x".repeat(99)}1`,
  `${"x".repeat(99)}2`
]

const isEnded = ({ phase }: AgentProvider.Agent): boolean => phase === "Succeeded" || phase === "Failed"

/** Creates the same agent several times, and counts how many are listed. */
const createsOne = (times: number, concurrency: number): Case =>
  Effect.fnUntraced(function* (subject) {
    const request = yield* subject.request()
    yield* Effect.forEach(
      Array.from({ length: times }, () => request),
      subject.create,
      { concurrency, discard: true }
    )
    yield* subject.awaitListed(request)
    // A second agent may appear in a later listing than the first.
    yield* Effect.sleep(subject.settings.pollInterval)
    const { length } = yield* subject.list()
    if (length !== 1) return yield* broken(`there are ${length} agents after ${times} calls of create`)
  })

export const rules: Readonly<Record<string, Case>> = {
  "create: the agent is listed with its name, its job and its phase": Effect.fnUntraced(function* (subject) {
    yield* subject.created(yield* subject.request())
  }),

  "create: agents of different jobs are all created, also at the same moment": Effect.fnUntraced(function* (subject) {
    const requests = yield* Effect.replicateEffect(subject.request(), 4)
    yield* Effect.forEach(requests, subject.create, { concurrency: "unbounded", discard: true })
    yield* Effect.forEach(requests, subject.awaitListed, { discard: true })
  }),

  "create: succeeds if the agent is there, and makes no second one": createsOne(3, 1),

  "create: makes one agent, however many calls come at the same moment": createsOne(4, 4),

  "create: works again for an agent that was deleted": Effect.fnUntraced(function* (subject) {
    const request = yield* subject.request()
    yield* subject.created(request)
    yield* subject.delete(request)
    yield* subject.awaitGone(request)
    yield* subject.created(request)
  }),

  "create: may be interrupted at any moment, and leaves nothing that delete can't remove": Effect.fnUntraced(
    function* (subject) {
      for (const millis of [0, 1, 10, 100, 1000]) {
        const request = yield* subject.request()
        const creating = yield* Effect.forkChild(subject.create(request), { startImmediately: true })
        yield* Effect.sleep(millis)
        yield* Fiber.interrupt(creating)
        yield* subject.delete(request)
        yield* subject.awaitGone(request)
        yield* Effect.sleep(subject.settings.pollInterval)
        if ((yield* subject.list()).length > 0) {
          return yield* broken(`an agent whose creation was interrupted after ${millis} ms is there after its deletion`)
        }
      }
    }
  ),

  "create: works for job ids with any characters, and tells them apart": Effect.fnUntraced(function* (subject) {
    const requests = yield* Effect.forEach(oddIds, (id) => subject.request({ id }))
    yield* Effect.forEach(requests, subject.create, { concurrency: 4, discard: true })
    yield* Effect.forEach(requests, subject.awaitListed, { discard: true })
  }),

  "list: has nothing of a stack without agents": Effect.fnUntraced(function* (subject) {
    yield* subject.created(yield* subject.request())
    yield* subject.list(`${subject.stackKey}-nobody`)
  }),

  "list: has only the agents of the stack, however alike the keys are": Effect.fnUntraced(function* (subject) {
    const long = `${subject.stackKey}-`.padEnd(79, "x")
    const keys = [
      subject.stackKey,
      `${subject.stackKey}-2`,
      `${subject.stackKey}_2`,
      `${long}1`,
      `${long}2`,
      `${long}A`
    ]
    const requests = yield* Effect.forEach([...keys, `${long}a`], (stackKey) =>
      subject.request({ id: "job", stackKey })
    )
    yield* Effect.forEach(requests, subject.create, { concurrency: 4, discard: true })
    yield* Effect.forEach(requests, subject.awaitListed, { discard: true })
  }),

  "list: several calls may run at the same moment": Effect.fnUntraced(function* (subject) {
    yield* subject.created(yield* subject.request())
    const counts = yield* Effect.replicateEffect(subject.list(), 4, { concurrency: 4 })
    const lacking = counts.find(({ length }) => length !== 1)
    if (lacking !== undefined) return yield* broken(`one of four listings has ${lacking.length} agents instead of 1`)
  }),

  "list: tells the time of creation, if it does, as it was": Effect.fnUntraced(function* (subject) {
    const before = yield* DateTime.now
    const request = yield* subject.request()
    const first = (yield* subject.created(request)).createdAt
    yield* Effect.sleep(Duration.max(subject.settings.pollInterval, Duration.seconds(1)))
    const second = (yield* subject.awaitListed(request)).createdAt
    if (first === undefined || second === undefined) return
    if (DateTime.toEpochMillis(first) !== DateTime.toEpochMillis(second)) {
      return yield* broken(`it was ${DateTime.formatIso(first)} at first, and then ${DateTime.formatIso(second)}`)
    }
    const skew = Math.abs(DateTime.toEpochMillis(first) - DateTime.toEpochMillis(before))
    const most = Duration.sum(Duration.minutes(5), subject.settings.listedWithin)
    if (skew > Duration.toMillis(most)) {
      return yield* broken(
        `it is ${DateTime.formatIso(first)}, and the agent was created at ${DateTime.formatIso(before)}`
      )
    }
  }),

  "delete: the agent goes away": Effect.fnUntraced(function* (subject) {
    const request = yield* subject.request()
    yield* subject.created(request)
    yield* subject.delete(request)
    yield* subject.awaitGone(request)
  }),

  "delete: succeeds if the agent is gone, or never was": Effect.fnUntraced(function* (subject) {
    const request = yield* subject.request()
    yield* subject.delete(request)
    yield* subject.created(request)
    yield* subject.delete(request)
    yield* subject.delete(request)
    yield* subject.awaitGone(request)
    yield* subject.delete(request)
  }),

  "delete: may be called at the same moment by several": Effect.fnUntraced(function* (subject) {
    const request = yield* subject.request()
    yield* subject.created(request)
    yield* Effect.replicateEffect(subject.delete(request), 4, { concurrency: 4, discard: true })
    yield* subject.awaitGone(request)
  }),

  "delete: leaves other agents alone": Effect.fnUntraced(function* (subject) {
    const other = `${subject.stackKey}-2`
    const requests = yield* Effect.all([
      subject.request({ id: "job-1" }),
      subject.request({ id: "job-11" }),
      subject.request({ id: "job-1", stackKey: other })
    ])
    yield* Effect.forEach(requests, subject.created, { discard: true })
    yield* subject.delete(requests[0])
    yield* subject.awaitGone(requests[0])
    for (const kept of [requests[1], requests[2]]) {
      const { stackKey } = kept
      if (!(yield* subject.list(stackKey)).some(({ name }) => name === kept.name)) {
        return yield* broken(`the agent of job "${kept.job.id}" of the stack ${stackKey} is gone, too`)
      }
    }
  })
}

/** The rules for providers whose agents end without a job, within a known time. */
export const endRules = (endedWithin: Duration.Duration): Readonly<Record<string, Case>> => ({
  "list: has an agent that has ended, as Succeeded or Failed, until it is deleted": Effect.fnUntraced(
    function* (subject) {
      const request = yield* subject.request()
      yield* subject.created(request)
      const ended = subject.eventually(
        endedWithin,
        Effect.flatMap(subject.list(), ([agent]) => {
          if (agent === undefined) return broken("an agent that ended is not listed any more")
          return Effect.succeed(isEnded(agent) ? true : undefined)
        }),
        "an agent without a valid token has not ended"
      )
      yield* ended
      yield* Effect.sleep(subject.settings.pollInterval)
      yield* ended
      yield* subject.delete(request)
      yield* subject.awaitGone(request)
    }
  )
})

/** The rules for a second process. */
export const otherProcessRules = (
  other: Effect.Effect<AgentProvider.Service, Broken, Scope.Scope>
): Readonly<Record<string, Case>> => ({
  "list: has the agents that another process created, which delete removes": Effect.fnUntraced(function* (subject) {
    const request = yield* subject.request()
    yield* subject.created(request)
    const next = yield* other
    const agents = yield* subject.call("list of another process", () => next.list(subject.stackKey))
    if (!agents.some(({ jobUuid, name }) => name === request.name && jobUuid === request.job.id)) {
      return yield* broken("another process does not list the agent")
    }
    yield* subject.call("create of another process", () => next.create(request))
    const { length } = yield* subject.list()
    if (length !== 1) return yield* broken(`there are ${length} agents after a create of another process`)
    yield* subject.call("delete of another process", () =>
      next.delete(
        { stackKey: subject.stackKey, jobUuid: request.job.id, name: request.name },
        "the contract is checked"
      )
    )
    yield* subject.awaitGone(request)
  }, Effect.scoped)
})

/** The rules for optional functions. They pass if the provider does not have the function. */
export const optionalRules: Readonly<Record<string, Case>> = {
  "refreshToken: succeeds for an agent that is there, and makes no second one": Effect.fnUntraced(function* (subject) {
    const { refreshToken } = subject.provider
    if (refreshToken === undefined) return
    const request = yield* subject.request()
    const agent = yield* subject.created(request)
    if (isEnded(agent)) return
    yield* subject.call("refreshToken", () => refreshToken(agent, Redacted.make("bkjat_contract_second")))
    const { length } = yield* subject.list()
    if (length !== 1) return yield* broken(`there are ${length} agents after refreshToken`)
  }),

  "logs: can be read of an agent that is there, and stopped": Effect.fnUntraced(function* (subject) {
    const { logs } = subject.provider
    if (logs === undefined) return
    const request = yield* subject.request()
    yield* subject.created(request)
    const ref: AgentProvider.AgentRef = { stackKey: subject.stackKey, jobUuid: request.job.id, name: request.name }
    yield* subject.call("logs", () =>
      Stream.runForEach(logs(ref), (bytes) =>
        bytes instanceof Uint8Array ? Effect.void : Effect.die(new Error("logs gives something else than bytes"))
      ).pipe(Effect.timeoutOption(subject.settings.pollInterval))
    )
  }),

  "changes: tells of an agent of the stack, and of no other stack's": Effect.fnUntraced(function* (subject) {
    const { changes } = subject.provider
    if (changes === undefined) return
    const request = yield* subject.request()
    const foreign = yield* subject.request({ stackKey: `${subject.stackKey}-2` })
    const seen: Array<AgentProvider.Agent> = []
    const watching = yield* Effect.forkChild(
      Stream.runForEach(changes(subject.stackKey), (agent) => Effect.sync(() => void seen.push(agent))),
      { startImmediately: true }
    )
    // A change before the stream is connected is missed, so there are several changes.
    const another = yield* subject.request({ id: "job-2" })
    yield* subject.created(request)
    yield* subject.created(foreign)
    yield* subject.created(another)
    yield* subject.delete(request)
    const names = [request.name, another.name]
    yield* subject.eventually(
      Duration.max(subject.settings.listedWithin, subject.settings.goneWithin),
      Effect.sync(() => (seen.some(({ name }) => names.includes(name)) ? true : undefined)),
      "no change was told"
    )
    yield* Fiber.interrupt(watching)
    const wrong = seen.find(({ name }) => !names.includes(name))
    if (wrong !== undefined) return yield* broken(`a change of ${wrong.name} was told, which is not the stack's`)
    for (const { jobUuid, name } of seen) {
      if (name !== agentName(subject.stackKey, jobUuid)) {
        return yield* broken(`a change of ${name} was told with the job "${jobUuid}"`)
      }
    }
  })
}
