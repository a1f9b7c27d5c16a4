/**
 * What must hold in every world for the agents of providers. Each invariant has a name, which is the sentence that it checks. The hooks
 * are called when a stack calls its provider, when a response arrives, when an agent acquires its job, and when a run ends.
 */
import { AgentProvider, type JobRunner } from "@stacksapi/core"
import { Exit, Redacted } from "effect"
import { calmFor, isAgentOwned, isOver } from "./ownership.ts"
import { isWorking, type PlacedAgent } from "./placeState.ts"
import { defaultAgent, type ProviderPlan } from "./providerPlan.ts"
import type { JobTrace, Life, Run, World } from "./world.ts"

/** How long it takes at most to find an agent whose job is over, and to delete it, in seconds, beside the provider's own time. */
export const sweepSeconds = 420

/** How much later than the documented time something may happen where nothing is in the way, in milliseconds. */
const slackMillis = 60_000
/** How long an agent may have had its job when the stack has not noticed it yet, in milliseconds. */
const unnoticedMillis = 10_000

const nameOf = ({ plan }: Life, jobUuid: string) => AgentProvider.nameOf(plan.key, jobUuid)

/** How long nothing has been in the way of a provider's calls, in milliseconds. */
const placeCalmFor = ({ now, place }: World): number => now - place.calmSince

/** How long a provider may take for a call, a listing that shows its effect, and a deletion, in milliseconds. */
const providerMillis = (life: Life, agent?: PlacedAgent): number => {
  const { provider } = life.plan
  if (provider === undefined) return 0
  const listings = 3 * (provider.listInterval * 1000 + 2 * provider.callMillis)
  return listings + provider.listedAfter * 1000 + (agent?.plan.deleteTakes ?? 0) * 1000
}

// -----------------------------------------------------------------------------
// Calls
// -----------------------------------------------------------------------------

export const onCreate = (world: World, life: Life, request: AgentProvider.AgentRequest): void => {
  const { place } = world
  const { provider: trace } = life
  const { name } = request
  const { id } = request.job
  const of = `${life.name} creates ${name} for ${id}`
  world.note(of)

  const jobKey = `${life.plan.key} ${id}`
  const known = place.names.get(jobKey) ?? name
  place.names.set(jobKey, known)
  if (known !== name || request.stackKey !== life.plan.key) {
    world.violate("a job's agent has the same name on each call", `${of}; it was ${known}`)
  }
  const token = Redacted.value(request.token)
  if (place.tokens.has(token) || request.env["BUILDKITE_AGENT_TOKEN"] !== request.token) {
    world.violate("each create has a token of its own", of)
  }
  place.tokens.add(token)

  const since = Math.max(trace.createEnded.get(name) ?? 0, trace.runStarted.get(id) ?? Number.POSITIVE_INFINITY)
  if ((trace.absent.get(name) ?? 0) <= since) {
    world.violate("create is called only after a listing without the agent", `${of}, and no later listing lacks it`)
  }
  trace.creating++
  const { createConcurrency = 1 } = life.plan.provider ?? {}
  if (trace.creating > createConcurrency) {
    world.violate("at most createConcurrency calls create agents", `${of}: ${trace.creating} calls at a time`)
  }
}

/** Called when a call of `create` has ended, also by interruption. */
export const onCreated = (
  world: World,
  life: Life,
  { job, name }: AgentProvider.AgentRequest,
  exit: Exit.Exit<void, AgentProvider.ProviderError>
): void => {
  const { provider: trace } = life
  trace.creating--
  trace.createEnded.set(name, ++world.place.moment)
  const error = Exit.findErrorOption(exit)
  if (error._tag === "Some" && error.value.reason === "Refused") trace.refused.add(job.id)
}

/** Called when a listing begins. Returns when that is. */
export const onList = (world: World, life: Life): { readonly at: number; readonly moment: number } => {
  const { provider: trace } = life
  const interval = (life.plan.provider?.listInterval ?? 0) * 1000
  if (trace.listedAt !== undefined && world.now - trace.listedAt < interval - 1) {
    world.violate("one listing serves an interval", `${life.name} lists again after ${world.now - trace.listedAt} ms`)
  }
  trace.listedAt = world.now
  return { at: world.now, moment: ++world.place.moment }
}

/** Called when a listing's response arrives, with the beginning of the listing. */
export const onListed = (
  life: Life,
  agents: ReadonlyArray<AgentProvider.Agent>,
  { at, moment }: { readonly at: number; readonly moment: number }
): void => {
  const { provider: trace } = life
  trace.seenAt = at
  trace.seen = new Set(agents.map(({ name }) => name))
  for (const id of life.active.keys()) {
    const name = nameOf(life, id)
    if (!trace.seen.has(name)) trace.absent.set(name, moment)
  }
}

/** Called when the response of any call arrives. */
export const onAnswer = (world: World, life: Life, exit: Exit.Exit<unknown, AgentProvider.ProviderError>): void => {
  const error = Exit.findErrorOption(exit)
  const isUnavailable = error._tag === "Some" && error.value.reason === "Unavailable"
  if (isUnavailable) life.provider.unavailableSince ??= world.now
  else life.provider.unavailableSince = undefined
}

export const onDelete = (world: World, life: Life, agent: AgentProvider.AgentRef): void => {
  const of = `${life.name} deletes ${agent.name}`
  const placed = world.place.agents.get(agent.name)
  if (agent.name !== nameOf(life, agent.jobUuid) || (placed !== undefined && placed.stackKey !== life.plan.key)) {
    world.violate("agents of others are not touched", of)
  }
  if (placed === undefined || !isWorking(placed) || !isAgentOwned(placed.job.view.state)) return
  if (mayDelete(world, life, placed)) return
  world.violate("no agent is deleted while it works", `${of}: ${placed.job.plan.id} is ${placed.job.view.state}`)
}

/** Whether an agent that works may be deleted. */
const mayDelete = (world: World, life: Life, { acquiredAt, createdAt, job }: PlacedAgent): boolean => {
  const { cancelGrace, onClose, provider, shutdownGrace } = life.plan
  const lasts = (since: number | undefined, grace: number) =>
    since !== undefined && world.now - since >= grace * 1000 - 100
  // The state that said that no agent has the job may be a while old.
  if (acquiredAt === undefined || world.now - acquiredAt < unnoticedMillis || calmFor(world, life) < slackMillis)
    return true
  if (lasts(job.canceledAt, Math.min(cancelGrace, provider?.cancelGrace ?? cancelGrace))) return true
  const isDetached = life.closingSince !== undefined && onClose === "detach" && life.drainingSince === undefined
  if (isDetached) return false
  if (life.failure !== undefined || lasts(life.drainingSince ?? life.closingSince, shutdownGrace)) return true
  // The wall clock of the stack may differ from the provider's.
  return provider?.maxLifetime !== undefined && (life.process.clock.isSkewed || lasts(createdAt, provider.maxLifetime))
}

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

export const onAcquired = (world: World, { job, name }: PlacedAgent): void => {
  const other = world.agents.get(job.plan.id)
  if (other !== undefined) world.violate("no job runs twice at a time", `${name} has ${job.plan.id}, and another agent`)
}

export const onRunStart = (world: World, { job, life }: Run): void => {
  life.provider.runStarted.set(job.plan.id, ++world.place.moment)
}

/** Called when a run has ended, with whatever it has to do at its end. */
export const onRunExit = (
  world: World,
  run: Run,
  exit: Exit.Exit<JobRunner.JobOutcome, JobRunner.JobRunnerError>
): void => {
  const { job, life } = run
  const isDetached = life.closingSince !== undefined && life.plan.onClose === "detach"
  if (isDetached || run.stop?.reason === "Detach") return
  const error = Exit.findErrorOption(exit)
  if (error._tag === "Some" && error.value.waitsForCapacity === true) return
  const agent = world.place.agents.get(nameOf(life, job.plan.id))
  if (agent !== undefined && couldSee(run, agent)) {
    world.violate(
      "a run ends when its agent is gone",
      `${life.name} has ended ${job.plan.id}, and ${agent.name} is there`
    )
  }
  const isRefused = life.provider.refused.has(job.plan.id)
  if (error._tag === "Some" && error.value.isRetryable !== true && !run.hasFailedLookup && !isRefused) {
    world.violate("only a refusal fails a job", `${life.name}: ${job.plan.id}, ${error.value.message}`)
  }
  const isOwned = isAgentOwned(job.view.state) || isOver(job.view.state)
  if (Exit.isSuccess(exit) && exit.value._tag === "AgentOwned" && run.stop === undefined && !isOwned) {
    world.violate("a run says only what is so", `${life.name}: an agent has ${job.plan.id}, which is ${job.view.state}`)
  }
}

/** Whether the last listing of a run should have shown an agent. A call may take effect after its caller has gone. */
const couldSee = ({ life, startedAt }: Run, agent: PlacedAgent): boolean => {
  const { seenAt } = life.provider
  return seenAt !== undefined && seenAt >= startedAt && agent.createdAt < seenAt && agent.listedAt < seenAt
}

/** Called when a stack asks to reserve jobs that it has not asked for before. */
export const onReserve = (world: World, life: Life, fresh: ReadonlyArray<string>): void => {
  const { unavailableSince } = life.provider
  const isNew = fresh.some((id) => !life.recovered.has(id))
  if (life.plan.provider === undefined || !isNew) return
  const of = `${life.name} asks to reserve ${fresh.join(" ")}`
  if (unavailableSince !== undefined && world.now - unavailableSince > 2000) {
    world.violate("nothing is reserved while the provider is unavailable", of)
  }
  for (const agent of world.place.of(life.plan.key)) {
    if (!isLeftover(world, life, agent)) continue
    world.violate("nothing is reserved before leftover agents are gone", `${of}, and ${agent.name} is there`)
  }
}

/** Whether the stack should know by now that an agent's job is over. It asks for a job's state every minute. */
const isLeftover = (world: World, life: Life, agent: PlacedAgent): boolean => {
  const { job } = agent
  if (job.overAt === undefined || life.open.has(job.plan.id) || life.active.has(job.plan.id)) return false
  const knownFor = world.now - Math.max(job.overAt, agent.listedAt, life.startedAt)
  const wait = slackMillis + slackMillis + providerMillis(life)
  return life.provider.seen.has(agent.name) && Math.min(knownFor, calmFor(world, life), placeCalmFor(world)) > wait
}

// -----------------------------------------------------------------------------
// What other invariants ask
// -----------------------------------------------------------------------------

/** Whether a job of a stack may wait for its agent's end, or for its provider. */
export const isAgentInTheWay = (world: World, life: Life, job: JobTrace): boolean => {
  if (life.plan.provider === undefined) return false
  const name = nameOf(life, job.plan.id)
  const goneFor = world.now - (world.place.goneAt.get(name) ?? Number.NEGATIVE_INFINITY)
  const isKnown = Math.min(goneFor, placeCalmFor(world)) > 2 * slackMillis + providerMillis(life)
  return world.place.agents.has(name) || !isKnown
}

/** Whether an agent of the job is there already. */
export const hasPlacedAgent = (world: World, life: Life, jobUuid: string): boolean =>
  life.plan.provider !== undefined && world.place.agents.has(nameOf(life, jobUuid))

/** Whether a stack takes any job for which it has a slot. */
export const mayTakeAny = (world: World, life: Life): boolean => {
  const { provider } = life.plan
  if (provider === undefined) return true
  if (provider.cpus !== undefined || placeCalmFor(world) < 180_000) return false
  return world.place.of(life.plan.key).every(({ isWaiting, job }) => !isWaiting && life.active.has(job.plan.id))
}

// -----------------------------------------------------------------------------
// Ticks and ends
// -----------------------------------------------------------------------------

export const atTick = (world: World): void => {
  const { place } = world
  if (place.faults.some(({ left }) => left > 0) || place.size < Number.POSITIVE_INFINITY) place.calmSince = world.now
  for (const life of world.lives) {
    const { provider } = life.plan
    if (provider === undefined || !life.isUp) continue
    checkAmounts(world, life, provider)
    for (const run of life.active.values()) checkStart(world, run, provider)
  }
}

const checkAmounts = (world: World, life: Life, { cpus }: ProviderPlan): void => {
  if (cpus === undefined) return
  let taken = 0
  for (const { job } of life.active.values()) taken += (job.plan.agent ?? defaultAgent).cpus
  if (taken > cpus) world.violate("never more amounts than the capacity", `${life.name} uses ${taken} of ${cpus} CPUs`)
}

/** An agent that makes no progress is deleted at its deadline. */
const checkStart = (world: World, { job, life, startedAt }: Run, { startDeadline }: ProviderPlan): void => {
  const agent = world.place.agents.get(nameOf(life, job.plan.id))
  if (agent === undefined || agent.acquiredAt !== undefined || agent.isWaiting) return
  const waited = world.now - Math.max(startedAt, agent.listedAt, agent.bootedAt)
  const limit = startDeadline * 1000 + slackMillis + providerMillis(life, agent)
  if (Math.min(waited, calmFor(world, life), placeCalmFor(world)) > limit) {
    world.violate("an agent that does not start is deleted", `${agent.name} at ${life.name} after ${waited} ms`)
  }
}

/** Called when the process of a stack has ended in order. */
export const onExit = (world: World, life: Life): void => {
  if (life.plan.provider === undefined) return
  // What its runs still do at their ends, they do no more.
  for (const run of life.active.values()) run.endedAt = world.now
  life.active.clear()
}

const orphans = (world: World): ReadonlyArray<PlacedAgent> =>
  world.plan.stacks.flatMap(({ key, provider }) => (provider === undefined ? [] : world.place.of(key)))

export const hasOrphans = (world: World): boolean => orphans(world).length > 0

/** Called when all jobs are over, and a sweep has had its time. */
export const atEnd = (world: World): void => {
  const left = orphans(world)
  if (left.length > 0) {
    world.violate("no agent is left at the end", left.map(({ name, phase }) => `${name} is ${phase}`).join(", "))
  }
}
