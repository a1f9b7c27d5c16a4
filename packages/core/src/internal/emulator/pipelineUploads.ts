/** Pipelines that jobs upload: their jobs come right after the uploading job. */
import * as Result from "effect/Result"
import * as BuildData from "./buildData.ts"
import { createJobs, type NewJob } from "./createJobs.ts"
import * as Jobs from "./jobs.ts"
import type { Job, State } from "./state.ts"
import * as Views from "./views.ts"

/** A pipeline that a job has uploaded, and where its jobs come. */
export interface PipelineUpload {
  /** The id of the upload. */
  readonly id: string
  /** The pipeline: an object with `steps`, or a list of steps. The agent has interpolated its variables. */
  readonly pipeline: unknown
  /** The job that uploads it. Its build is the build of the new jobs. */
  readonly job: Views.JobView
  /** The ids of the jobs before the new ones, in the order of the pipeline, with the uploading job. A `wait` waits for them. */
  readonly precedingJobs: ReadonlyArray<string>
  /** The ids of the build's jobs, by the keys of their steps. */
  readonly jobsByStepKey: ReadonlyMap<string, ReadonlyArray<string>>
}

/** Makes jobs of an uploaded pipeline, or says what is wrong with it. */
export type UploadReader = (upload: PipelineUpload) => Result.Result<ReadonlyArray<NewJob>, string>

export const unreadable: UploadReader = () =>
  Result.fail("This emulator can't read pipelines: give it the option readPipeline, or use NodeStacksEmulator")

export interface UploadOptions {
  readonly id: string
  readonly pipeline: unknown
  /** Whether the jobs of the build that no agent owns are removed first. */
  readonly replace: boolean
}

/** Adds the jobs of a pipeline to the build. */
export const apply = (
  state: State,
  job: Job,
  { id, pipeline, replace }: UploadOptions,
  readPipeline: UploadReader,
  now: number
): Result.Result<void, string> => {
  const build = BuildData.of(state, job)
  const replaced = new Set(replace ? build.jobs.filter(isReplaceable) : [])
  const kept = build.jobs.filter((other) => !replaced.has(other))
  const position = kept.indexOf(job) + 1
  const upload: PipelineUpload = {
    id,
    pipeline,
    job: Views.job(state, job),
    precedingJobs: kept.slice(0, position).map(({ listed }) => listed.id),
    jobsByStepKey: jobsByStepKey(kept)
  }
  return Result.flatMap(readPipeline(upload), (newJobs) =>
    Result.map(createJobs(state, newJobs, now), (created) => {
      for (const other of replaced) Jobs.cancel(state, other, now)
      const added = new Set(created)
      build.jobs.splice(
        0,
        build.jobs.length,
        ...kept.slice(0, position),
        ...created,
        ...kept.slice(position).filter((other) => !added.has(other))
      )
      // What waits for the uploading job at a `wait` waits for the new jobs too.
      for (const waiting of state.waiting) {
        if (!waiting.isAfterWait || added.has(waiting) || !waiting.waitsFor.has(job.listed.id)) continue
        for (const { listed } of created) waiting.waitsFor.add(listed.id)
      }
    })
  )
}

const isReplaceable = ({ state }: Job): boolean => state === "scheduled" || state === "reserved" || state === "waiting"

const jobsByStepKey = (jobs: ReadonlyArray<Job>): ReadonlyMap<string, ReadonlyArray<string>> => {
  const ids = new Map<string, Array<string>>()
  for (const { listed, step } of jobs) {
    if (step.key === null) continue
    const ofStep = ids.get(step.key)
    if (ofStep === undefined) ids.set(step.key, [listed.id])
    else ofStep.push(listed.id)
  }
  return ids
}
