/** The agents: they register, take a job and report on it. */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Jobs from "./jobs.ts"
import * as Partings from "./partings.ts"
import { type Refusal, refuse } from "./refusal.ts"
import type { Agent, Job, State } from "./state.ts"

export interface Registration {
  readonly name: string
  readonly hostname: string
  readonly version: string
  readonly tags: ReadonlyArray<string>
}

/**
 * Registers an agent: with the cluster's token one for any job, with an acquisition token one for that token's job. An
 * acquisition token registers one agent, while it has not expired (401) and its reservation lasts (422).
 */
export const register = (
  state: State,
  token: string | undefined,
  clusterToken: Redacted.Redacted,
  { hostname, name, tags, version }: Registration,
  now: number
): Result.Result<Agent, Refusal> => {
  let acquisitionToken: string | undefined
  if (token !== Redacted.value(clusterToken)) {
    const issued = state.tokens.get(token ?? "")
    if (issued === undefined || issued.expiresAt <= now) return unauthorized
    if (issued.isOver || issued.isUsed) return ineligible
    issued.isUsed = true
    acquisitionToken = token
  }
  const agent: Agent = {
    id: state.agentDice.uuid(),
    name: (name || "%hostname-%n")
      .replaceAll("%hostname", hostname || "agent")
      .replaceAll("%n", String(state.agents.size + 1)),
    hostname,
    version,
    tags,
    accessToken: `bkaat_${state.agentDice.text(40)}`,
    acquisitionToken,
    state: "registered",
    job: undefined,
    isStopping: false,
    registeredAt: now,
    lastSeen: now
  }
  state.agents.set(agent.id, agent)
  state.accessTokens.set(agent.accessToken, agent)
  state.presentAgents.add(agent)
  return Result.succeed(agent)
}

/** The agent of an access token, while it is there. */
export const authenticate = (state: State, token: string | undefined): Result.Result<Agent, Refusal> => {
  const agent = state.accessTokens.get(token ?? "")
  return agent === undefined ? unauthorized : Result.succeed(agent)
}

const unauthorized = refuse(401, "Authentication required. The token is not valid, or no longer")

/** Agents from 4.0.3 on know it by its status and this message, and exit with 27. */
const ineligible = refuse(422, "Job is not eligible for job acquisition registration")

/** Asks an agent to leave; at once where it is forced to, which cancels its job. */
export const stop = (state: State, agent: Agent, force: boolean, now: number): void => {
  agent.isStopping = true
  if (force && agent.job !== undefined) Jobs.cancel(state, agent.job, now)
}

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

/** How an agent asks for its job. */
export interface Asking {
  /** Whether it knows the status 423, and waits; others are told 422. */
  readonly knowsLocks: boolean
  /** How often it has asked before. */
  readonly attempt: number
}

/** Gives an agent the job that it names; the same again where its first answer was lost. */
export const acquire = (state: State, agent: Agent, jobUuid: string, asking: Asking): Result.Result<Job, Refusal> => {
  const job = state.jobs.get(jobUuid)
  if (job === undefined) return refuse(404, `No job found with UUID ${jobUuid}`)
  if (agent.job === job && job.state === "accepted") return Result.succeed(job)
  if (agent.job !== undefined) return refuse(422, "The agent is running another job")
  if (agent.acquisitionToken !== undefined && !job.tokens.has(agent.acquisitionToken)) {
    return refuse(422, `The agent's token does not allow it to acquire job ${jobUuid}, or no longer`)
  }
  if (job.state === "waiting" && asking.knowsLocks) {
    return refuse(423, `Job ${jobUuid} is waiting for others`, 2 ** Math.min(asking.attempt + 1, 6))
  }
  return Result.mapBoth(Jobs.accept(state, job), {
    onFailure: (message): Refusal => ({ status: 422, message }),
    onSuccess: () => {
      job.agent = agent
      agent.job = job
      return job
    }
  })
}

/** The job that an agent has, or had. */
export const jobOf = (state: State, agent: Agent, jobUuid: string): Result.Result<Job, Refusal> => {
  const job = state.jobs.get(jobUuid)
  return job?.agent === agent ? Result.succeed(job) : refuse(404, `No job found with UUID ${jobUuid}`)
}

/** Says yes a second time too, when the first answer was lost. */
export const start = (job: Job, now: number): Result.Result<void, Refusal> => {
  if (job.state !== "accepted" && job.state !== "running") return refuse(422, `The job is ${job.state}`)
  job.state = "running"
  job.startedAt ??= now
  return Result.void
}

export interface Ending {
  readonly exitStatus: number
  readonly signal: string | undefined
  readonly signalReason: string | undefined
}

export const finish = (job: Job, ending: Ending, now: number): Result.Result<void, Refusal> => {
  return Result.mapBoth(Jobs.complete(job, ending.exitStatus, now), {
    onFailure: (message): Refusal => ({ status: 422, message }),
    onSuccess: () => {
      job.signal = ending.signal
      job.signalReason = ending.signalReason
    }
  })
}

/** An agent says farewell. */
export const disconnect = (state: State, agent: Agent, now: number): void =>
  Partings.part(state, agent, "disconnected", now)
