/**
 * One run of a job with an agent that a provider creates, from the first listing to the agent's end. `runner.ts` has a diagram.
 */
import type * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Semaphore from "effect/Semaphore"
import type * as AgentProvider from "../../AgentProvider.ts"
import * as JobRunner from "../../JobRunner.ts"
import type { StacksError } from "../../StacksError.ts"
import { isAgentOwned, isFinal } from "../../StacksSchema.ts"
import { monotonicMillis } from "../monotonicMillis.ts"
import { environmentOf, labelsOf } from "./agentRequest.ts"
import type { CapacityWaits } from "./capacity.ts"
import { deleteAgent } from "./deleteAgent.ts"
import type { Fleet } from "./fleets.ts"
import * as Metrics from "./metrics.ts"
import type { ProviderHealth } from "./providerHealth.ts"
import type { Settings } from "./settings.ts"

/** How many agents a run uses up before it releases the job. */
const maxAgents = 2
const maxRetryMillis = 30_000

/** The dependencies that all runs share. */
export interface Shared {
  readonly provider: AgentProvider.Service
  readonly settings: Settings
  readonly clock: Clock.Clock
  readonly health: ProviderHealth
  readonly capacity: CapacityWaits
  readonly creating: Semaphore.Semaphore
}

/** A run and its progress. Times are monotonic milliseconds. */
export interface AgentRun {
  readonly shared: Shared
  readonly context: JobRunner.JobContext
  readonly agent: AgentProvider.AgentRef
  readonly fleet: Fleet
  /** Whether an agent may exist. */
  mayExist: boolean
  /** Only listings with greater numbers count: they started later. */
  lastListing: number
  /**
   * How many times this run has created the agent, or waited for it to be listed, since the run began or the last `restart`. Determines
   * the delay.
   */
  attempts: number
  /** How many agents this run has used up. An agent counts when it is first listed, or when it is given up without being listed. */
  agentsUsed: number
  /** Calls of `create` that failed in a row. */
  failedCreates: number
  /** The time by which the agent must have acquired its job. */
  deadline: number
  refreshAt: number
  endOfLife: number
  isSeen: boolean
  /** Whether the last listing lacked the agent. One listing may be incomplete, so the next one decides. */
  isMissing: boolean
  /** Whether an agent has the job, or the job is over. In both cases no agent is created. */
  hasAcquired: boolean
}

const noDeadlines = {
  deadline: Number.POSITIVE_INFINITY,
  refreshAt: Number.POSITIVE_INFINITY,
  endOfLife: Number.POSITIVE_INFINITY
}

export const make = (
  shared: Shared,
  context: JobRunner.JobContext,
  agent: AgentProvider.AgentRef,
  fleet: Fleet
): AgentRun => ({
  shared,
  context,
  agent,
  fleet,
  mayExist: false,
  lastListing: fleet.list.lastStarted(),
  attempts: 0,
  agentsUsed: 0,
  failedCreates: 0,
  ...noDeadlines,
  isSeen: false,
  isMissing: false,
  hasAcquired: false
})

const nowOf = ({ shared }: AgentRun): number => monotonicMillis(shared.clock)

// -----------------------------------------------------------------------------
// Creating
// -----------------------------------------------------------------------------

const requestFor = ({ agent: { name }, context, shared }: AgentRun, token: Redacted.Redacted) => {
  const { details, job, notify, queueKey, requests, stackKey } = context
  const { endpoint, tags } = shared.settings
  const of = { name, jobUuid: job.id, queueKey, stackKey }
  const request: AgentProvider.AgentRequest = {
    name,
    job,
    stackKey,
    queueKey,
    details,
    requests,
    token,
    notify,
    env: environmentOf(of, token, endpoint, tags),
    labels: labelsOf(of),
    annotations: {
      "stacksapi/build": `${job.pipeline.slug}#${job.build.number}`,
      ...(job.step.key !== null && { "stacksapi/step": job.step.key })
    }
  }
  return request
}

/** Calls `create` once, with its own token. Returns the failure, if there is one. */
const createOnce = (run: AgentRun) => {
  const { creating, health, provider, settings } = run.shared
  const count = (result: string) => Metric.update(Metrics.createsBy(result), 1)
  return creating.withPermit(
    Effect.gen(function* () {
      const issued = yield* run.context.issueToken
      run.mayExist = true
      run.refreshAt = refreshTime(run, issued)
      return yield* health
        .watch(
          "create",
          Effect.suspend(() => provider.create(requestFor(run, issued.token)))
        )
        .pipe(
          Effect.ensuring(Effect.sync(() => void run.fleet.created.set(run.agent.name, nowOf(run)))),
          // After a lost response, the next listing shows whether the agent exists.
          Effect.timeoutOption(settings.startDeadline),
          Effect.matchEffect({
            onSuccess: (answer) => Effect.as(count(Option.isSome(answer) ? "created" : "timeout"), undefined),
            onFailure: (error) => Effect.as(count(error.reason), error)
          })
        )
    })
  )
}

/** A token is renewed when four fifths of its lifetime have passed. */
const refreshTime = (run: AgentRun, { lifetime }: JobRunner.AcquisitionToken) =>
  run.shared.provider.refreshToken === undefined
    ? Number.POSITIVE_INFINITY
    : nowOf(run) + 0.8 * Duration.toMillis(lifetime)

const refused = ({ message }: AgentProvider.ProviderError) =>
  new JobRunner.JobRunnerError({ message: `The provider refuses the agent: ${message}` })

/** Ends the run. The job waits without a slot, or is released if it has waited long enough. */
const awaitCapacity = Effect.fnUntraced(function* ({ context, shared }: AgentRun, message: string) {
  const { job, notify, requests, stackKey } = context
  const { capacityTimeout } = shared.settings
  const waited = shared.capacity.wait(job, requests, stackKey)
  if (waited >= capacityTimeout) {
    const reason = `No agent could be created within ${Duration.format(Duration.millis(capacityTimeout))}: ${message}`
    yield* notify(reason)
    return JobRunner.Released({ reason })
  }
  if (waited === 0) yield* notify(`Waiting for an agent: ${message}`)
  return yield* new JobRunner.JobRunnerError({
    message: `Waiting for an agent: ${message}`,
    isRetryable: true,
    waitsForCapacity: true
  })
})

// -----------------------------------------------------------------------------
// From the first listing to the end
// -----------------------------------------------------------------------------

/** Finds the job's agent, or creates it, and waits until it has ended. */
export const runAgent = Effect.fnUntraced(function* (
  run: AgentRun
): Effect.fn.Return<JobRunner.JobOutcome, JobRunner.JobRunnerError | StacksError> {
  const { agent, context, fleet, shared } = run
  while (true) {
    // Only a listing shows whether the agent exists.
    const { lastListing } = run
    const found = yield* fleet.list.await(agent.name, (_, listing) => listing > lastListing)
    const outcome = found === undefined ? yield* onMissing(run) : yield* watchAgent(run, found)
    if (outcome !== undefined) return outcome
    if (run.hasAcquired || nowOf(run) < run.deadline) continue
    if (yield* needsNoAgent(context)) {
      markAcquired(run)
      continue
    }
    const startDeadline = Duration.format(Duration.millis(shared.settings.startDeadline))
    const end = yield* restart(run, `No agent acquired the job within ${startDeadline}`)
    if (end !== undefined) return end
  }
})

/**
 * Handles a listing without the agent. Creates the agent if it was never listed. Otherwise ends the run if the job is over or has an
 * agent, or starts another agent.
 */
const onMissing = Effect.fnUntraced(function* (run: AgentRun) {
  const { context, fleet, shared } = run
  if (run.isSeen) {
    if (!run.isMissing) {
      run.isMissing = true
      run.lastListing = fleet.list.lastStarted()
      return undefined
    }
    if (run.hasAcquired || (yield* needsNoAgent(context))) return JobRunner.AgentOwned
    return yield* restart(run, "The agent disappeared before it had acquired the job")
  }
  // The provider may be slow to list an agent that it has created.
  if (run.attempts > 0) yield* Effect.sleep(delayAfter(run.attempts))
  if (run.hasAcquired) return yield* awaitListed(run)
  if (nowOf(run) >= run.deadline) return undefined
  // Agents that are about to be deleted still use capacity.
  while (fleet.sweep?.isPending() === true) yield* fleet.list.next
  const created = yield* Effect.result(createOnce(run))
  run.lastListing = fleet.list.lastStarted()
  if (Result.isFailure(created)) return yield* onNoToken(run, created.failure)
  const error = created.success
  if (error === undefined) {
    run.attempts++
    run.failedCreates = 0
    run.deadline = Math.min(run.deadline, nowOf(run) + shared.settings.startDeadline)
    return undefined
  }
  if (error.reason === "Refused") return yield* refused(error)
  if (error.reason === "NoCapacity") return yield* awaitCapacity(run, error.message)
  run.failedCreates++
  if (run.failedCreates === 1) {
    yield* context.notify(`The agent can't be created now, trying again: ${error.message}`)
  }
  yield* Effect.sleep(delayAfter(run.failedCreates))
  return undefined
})

/**
 * Handles the failure to get a token. An agent that is not listed yet may have acquired the job; in that case no further agent is
 * created.
 */
const onNoToken = Effect.fnUntraced(function* (run: AgentRun, error: JobRunner.JobRunnerError | StacksError) {
  if (!run.mayExist || !(yield* needsNoAgent(run.context))) return yield* Effect.fail(error)
  markAcquired(run)
  return yield* awaitListed(run)
})

/** Waits for the next listing, unless the job is over. Its agent may end without ever being listed. */
const awaitListed = Effect.fnUntraced(function* (run: AgentRun) {
  const jobState = yield* run.context.state
  if (jobState !== undefined && isFinal(jobState)) return JobRunner.AgentOwned
  run.attempts++
  run.lastListing = run.fleet.list.lastStarted()
  return undefined
})

/** Handles a listed agent: waits until it ends, has a problem, or a deadline has passed. */
const watchAgent = Effect.fnUntraced(function* (run: AgentRun, found: AgentProvider.Agent) {
  const { agent, context, fleet, shared } = run
  const { capacity, settings } = shared
  // Another run created the agent, so the age of its token is not known.
  if (!run.mayExist && shared.provider.refreshToken !== undefined) run.refreshAt = nowOf(run)
  run.mayExist = true
  run.isMissing = false
  if (!run.isSeen) {
    run.isSeen = true
    run.agentsUsed++
    // For an agent of an earlier process, the deadline starts now.
    run.deadline = Math.min(run.deadline, nowOf(run) + settings.startDeadline)
    run.endOfLife = nowOf(run) + settings.maxLifetime - ageOf(run, found)
  }
  if (found.phase === "Running") capacity.end(context.job.id)
  const { lastListing } = run
  const until = Math.min(
    run.hasAcquired ? Number.POSITIVE_INFINITY : Math.min(run.deadline, run.refreshAt),
    run.endOfLife
  )
  const seen = yield* Effect.timeoutOption(
    fleet.list.await(
      agent.name,
      (next, listing) =>
        listing > lastListing && (next === undefined || next.phase !== found.phase || needsAction(run, next))
    ),
    Math.max(0, until - nowOf(run))
  )
  if (Option.isSome(seen)) return seen.value === undefined ? undefined : yield* onChange(run, seen.value)
  if (nowOf(run) >= run.endOfLife) {
    const reason = `The agent has lived for ${Duration.format(Duration.millis(settings.maxLifetime))}, and is deleted`
    yield* context.notify(reason)
    return (yield* needsNoAgent(context)) ? JobRunner.AgentOwned : JobRunner.Released({ reason })
  }
  if (nowOf(run) >= run.refreshAt) {
    if (yield* needsNoAgent(context)) markAcquired(run)
    else yield* refresh(run, found)
  }
  return undefined
})

/** Handles an agent that has ended, has changed its phase, or has a problem. */
const onChange = Effect.fnUntraced(function* (run: AgentRun, agent: AgentProvider.Agent) {
  if (!needsAction(run, agent)) return undefined
  if (run.hasAcquired || (yield* needsNoAgent(run.context))) {
    if (isEnded(agent)) {
      yield* reportFailure(run, agent)
      return JobRunner.AgentOwned
    }
    // The agent is working, even if the provider reports a problem.
    markAcquired(run)
    return undefined
  }
  if (isEnded(agent)) {
    const message = agent.message === undefined || agent.message === "" ? "" : `: ${agent.message}`
    return yield* restart(run, `The agent ended before it had acquired the job${message}`)
  }
  const { problem } = agent
  if (problem?.reason === "Refused") return yield* refused(problem)
  return problem === undefined ? undefined : yield* awaitCapacity(run, problem.message)
})

/** Writes the agent's failure to the job's page if the job is not over or the provider reports a problem. */
const reportFailure = Effect.fnUntraced(function* (
  { context }: AgentRun,
  { message, phase, problem }: AgentProvider.Agent
) {
  if (phase !== "Failed" || message === undefined || message === "") return
  const jobState = yield* context.state
  if (problem !== undefined || (jobState !== undefined && !isFinal(jobState))) {
    yield* context.notify(`The agent failed: ${message}`)
  }
})

const markAcquired = (run: AgentRun) => {
  run.hasAcquired = true
  run.shared.capacity.end(run.context.job.id)
}

const refresh = Effect.fnUntraced(function* (run: AgentRun, agent: AgentProvider.Agent) {
  const { health, provider } = run.shared
  run.refreshAt = nowOf(run) + 10_000
  const issued = yield* Effect.option(run.context.issueToken)
  if (Option.isNone(issued) || provider.refreshToken === undefined) return
  const given = yield* Effect.option(health.watch("refreshToken", provider.refreshToken(agent, issued.value.token)))
  if (Option.isSome(given)) run.refreshAt = refreshTime(run, issued.value)
})

/** Deletes an agent that did not acquire its job, so that another one is created. After the second agent, releases the job. */
const restart = Effect.fnUntraced(function* (run: AgentRun, reason: string) {
  yield* run.context.notify(reason)
  // An agent that was never listed counts too.
  if (!run.isSeen) run.agentsUsed++
  if (run.agentsUsed >= maxAgents) return JobRunner.Released({ reason })
  yield* remove(run, reason)
  Object.assign(run, {
    lastListing: run.fleet.list.lastStarted(),
    isSeen: false,
    isMissing: false,
    attempts: 0,
    ...noDeadlines
  })
  return undefined
})

/** Calls `delete` repeatedly until a listing no longer contains the agent. */
export const remove = ({ agent, fleet, shared }: AgentRun, reason: string): Effect.Effect<void> =>
  deleteAgent(shared.provider, shared.health, fleet.list, agent, reason)

/** The agent's age by the provider's clock, but not more than the time since this process has created it: the clocks may differ. */
const ageOf = (run: AgentRun, { createdAt, name }: AgentProvider.Agent): number => {
  const created = run.fleet.created.get(name)
  const atMost = created === undefined ? Number.POSITIVE_INFINITY : nowOf(run) - created
  if (createdAt === undefined) return created === undefined ? 0 : atMost
  const now = run.shared.clock.currentTimeMillisUnsafe()
  return Math.min(atMost, Math.max(0, now - DateTime.toEpochMillis(createdAt)))
}

const delayAfter = (tries: number): number => Math.min(maxRetryMillis, 1000 * 2 ** Math.min(10, tries - 1))

// -----------------------------------------------------------------------------
// What is known of an agent and its job
// -----------------------------------------------------------------------------

export const isEnded = ({ phase }: AgentProvider.Agent): boolean => phase === "Succeeded" || phase === "Failed"

/** Whether an agent has ended, or has a problem that it can't solve itself. Problems don't count once it has acquired its job. */
const needsAction = ({ hasAcquired }: AgentRun, agent: AgentProvider.Agent): boolean =>
  isEnded(agent) || (!hasAcquired && agent.problem !== undefined && agent.problem.reason !== "Unavailable")

/** Whether an agent has the job, or the job is over. In both cases no agent must be started. */
const needsNoAgent = ({ state }: JobRunner.JobContext): Effect.Effect<boolean> =>
  Effect.map(state, (jobState) => jobState !== undefined && (isAgentOwned(jobState) || isFinal(jobState)))
