/** The `AgentProvider` over one or several Engines. */
import type * as AgentProvider from "@stacksapi/core/AgentProvider"
import { ProviderError } from "@stacksapi/core/AgentProvider"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Options } from "../../DockerProvider.ts"
import type { JobOutputs } from "../process/jobOutputs.ts"
import * as Agents from "./agents.ts"
import type { Container } from "./container.ts"
import * as Create from "./create.ts"
import type { Engine, EngineError } from "./engine.ts"
import * as Failures from "./failures.ts"
import { Frames } from "./frames.ts"
import * as KeyedLock from "./keyedLock.ts"
import * as Members from "./members.ts"
import * as Outputs from "./output.ts"
import { Event } from "./schemas.ts"

type Member = Members.Member

/** What all functions of a provider share. */
interface Shared {
  readonly members: ReadonlyArray<Member>
  readonly watching: Members.Watching
  readonly settings: Create.Settings
  readonly creating: KeyedLock.KeyedLock
  readonly beingCreated: Set<string>
  readonly containerFor: (request: AgentProvider.AgentRequest) => Effect.Effect<Container, ProviderError>
  readonly services: Context.Context<Create.Services>
}

export const make = Effect.fnUntraced(function* (
  engines: ReadonlyArray<Engine>,
  options: Options,
  jobOutputs: JobOutputs
) {
  const services = yield* Effect.context<Create.Services>()
  const beingCreated = new Set<string>()
  const shared: Shared = {
    members: engines.map(Members.make),
    watching: {
      outputs: yield* Outputs.make(jobOutputs),
      tail: jobOutputs.tail,
      isBeingCreated: (name) => beingCreated.has(name)
    },
    settings: { pull: options.pull ?? "missing", pulling: KeyedLock.make() },
    creating: KeyedLock.make(),
    beingCreated,
    containerFor: (request) => containerFor(options, request),
    services
  }
  const provider: AgentProvider.Service = {
    create: (request) => create(shared, request),
    list: (stackKey) => list(shared, stackKey),
    delete: (agent) => remove(shared, agent),
    logs: (agent) => logs(shared, agent),
    changes: (stackKey) =>
      Stream.mergeAll(
        shared.members.map((member) => changes(shared, member, stackKey)),
        { concurrency: "unbounded" }
      )
  }
  return provider
})

// -----------------------------------------------------------------------------
// create
// -----------------------------------------------------------------------------

/** The options, and over them what the job's own container differs in. */
const containerFor = Effect.fnUntraced(function* (
  { containerOf, ...options }: Options,
  request: AgentProvider.AgentRequest
): Effect.fn.Return<Container, ProviderError> {
  const own = containerOf === undefined ? {} : containerOf(request)
  const container = { ...options, ...(Effect.isEffect(own) ? yield* own : own) }
  const { image } = container
  if (image === undefined || image.trim() === "") {
    return yield* new ProviderError({ reason: "Refused", message: "There is no image for this job" })
  }
  return { ...container, image }
})

const create = (shared: Shared, request: AgentProvider.AgentRequest): Effect.Effect<void, ProviderError> => {
  const { beingCreated, creating, members, services } = shared
  const { name } = request
  return Effect.acquireUseRelease(
    Effect.sync(() => beingCreated.add(name)),
    () => Effect.flatMap(shared.containerFor(request), (container) => place(shared, request, container)),
    () =>
      Effect.sync(() => {
        beingCreated.delete(name)
        for (const { reserved } of members) reserved.delete(name)
      })
  ).pipe(creating(name), Effect.provideContext(services))
}

/** Tries the Engines, the emptiest first, until one takes the agent. */
const place = Effect.fnUntraced(function* (shared: Shared, request: AgentProvider.AgentRequest, container: Container) {
  const failures: Array<ProviderError> = []
  for (const member of yield* candidates(shared, request.name)) {
    const tried = yield* Effect.result(createOn(shared, member, request, container))
    if (Result.isSuccess(tried)) return
    // The call may have created the agent: the next listing shows it.
    if (tried.failure.reason === "Unavailable") return yield* tried.failure
    failures.push(tried.failure)
  }
  const failure = failures.find(({ reason }) => reason === "NoCapacity") ?? failures[0]
  if (failure !== undefined) return yield* failure
})

/** The Engine that has an agent of this name; else those that answer, by how many agents they have. */
const candidates = Effect.fnUntraced(function* ({ members }: Shared, name: string) {
  const [only] = members
  if (members.length === 1 && only !== undefined) return [only]
  const listings = yield* Effect.forEach(members, (member) => Effect.result(agentsOn(member)), {
    concurrency: "unbounded"
  })
  const failure = listings.find(Result.isFailure)
  const answered = listings.flatMap((listing) => (Result.isSuccess(listing) ? [listing.success] : []))
  if (answered.length === 0 && failure !== undefined) return yield* Failures.unavailable(failure.failure)
  // From here to the reservation nothing waits, so that concurrent calls count each other's agents.
  const owner = answered.find(({ names }) => names.has(name))
  const chosen = owner === undefined ? sortByLoad(answered) : [owner.member]
  chosen[0]?.reserved.add(name)
  return chosen
})

interface Listing {
  readonly member: Member
  readonly names: ReadonlySet<string>
  readonly running: ReadonlyArray<string>
}

const agentsOn = (member: Member): Effect.Effect<Listing, EngineError> =>
  Effect.map(Members.all(member), (summaries) => ({
    member,
    names: new Set(summaries.map(Agents.nameOf)),
    running: summaries.filter(({ State }) => State === "running").map(Agents.nameOf)
  }))

/** The emptiest first. An agent that is being created may run already: it counts once. */
const sortByLoad = (listings: ReadonlyArray<Listing>): ReadonlyArray<Member> =>
  listings
    .map(({ member, running }) => ({ member, load: new Set([...running, ...member.reserved]).size }))
    .sort((a, b) => a.load - b.load)
    .map(({ member }) => member)

const createOn = (shared: Shared, member: Member, request: AgentProvider.AgentRequest, container: Container) => {
  const { job, name, stackKey, token } = request
  const { engine } = member
  return Create.create(engine, request, container, shared.settings).pipe(
    Effect.flatMap((id) =>
      id === undefined
        ? Effect.void
        : shared.watching.outputs.follow({ engine, id, jobUuid: job.id }, [Redacted.value(token)])
    ),
    Effect.tapError(({ reason }) =>
      Effect.sync(() => {
        if (reason !== "Unavailable") return
        member.doubtful.set(name, { stackKey, agent: { name, jobUuid: job.id, phase: "Pending" } })
      })
    )
  )
}

// -----------------------------------------------------------------------------
// list and delete
// -----------------------------------------------------------------------------

/**
 * The agents of all Engines. Those of an Engine that does not answer are listed as they were last seen, so that the stack goes on with the
 * others, and creates none of these agents a second time. If that Engine has not answered since the start, nobody knows its agents, and the
 * listing fails.
 */
const list = Effect.fnUntraced(function* ({ members, watching }: Shared, stackKey: string) {
  const answers = yield* Effect.forEach(members, (member) => Effect.result(Members.list(member, watching, stackKey)), {
    concurrency: "unbounded"
  })
  const noneAnswered = answers.every(Result.isFailure)
  const agents = new Map<string, AgentProvider.Agent>()
  for (const [index, member] of members.entries()) {
    const answer = answers[index]
    if (answer === undefined) continue
    const remembered = noneAnswered ? undefined : Members.remembered(member, stackKey)
    if (Result.isFailure(answer) && remembered === undefined) return yield* Failures.unavailable(answer.failure)
    for (const agent of Result.getOrElse(answer, () => remembered ?? [])) {
      if (!agents.has(agent.name)) agents.set(agent.name, agent)
    }
  }
  return Array.from(agents.values())
})

/** Deletes an agent on all Engines that may have it. */
const remove = ({ members }: Shared, { name, stackKey }: AgentProvider.AgentRef) =>
  Effect.forEach(
    members,
    (member) =>
      Effect.catchTag(Members.remove(member, name), "EngineError", (error) => {
        const known =
          error.status === undefined && members.length > 1 ? Members.remembered(member, stackKey) : undefined
        return known !== undefined && !known.some((agent) => agent.name === name)
          ? Effect.void
          : Effect.fail(Failures.unavailable(error))
      }),
    { concurrency: "unbounded", discard: true }
  )

// -----------------------------------------------------------------------------
// logs and changes
// -----------------------------------------------------------------------------

/** What an agent's container prints, its standard output and its standard error in one. Empty if there is no such container. */
const logs = ({ members }: Shared, { name }: AgentProvider.AgentRef): Stream.Stream<Uint8Array, ProviderError> =>
  Stream.unwrap(
    Effect.gen(function* () {
      for (const member of members) {
        if ((yield* Members.inspect(member, name)) === undefined) continue
        const frames = new Frames()
        return member.engine
          .bytes("GET", `/containers/${name}/logs`, { query: { follow: "1", stdout: "1", stderr: "1", tail: "all" } })
          .pipe(
            Stream.flatMap((piece) => Stream.fromIterable(frames.push(piece).map(({ bytes }) => bytes))),
            Stream.mapError(Failures.unavailable)
          )
      }
      return Stream.empty
    }).pipe(Effect.mapError((error: EngineError) => Failures.unavailable(error)))
  )

/** The Engine's events of a stack's containers, as long as anybody listens: it connects again when they break off. */
const changes = (
  { watching }: Shared,
  member: Member,
  stackKey: string
): Stream.Stream<AgentProvider.Agent, ProviderError> => {
  let since: string | undefined
  const filters = JSON.stringify({
    type: ["container"],
    event: ["start", "die"],
    label: [`${Agents.labels.stack}=${stackKey}`]
  })
  return Stream.suspend(() => member.engine.lines(Event, "GET", "/events", { query: { filters, since } })).pipe(
    Stream.mapEffect(
      ({ Actor, time }) => {
        since = String(time)
        return Members.agentOf(member, watching, Actor.ID, stackKey)
      },
      { concurrency: 4 }
    ),
    Stream.filter((agent) => agent !== undefined),
    Stream.catchCause((cause) =>
      Stream.drain(Stream.fromEffect(Effect.logDebug(`The stream of events of ${member.engine.host} failed`, cause)))
    ),
    Stream.repeat(Schedule.spaced("1 second"))
  )
}
