/** What happens in the place where agents of providers run: they boot, acquire their jobs, end, and are deleted. */
import { AgentProvider } from "@stacksapi/core"
import { DateTime, Effect, PubSub } from "effect"
import { isAgentOwned, observe } from "./ownership.ts"
import { isWorking, type PlacedAgent } from "./placeState.ts"
import { onAcquired } from "./providerInvariants.ts"
import { defaultAgent } from "./providerPlan.ts"
import { startAgent } from "./runners.ts"
import type { Life, World } from "./world.ts"

/** How long the service takes to notice that an agent is gone, in milliseconds. */
const lostAfter = 30_000

const error = (reason: AgentProvider.ProviderError["reason"], message: string) =>
  new AgentProvider.ProviderError({ reason, message })

export const unavailable = (message: string) => error("Unavailable", message)
export const noCapacity = (message: string) => error("NoCapacity", message)
export const refused = (message: string) => error("Refused", message)

// -----------------------------------------------------------------------------
// Calls
// -----------------------------------------------------------------------------

export const create = (world: World, life: Life, request: AgentProvider.AgentRequest) =>
  Effect.gen(function* () {
    yield* advancePlace(world)
    const { place } = world
    const { provider } = life.plan
    const job = world.jobs.get(request.job.id)
    if (place.agents.has(request.name) || job === undefined || provider === undefined) return
    const isWaiting = place.placed >= place.size
    if (isWaiting && !provider.pends) return yield* noCapacity(`There are ${place.size} agents already`)
    const plan = job.plan.agent ?? defaultAgent
    const times = place.created.get(request.name) ?? 0
    place.created.set(request.name, times + 1)
    const agent: PlacedAgent = {
      name: request.name,
      stackKey: request.stackKey,
      job,
      plan,
      boot: world.isEnding ? "works" : (plan.boots[times] ?? "works"),
      life,
      pends: provider.pends,
      createdAt: world.now,
      listedAt: world.now + provider.listedAfter * 1000,
      token: request.token,
      phase: "Pending",
      message: undefined,
      isWaiting,
      bootedAt: world.now + plan.bootTime * 1000,
      worker: undefined,
      acquiredAt: undefined,
      goneAt: undefined
    }
    place.agents.set(agent.name, agent)
    world.note(`place: ${agent.name} is created, ${isWaiting ? "and waits" : `and ${agent.boot}`}`)
    yield* advanceAgent(world, agent)
  })

export const list = (world: World, stackKey: string) =>
  Effect.map(advancePlace(world), () =>
    world.place
      .of(stackKey)
      .filter(({ listedAt }) => listedAt <= world.now)
      .map(toAgent)
  )

export const toAgent = (agent: PlacedAgent): AgentProvider.Agent => ({
  jobUuid: agent.job.plan.id,
  name: agent.name,
  phase: agent.phase,
  message: agent.message,
  problem: agent.isWaiting ? noCapacity("There is no room") : undefined,
  createdAt: DateTime.makeUnsafe(agent.createdAt)
})

export const remove = (world: World, name: string) =>
  Effect.gen(function* () {
    yield* advancePlace(world)
    const agent = world.place.agents.get(name)
    if (agent === undefined || agent.goneAt !== undefined) return
    world.note(`place: ${name} is deleted, and gone in ${agent.plan.deleteTakes} s`)
    agent.goneAt = world.now + agent.plan.deleteTakes * 1000
    kill(world, agent)
    yield* advanceAgent(world, agent)
  })

export const refreshToken = (world: World, name: string, token: PlacedAgent["token"]) =>
  Effect.sync(() => {
    const agent = world.place.agents.get(name)
    if (agent !== undefined) agent.token = token
  })

// -----------------------------------------------------------------------------
// Time
// -----------------------------------------------------------------------------

/** Lets everything happen that is due. */
export const advancePlace = (world: World): Effect.Effect<void> =>
  world.place.agents.size === 0
    ? Effect.void
    : Effect.forEach(Array.from(world.place.agents.values()), (agent) => advanceAgent(world, agent), { discard: true })

const advanceAgent = (world: World, agent: PlacedAgent): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { place } = world
    if (agent.goneAt !== undefined) {
      if (agent.goneAt > world.now) return
      place.agents.delete(agent.name)
      place.goneAt.set(agent.name, world.now)
      world.note(`place: ${agent.name} is gone`)
      return
    }
    if (agent.isWaiting && place.placed < place.size) {
      agent.isWaiting = false
      agent.bootedAt = world.now + agent.plan.bootTime * 1000
      yield* changed(world, agent)
    }
    if (agent.phase === "Pending" && !agent.isWaiting && agent.boot !== "hangs" && agent.bootedAt <= world.now) {
      yield* boot(world, agent)
    }
    if (agent.phase === "Running" && agent.worker?.isOver === true) {
      agent.phase = "Succeeded"
      yield* changed(world, agent)
    }
  })

const boot = (world: World, agent: PlacedAgent) =>
  Effect.gen(function* () {
    const { job, plan } = agent
    const isAcquired = agent.boot === "works" && (yield* Effect.isSuccess(world.emulator.acquireJob(agent.token)))
    if (isAcquired) {
      onAcquired(world, agent)
      agent.acquiredAt = world.now
      agent.worker = yield* startAgent(world, job, agent.life, { ...plan, survives: true })
      agent.phase = "Running"
    } else {
      yield* observe(world)
      agent.phase = "Failed"
      agent.message = agent.boot === "works" ? "The agent could not acquire its job" : "The machine did not boot"
    }
    yield* changed(world, agent)
  })

const changed = (world: World, agent: PlacedAgent) => {
  world.note(`place: ${agent.name} is ${agent.phase}${agent.message === undefined ? "" : `: ${agent.message}`}`)
  return agent.goneAt === undefined ? PubSub.publish(world.place.changes, agent) : Effect.void
}

/** The machine of a job's agent dies. */
export const endAgent = (world: World, jobUuid: string): Effect.Effect<void> =>
  Effect.forEach(
    Array.from(world.place.agents.values()).filter(
      ({ goneAt, job, phase }) =>
        job.plan.id === jobUuid && goneAt === undefined && (phase === "Pending" || phase === "Running")
    ),
    (agent) => {
      kill(world, agent)
      agent.isWaiting = false
      agent.phase = "Failed"
      agent.message = "The machine died"
      return changed(world, agent)
    },
    { discard: true }
  )

/** The agent stops at once. The service ends its job when it notices that. */
const kill = (world: World, agent: PlacedAgent): void => {
  const { job, worker } = agent
  if (worker === undefined || !isWorking(agent) || !isAgentOwned(job.view.state)) return
  worker.isKilled = true
  worker.exitStatus = -1
  worker.endsAt = Math.min(worker.endsAt, world.now) + lostAfter
}
