/** A job's life: listed, reserved, started by an agent or finished by its stack. */
import * as Base64Url from "effect/encoding/Base64Url"
import * as Result from "effect/Result"
import { isAgentOwned, type ScheduledJobsPage } from "../../StacksSchema.ts"
import { type Refusal, refuse } from "./refusal.ts"
import { type Job, type Queue, release, reserve, type Stack, type State } from "./state.ts"
import type { Position } from "./timeline.ts"

export const find = (state: State, id: string): Result.Result<Job, Refusal> => {
  const job = state.jobs.get(id)
  return job === undefined ? refuse(404, `No job found with UUID ${id}`) : Result.succeed(job)
}

// -----------------------------------------------------------------------------
// Listing
// -----------------------------------------------------------------------------

const defaultPageSize = 100

/**
 * A page of a queue. A cursor is the place of a page's last job, not a count of jobs: what comes and goes before it does not
 * move the pages after it.
 */
export const list = (
  queue: Queue,
  options: { readonly pageSize?: number | undefined; readonly startCursor?: string | undefined }
): Result.Result<ScheduledJobsPage, Refusal> => {
  let start: Position | undefined
  if (options.startCursor !== undefined) {
    start = decodeCursor(options.startCursor)
    if (start === undefined) return refuse(400, "after is not a valid cursor")
  }
  const limit = options.pageSize ?? defaultPageSize
  const jobs = queue.scheduled.after(start, limit + 1)
  const hasNextPage = jobs.length > limit
  if (hasNextPage) jobs.pop()
  const last = jobs.at(-1)
  return Result.succeed({
    jobs: jobs.map((job) => job.listed),
    clusterQueue: { id: queue.id, dispatchPaused: queue.paused },
    pageInfo: {
      hasNextPage,
      endCursor: last === undefined ? null : encodeCursor(queue.scheduled.positionOf(last))
    }
  })
}

const encodeCursor = ({ sequence, time }: Position): string => Base64Url.encode(`${time}:${sequence}`)

const decodeCursor = (cursor: string): Position | undefined => {
  const text = Result.getOrUndefined(Base64Url.decodeString(cursor))
  const match = text?.match(/^(-?\d+):(\d+)$/)
  return match ? { time: Number(match[1]), sequence: Number(match[2]) } : undefined
}

// -----------------------------------------------------------------------------
// Reserving and finishing
// -----------------------------------------------------------------------------

/** Reserves what is scheduled, and extends what this stack has reserved already. */
export const reserveAll = (
  state: State,
  stack: Stack,
  jobUuids: ReadonlyArray<string>,
  until: number,
  now: number
): { readonly reserved: Array<string>; readonly notReserved: Array<string> } => {
  const reserved: Array<string> = []
  const notReserved: Array<string> = []
  for (const id of new Set(jobUuids)) {
    const job = state.jobs.get(id)
    if (job?.state === "scheduled" || (job?.state === "reserved" && job.reservedBy === stack.key)) {
      reserve(state, job, stack.key, until, now)
      reserved.push(id)
    } else {
      notReserved.push(id)
    }
  }
  return { reserved, notReserved }
}

export interface FinishOptions {
  readonly exitStatus?: number | undefined
  readonly detail: string
  readonly signalReason?: string | undefined
}

export const finish = (
  state: State,
  stack: Stack,
  job: Job,
  { detail, exitStatus = -1, signalReason }: FinishOptions,
  now: number
): Result.Result<void, Refusal> => {
  if (isAgentOwned(job.state)) return refuse(422, `The job is ${job.state}: an agent owns it`)
  if (job.state !== "scheduled" && job.state !== "reserved") return refuse(422, `The job is already ${job.state}`)
  if (job.state === "reserved" && job.reservedBy !== stack.key) {
    return refuse(422, "The job is reserved by another stack")
  }
  release(state, job)
  end(job, "finished", now)
  job.exitStatus = exitStatus
  job.detail = detail
  job.signalReason = signalReason
  return Result.succeed(undefined)
}

const end = (job: Job, how: "finished" | "canceled", now: number): void => {
  job.state = how
  job.finishedAt = now
}

// -----------------------------------------------------------------------------
// Other people's doings: the pipeline's users and the agents
// -----------------------------------------------------------------------------

export const cancel = (state: State, job: Job, now: number): void => {
  if (isAgentOwned(job.state)) {
    job.state = "canceling"
  } else if (job.state === "scheduled" || job.state === "reserved" || job.state === "waiting") {
    release(state, job)
    end(job, "canceled", now)
  }
}

/** An agent takes a job, which it names itself or by the token that it got. */
export const acquire = (state: State, tokenOrJobUuid: string, now: number): Result.Result<Job, string> => {
  const token = state.tokens.get(tokenOrJobUuid)
  if (token?.isOver ?? tokenOrJobUuid.startsWith(tokenPrefix)) return Result.fail("the token is not valid")
  if (token !== undefined && token.expiresAt <= now) return Result.fail("the token has expired")
  const job = token?.job ?? state.jobs.get(tokenOrJobUuid)
  if (job === undefined) return Result.fail(`there is no job ${tokenOrJobUuid}`)
  return Result.map(accept(state, job), () => {
    job.state = "running"
    job.startedAt = now
    return job
  })
}

/** Gives a job away: an agent owns it now, and will start it. */
export const accept = (state: State, job: Job): Result.Result<void, string> => {
  if (job.state !== "scheduled" && job.state !== "reserved") {
    return Result.fail(`job ${job.listed.id} is ${job.state}`)
  }
  release(state, job)
  job.state = "accepted"
  return Result.void
}

/** An agent reports that its job has ended; one that was being canceled is then canceled. */
export const complete = (job: Job, exitStatus: number, now: number): Result.Result<Job, string> => {
  if (!isAgentOwned(job.state)) return Result.fail(`job ${job.listed.id} is ${job.state}: no agent owns it`)
  end(job, job.state === "canceling" ? "canceled" : "finished", now)
  job.exitStatus = exitStatus
  if (job.agent !== undefined) job.agent.job = undefined
  return Result.succeed(job)
}

// -----------------------------------------------------------------------------
// Acquisition tokens
// -----------------------------------------------------------------------------

const tokenPrefix = "bkjat_"

/** Issues tokens for the jobs that this stack has reserved. */
export const issueTokens = (
  state: State,
  stack: Stack,
  jobUuids: ReadonlyArray<string>,
  expiresAt: number,
  now: number
): {
  readonly issued: Array<{ readonly jobUuid: string; readonly token: string }>
  readonly notIssued: Array<string>
} => {
  const issued: Array<{ readonly jobUuid: string; readonly token: string }> = []
  const notIssued: Array<string> = []
  forgetExpired(state, now)
  for (const jobUuid of new Set(jobUuids)) {
    const job = state.jobs.get(jobUuid)
    if (job?.state !== "reserved" || job.reservedBy !== stack.key) {
      notIssued.push(jobUuid)
      continue
    }
    const token = `${tokenPrefix}${state.dice.text(40)}`
    job.tokens.add(token)
    state.tokens.set(token, { job, expiresAt, isUsed: false, isOver: false })
    issued.push({ jobUuid, token })
  }
  return { issued, notIssued }
}

/** Forgets the oldest tokens that have expired: one that lives longer keeps those behind it for an hour at most. */
const forgetExpired = (state: State, now: number): void => {
  for (const [token, { expiresAt, job }] of state.tokens) {
    if (expiresAt > now) return
    state.tokens.delete(token)
    job.tokens.delete(token)
  }
}
