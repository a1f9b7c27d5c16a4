/** Pipelines that jobs upload: their jobs come right after the uploading job. */
import * as Result from "effect/Result"
import { isAgentOwned } from "../../StacksSchema.ts"
import * as BuildData from "./buildData.ts"
import type { Build, Step } from "./builds.ts"
import * as Jobs from "./jobs.ts"
import { addStepsOfJobs } from "./makeStep.ts"
import { addBuild } from "./startBuild.ts"
import type { Job, State } from "./state.ts"
import { skipRemaining } from "./steps.ts"
import { type Note, upload } from "./uploadPipeline.ts"

export interface UploadOptions {
  /** The pipeline: an object with `steps`, or a list of steps. The agent has interpolated its variables. */
  readonly pipeline: unknown
  /** Whether the jobs of the build that no agent owns are removed first. */
  readonly replace: boolean
  /** The queue of jobs whose rules name none. */
  readonly queueKey: string
}

/** A pipeline that a job has uploaded with `buildkite-agent pipeline upload`. */
export interface JobUpload {
  readonly jobUuid: string
  readonly notes: ReadonlyArray<Note>
}

/** Adds the steps and jobs of a pipeline to the build of the job that uploads it. Fails with what is wrong with the pipeline. */
export const apply = (
  state: State,
  job: Job,
  { pipeline, queueKey, replace }: UploadOptions,
  now: number
): Result.Result<void, string> => {
  const { jobs } = BuildData.of(state, job)
  const uploader = stepOf(state, job)
  if (uploader === undefined) return Result.fail("The job has no step")
  const replaced = new Set(replace ? jobs.filter((other) => isReplaceable(other) && other !== job) : [])
  return Result.mapBoth(upload(state, [pipeline], { build: uploader.build, queueKey, uploader }, now), {
    onFailure: ({ path, problem }) => (path === "" ? problem : `${path}: ${problem}`),
    onSuccess: ({ jobs: created, notes, steps }) => {
      state.jobUploads.push({ jobUuid: job.listed.id, notes })
      if (replace) skipRemaining(state, uploader.build, new Set([uploader, ...steps]), now)
      for (const other of replaced) Jobs.cancel(state, other, now)
      const added = new Set(created)
      const kept = jobs.filter((other) => !added.has(other) && !replaced.has(other))
      const position = kept.indexOf(job) + 1
      jobs.splice(0, jobs.length, ...kept.slice(0, position), ...created, ...kept.slice(position))
      // What waits for the uploading job at a `wait` waits for the new jobs too.
      for (const waiting of state.waiting) {
        if (!waiting.isAfterWait || !waiting.waitsFor.has(job.listed.id)) continue
        for (const { listed } of created) waiting.waitsFor.add(listed.id)
      }
    }
  })
}

const isReplaceable = ({ finishedAt, state }: Job): boolean => finishedAt === undefined && !isAgentOwned(state)

/** The step of the job. A build whose jobs were added without a pipeline gets steps for them. */
const stepOf = (state: State, job: Job): Step | undefined => {
  if (job.pipelineStep === undefined) {
    addStepsOfJobs(state, state.pipelineBuilds.get(BuildData.idOf(state, job)) ?? buildOf(state, job))
  }
  return job.pipelineStep
}

const buildOf = (state: State, job: Job): Build => {
  const { build, pipeline } = job.listed
  return addBuild(state, {
    uuid: BuildData.idOf(state, job),
    number: build.number ?? 1,
    branch: build.branch ?? "main",
    pipelineSlug: pipeline.slug ?? "emulated-pipeline",
    pipelineUuid: pipeline.uuid ?? state.pipelineUuid,
    env: {}
  })
}
