/** Lists, reserves, starts and finishes jobs. */
import * as Base64Url from "effect/encoding/Base64Url"
import * as Result from "effect/Result"
import { isAgentOwned, isFinal, type ScheduledJobsPage } from "../../StacksSchema.ts"
import * as Deadlines from "./deadlines.ts"
import { type ErrorResponse, errorResponse } from "./errorResponse.ts"
import { endJob, type Job, type Queue, release, reserve, type Stack, type State } from "./state.ts"
import type { Position } from "./timeline.ts"
import * as Tokens from "./tokens.ts"

export const find = (state: State, id: string): Result.Result<Job, ErrorResponse> => {
  const job = state.jobs.get(id)
  return job === undefined ? errorResponse(404, `No job found with UUID ${id}`) : Result.succeed(job)
}

// -----------------------------------------------------------------------------
// Listing
// -----------------------------------------------------------------------------

const defaultPageSize = 100

/**
 * A page of a queue. A cursor is the position of a page's last job, not a count of jobs, so jobs that come and go before it do
 * not move the next page.
 */
export const list = (
  queue: Queue,
  options: { readonly pageSize?: number | undefined; readonly startCursor?: string | undefined }
): Result.Result<ScheduledJobsPage, ErrorResponse> => {
  let start: Position | undefined
  if (options.startCursor !== undefined) {
    start = decodeCursor(options.startCursor)
    if (start === undefined) return errorResponse(400, "after is not a valid cursor")
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

/** Reserves scheduled jobs, and extends reservations of this stack. */
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
): Result.Result<void, ErrorResponse> => {
  if (isAgentOwned(job.state)) return errorResponse(422, `The job is ${job.state}: an agent owns it`)
  if (job.state !== "scheduled" && job.state !== "reserved")
    return errorResponse(422, `The job is already ${job.state}`)
  if (job.state === "reserved" && job.reservedBy !== stack.key) {
    return errorResponse(422, "The job is reserved by another stack")
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
// What users and agents do
// -----------------------------------------------------------------------------

export const cancel = (state: State, job: Job, now: number): void => {
  if (isAgentOwned(job.state)) {
    Deadlines.clear(state, job)
    job.state = "canceling"
  } else if (!isFinal(job.state)) {
    release(state, job)
    end(job, "canceled", now)
  }
}

/** An agent acquires and starts a job, by its id or by an acquisition token. */
export const acquire = (state: State, tokenOrJobUuid: string, now: number): Result.Result<Job, string> => {
  const token = state.tokens.get(tokenOrJobUuid)
  if (token?.isOver ?? tokenOrJobUuid.startsWith(Tokens.acquisitionTokenPrefix))
    return Result.fail("the token is not valid")
  if (token !== undefined && token.expiresAt <= now) return Result.fail("the token has expired")
  const job = token?.job ?? state.jobs.get(tokenOrJobUuid)
  if (job === undefined) return Result.fail(`there is no job ${tokenOrJobUuid}`)
  return Result.map(accept(state, job), () => {
    job.state = "running"
    job.startedAt = now
    Deadlines.startTimeout(state, job)
    return job
  })
}

/** Makes an agent the owner of a job. */
export const accept = (state: State, job: Job): Result.Result<void, string> => {
  if (job.state !== "scheduled" && job.state !== "reserved") {
    return Result.fail(`job ${job.listed.id} is ${job.state}`)
  }
  release(state, job)
  job.state = "accepted"
  return Result.void
}

/** An agent reports that its job has ended. A job that was being canceled or timed out is then canceled or timed out. */
export const complete = (state: State, job: Job, exitStatus: number, now: number): Result.Result<Job, string> => {
  if (!isAgentOwned(job.state)) return Result.fail(`job ${job.listed.id} is ${job.state}: no agent owns it`)
  Deadlines.clear(state, job)
  endJob(job, now)
  job.exitStatus = exitStatus
  return Result.succeed(job)
}

// -----------------------------------------------------------------------------
// Acquisition tokens
// -----------------------------------------------------------------------------

/** Issues tokens for jobs that this stack has reserved. */
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
    const token = Tokens.acquisitionToken(state.random, jobUuid, expiresAt)
    job.tokens.add(token)
    state.tokens.set(token, { job, expiresAt, isUsed: false, isOver: false })
    issued.push({ jobUuid, token })
  }
  return { issued, notIssued }
}

/** Removes expired tokens, oldest first. A token that lives longer delays the removal of later ones by an hour at most. */
const forgetExpired = (state: State, now: number): void => {
  for (const [token, { expiresAt, job }] of state.tokens) {
    if (expiresAt > now) return
    state.tokens.delete(token)
    job.tokens.delete(token)
  }
}
