/** Builds: the jobs of one build, and what the jobs have left there. */
import type { Artifact } from "./artifacts.ts"
import type { Job, State } from "./state.ts"

export interface BuildData {
  readonly id: string
  /** The jobs, in the order of the pipeline. Jobs that a job uploads come right after it. */
  readonly jobs: Array<Job>
  readonly steps: Map<string, Step>
  readonly stepsByKey: Map<string, Step>
  readonly metaData: Map<string, string>
  /** The annotations, by scope and context, in the order of their creation. */
  readonly annotations: Map<string, Annotation>
  /** The artifacts, in the order of their creation. */
  readonly artifacts: Array<Artifact>
}

/** A step of a pipeline, which has one job, several, or none, such as a block step. */
export interface Step {
  readonly id: string
  readonly key: string | null
  label: string
  readonly notify: Array<unknown>
  /** The ids of the updates that were applied. Agents repeat an update if they get no response. */
  readonly appliedUpdates: Set<string>
}

interface Annotation {
  readonly context: string
  readonly scope: "build" | "job"
  /** The job that annotated it last. */
  jobUuid: string
  style: string
  priority: number
  body: string
}

/** The id of a job's build. */
export const idOf = (state: State, job: Job): string => job.listed.build.uuid ?? state.buildUuid

/** The build of an id, which begins to exist with its first job. */
export const open = (state: State, id: string): BuildData => {
  const existing = state.builds.get(id)
  if (existing !== undefined) return existing
  const build: BuildData = {
    id,
    jobs: [],
    steps: new Map(),
    stepsByKey: new Map(),
    metaData: new Map(),
    annotations: new Map(),
    artifacts: []
  }
  state.builds.set(id, build)
  return build
}

export const of = (state: State, job: Job): BuildData => open(state, idOf(state, job))

/** The step of an id; it is added if the build has none. */
export const openStep = (build: BuildData, step: Pick<Step, "id" | "key" | "label">): Step => {
  const existing = build.steps.get(step.id)
  if (existing !== undefined) return existing
  const added: Step = { ...step, notify: [], appliedUpdates: new Set() }
  build.steps.set(step.id, added)
  if (step.key !== null && !build.stepsByKey.has(step.key)) build.stepsByKey.set(step.key, added)
  return added
}

/** The last try of each job of a step. */
export const jobsOf = (build: BuildData, step: Step): ReadonlyArray<Job> =>
  build.jobs.filter((job) => job.step === step && job.retriedBy === undefined)
