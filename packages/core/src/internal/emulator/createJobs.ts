/** Creates jobs, as pipelines do. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type { ScheduledJob } from "../../StacksSchema.ts"
import * as BuildData from "./buildData.ts"
import type { Step } from "./builds.ts"
import { findQueue, type Job, type State, unstarted } from "./state.ts"

/** A job to add. Only `queueKey` is required. */
export interface NewJob {
  readonly queueKey: string
  /** Default: a UUID that the emulator's seed decides. */
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
  /**
   * The ids of jobs that must pass first. They are added before this one or together with it. Until they pass, the job is
   * `waiting` and not listed. If one ends without passing, the job is `waiting_failed`.
   */
  readonly dependsOn?: ReadonlyArray<string> | undefined
  /** Whether the jobs in `dependsOn` may also fail. Default false. */
  readonly allowDependencyFailure?: boolean | undefined
  /**
   * Whether `dependsOn` are the jobs before a `wait` step. Then the job also waits for the jobs that one of them uploads with
   * `pipeline upload`. Default false.
   */
  readonly isAfterWait?: boolean | undefined
  /** How long it may run before it times out. Default: any time. */
  readonly timeout?: Duration.Input | undefined
  /** The id of its step, which jobs of one step share. Default: an id of its own, or that of the build's step with the same key. */
  readonly stepId?: string | undefined
  /** The label of its step. Default: `BUILDKITE_LABEL` in `env`, or its command. */
  readonly label?: string | undefined
  /** Whether it passes with any exit status (true), or with which ones besides 0. Only dependent jobs look at this. Default false. */
  readonly softFail?: boolean | ReadonlyArray<number> | undefined
}

/** Adds all jobs, or none if one of them is invalid. */
export const createJobs = (
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
  for (const dependency of newJobs.flatMap(({ dependsOn }) => dependsOn ?? [])) {
    if (!state.jobs.has(dependency) && !ids.has(dependency)) {
      return Result.fail(`a job depends on ${dependency}, and there is no such job`)
    }
  }
  return Result.succeed(newJobs.flatMap((newJob) => createJob(state, newJob, now) ?? []))
}

/** Creates a job. If it belongs to a pipeline's step, the step lists it later. Undefined if the queue does not exist. */
export const createJob = (state: State, newJob: NewJob, now: number, pipelineStep?: Step): Job | undefined => {
  const queue = findQueue(state, newJob.queueKey)
  if (queue === undefined) return undefined
  const id = newJob.id ?? state.random.uuid()
  const waitsFor = new Set(newJob.dependsOn)
  const scheduledAt = DateTime.toUtc(DateTime.makeUnsafe(newJob.scheduledAt ?? now))
  const build = { uuid: state.buildUuid, number: 1, branch: "main", ...newJob.build }
  const steps = BuildData.open(state, build.uuid ?? state.buildUuid)
  const job: Job = {
    sequence: state.jobs.size,
    queue,
    queueKey: newJob.queueKey,
    scheduledAt: DateTime.toEpochMillis(scheduledAt),
    listed: {
      id,
      priority: newJob.priority ?? 0,
      agentQueryRules: newJob.agentQueryRules ?? [],
      scheduledAt,
      ...(Predicate.isNotNullish(newJob.runnableAt) && {
        runnableAt: DateTime.toUtc(DateTime.makeUnsafe(newJob.runnableAt))
      }),
      pipeline: { slug: "emulated-pipeline", uuid: state.pipelineUuid, ...newJob.pipeline },
      build,
      step: { key: null, ...newJob.step }
    },
    env: { ...newJob.env, ...(pipelineStep && { BUILDKITE_JOB_ID: id, BUILDKITE_STEP_ID: pipelineStep.id }) },
    command: newJob.command ?? "",
    step: stepOf(state, steps, newJob),
    state: waitsFor.size === 0 && pipelineStep === undefined ? "scheduled" : "waiting",
    dependsOn: Array.from(waitsFor),
    waitsFor,
    isAfterWait: newJob.isAfterWait ?? false,
    allowsDependencyFailure: newJob.allowDependencyFailure ?? false,
    softFail: newJob.softFail ?? false,
    pipelineStep,
    order: state.jobs.size,
    retryCount: 0,
    retriesByRule: new Map(),
    timeout: newJob.timeout === undefined ? undefined : Duration.toMillis(newJob.timeout),
    ...unstarted()
  }
  state.jobs.set(id, job)
  steps.jobs.push(job)
  if (pipelineStep !== undefined) pipelineStep.openJobs.add(job)
  else if (job.state === "waiting") state.waiting.add(job)
  else queue.scheduled.add(job)
  return job
}

const stepOf = (
  state: State,
  build: BuildData.BuildData,
  { command, env, label, step, stepId }: NewJob
): BuildData.Step => {
  const key = step?.key ?? null
  const id = stepId ?? build.stepsByKey.get(key ?? "")?.id ?? state.stepRandom.uuid()
  return BuildData.openStep(build, { id, key, label: label ?? env?.["BUILDKITE_LABEL"] ?? command ?? "" })
}
