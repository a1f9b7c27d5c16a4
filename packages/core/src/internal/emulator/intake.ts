/** Jobs that pipelines create. */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { ScheduledJob } from "../../StacksSchema.ts"
import { findQueue, type Job, type State } from "./state.ts"

/** A job to add; everything but its queue has a default. */
export interface NewJob {
  readonly queueKey: string
  /** Default: a new UUID, the same in every run. */
  readonly id?: string | undefined
  readonly command?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Default 0. */
  readonly priority?: number | undefined
  readonly agentQueryRules?: ReadonlyArray<string> | undefined
  /** Default: now. */
  readonly scheduledAt?: DateTime.DateTime.Input | undefined
  readonly runnableAt?: DateTime.DateTime.Input | null | undefined
  readonly pipeline?: Partial<ScheduledJob["pipeline"]> | undefined
  readonly build?: Partial<ScheduledJob["build"]> | undefined
  readonly step?: Partial<ScheduledJob["step"]> | undefined
}

/** Adds all of the jobs, or none where one of them can't be. */
export const add = (
  state: State,
  newJobs: ReadonlyArray<NewJob>,
  now: number
): Result.Result<ReadonlyArray<Job>, string> => {
  const ids = new Set<string>()
  for (const { id, queueKey, runnableAt, scheduledAt } of newJobs) {
    for (const time of [scheduledAt, runnableAt ?? undefined]) {
      if (time !== undefined && Option.isNone(DateTime.make(time))) return Result.fail(`${String(time)} is not a time`)
    }
    if (findQueue(state, queueKey) === undefined) return Result.fail(`there is no queue ${queueKey}`)
    if (id === undefined) continue
    if (id === "") return Result.fail("the id of a job is empty")
    if (state.jobs.has(id) || ids.has(id)) return Result.fail(`there is already a job with the id ${id}`)
    ids.add(id)
  }
  return Result.succeed(newJobs.flatMap((newJob) => addOne(state, newJob, now) ?? []))
}

const addOne = (state: State, newJob: NewJob, now: number): Job | undefined => {
  const queue = findQueue(state, newJob.queueKey)
  if (queue === undefined) return undefined
  const scheduledAt = DateTime.toUtc(DateTime.makeUnsafe(newJob.scheduledAt ?? now))
  const job: Job = {
    sequence: state.jobs.size,
    queue,
    queueKey: newJob.queueKey,
    scheduledAt: DateTime.toEpochMillis(scheduledAt),
    listed: {
      id: newJob.id ?? state.dice.uuid(),
      priority: newJob.priority ?? 0,
      agentQueryRules: newJob.agentQueryRules ?? [],
      scheduledAt,
      ...(newJob.runnableAt && { runnableAt: DateTime.toUtc(DateTime.makeUnsafe(newJob.runnableAt)) }),
      pipeline: { slug: "emulated-pipeline", uuid: state.pipelineUuid, ...newJob.pipeline },
      build: { uuid: state.buildUuid, number: 1, branch: "main", ...newJob.build },
      step: { key: null, ...newJob.step }
    },
    env: newJob.env ?? {},
    command: newJob.command ?? "",
    state: "scheduled",
    reservedBy: undefined,
    reservedAt: undefined,
    reservedUntil: 0,
    tokens: new Set(),
    exitStatus: undefined,
    detail: undefined,
    signalReason: undefined,
    startedAt: undefined,
    finishedAt: undefined,
    notifications: 0
  }
  state.jobs.set(job.listed.id, job)
  queue.scheduled.add(job)
  return job
}
