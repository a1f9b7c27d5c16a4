/** Agents: they register, acquire a job and report its progress. */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as AgentLiveness from "./agentLiveness.ts"
import * as Deadlines from "./deadlines.ts"
import { type ErrorResponse, errorResponse } from "./errorResponse.ts"
import * as Jobs from "./jobs.ts"
import type { Agent, Job, State } from "./state.ts"
import * as Tokens from "./tokens.ts"

export interface NewAgent {
  readonly name: string
  readonly hostname: string
  readonly version: string
  readonly tags: ReadonlyArray<string>
}

/**
 * Registers an agent. With the cluster's token it may acquire any job, with an acquisition token only the token's job. An
 * acquisition token registers one agent. It is refused after it has expired (401) or its reservation is over (422).
 */
export const register = (
  state: State,
  token: string | undefined,
  clusterToken: Redacted.Redacted,
  { hostname, name, tags, version }: NewAgent,
  now: number
): Result.Result<Agent, ErrorResponse> => {
  let acquisitionToken: string | undefined
  if (token !== Redacted.value(clusterToken)) {
    const issued = state.tokens.get(token ?? "")
    if (issued === undefined || issued.expiresAt <= now) return unauthorized
    if (issued.isOver || issued.isUsed) return ineligible
    issued.isUsed = true
    acquisitionToken = token
  }
  const agent: Agent = {
    id: state.agentRandom.uuid(),
    name: (name || "%hostname-%n")
      .replaceAll("%hostname", hostname || "agent")
      .replaceAll("%n", String(state.agents.size + 1)),
    hostname,
    version,
    tags,
    accessToken: Tokens.agentToken(state.agentRandom),
    jobToken: undefined,
    lastJobUuid: undefined,
    acquisitionToken,
    state: "registered",
    job: undefined,
    isStopping: false,
    registeredAt: now,
    lastSeen: now
  }
  state.agents.set(agent.id, agent)
  state.accessTokens.set(agent.accessToken, agent)
  state.liveAgents.add(agent)
  return Result.succeed(agent)
}

/** The agent of the token that came with its job, or of its access token. */
export const authenticateJob = (state: State, token: string | undefined): Result.Result<Agent, ErrorResponse> => {
  const agent = state.jobTokens.get(token ?? "")
  return agent === undefined ? authenticate(state, token) : Result.succeed(agent)
}

/** The agent of an access token, unless it is disconnected or lost. */
export const authenticate = (state: State, token: string | undefined): Result.Result<Agent, ErrorResponse> => {
  const agent = state.accessTokens.get(token ?? "")
  return agent === undefined ? unauthorized : Result.succeed(agent)
}

const unauthorized = errorResponse(401, "Authentication required. The token is not valid, or no longer")

/** Agents since 4.0.3 recognize the status and this message, and exit with 27. */
const ineligible = errorResponse(422, "Job is not eligible for job acquisition registration")

/** Asks an agent to stop. With `force`, cancels its job. */
export const stop = (state: State, agent: Agent, force: boolean, now: number): void => {
  agent.isStopping = true
  if (force && agent.job !== undefined) Jobs.cancel(state, agent.job, now)
}

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

/** How an agent acquires its job. */
export interface AcquireOptions {
  /** Whether the agent waits after a 423. Other agents get a 422. */
  readonly supportsLocks: boolean
  /** How many times it has tried before. */
  readonly attempt: number
}

/** Gives an agent the job that it names. Safe to repeat if a response was lost. */
export const acquire = (
  state: State,
  agent: Agent,
  jobUuid: string,
  options: AcquireOptions
): Result.Result<Job, ErrorResponse> => {
  const job = state.jobs.get(jobUuid)
  if (job === undefined) return errorResponse(404, `No job found with UUID ${jobUuid}`)
  if (agent.job === job && job.state === "accepted") return Result.succeed(job)
  if (agent.job !== undefined) return errorResponse(422, "The agent is running another job")
  if (agent.acquisitionToken !== undefined && !job.tokens.has(agent.acquisitionToken)) {
    return errorResponse(422, `The agent's token does not allow it to acquire job ${jobUuid}, or no longer`)
  }
  if (job.state === "waiting" && options.supportsLocks) {
    return errorResponse(423, `Job ${jobUuid} is waiting for others`, 2 ** Math.min(options.attempt + 1, 6))
  }
  return Result.mapBoth(Jobs.accept(state, job), {
    onFailure: (message): ErrorResponse => ({ status: 422, message }),
    onSuccess: () => {
      job.agent = agent
      agent.job = job
      agent.lastJobUuid = jobUuid
      agent.jobToken = Tokens.jobToken(state.agentRandom, jobUuid)
      state.jobTokens.set(agent.jobToken, agent)
      return job
    }
  })
}

/** The job of an agent, even after it has ended. */
export const jobOf = (state: State, agent: Agent, jobUuid: string): Result.Result<Job, ErrorResponse> => {
  const job = state.jobs.get(jobUuid)
  return job?.agent === agent ? Result.succeed(job) : errorResponse(404, `No job found with UUID ${jobUuid}`)
}

/** Safe to repeat if a response was lost. */
export const start = (state: State, job: Job, now: number): Result.Result<void, ErrorResponse> => {
  if (job.state !== "accepted" && job.state !== "running") return errorResponse(422, `The job is ${job.state}`)
  job.state = "running"
  job.startedAt ??= now
  Deadlines.startTimeout(state, job)
  return Result.void
}

export interface JobResult {
  readonly exitStatus: number
  readonly signal: string | undefined
  readonly signalReason: string | undefined
}

export const finish = (state: State, job: Job, result: JobResult, now: number): Result.Result<void, ErrorResponse> => {
  // A promise to fail overrides a success.
  const exitStatus = result.exitStatus === 0 ? (job.promisedExitStatus ?? 0) : result.exitStatus
  return Result.mapBoth(Jobs.complete(state, job, exitStatus, now), {
    onFailure: (message): ErrorResponse => ({ status: 422, message }),
    onSuccess: () => {
      job.signal = result.signal
      job.signalReason = result.signalReason
    }
  })
}

export const disconnect = (state: State, agent: Agent, now: number): void =>
  AgentLiveness.remove(state, agent, "disconnected", now)
