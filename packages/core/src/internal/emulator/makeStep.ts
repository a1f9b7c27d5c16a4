/** Makes the steps of a build: of an uploaded pipeline, or for jobs that were added without one. */
import * as BuildData from "./buildData.ts"
import type { Build, Step } from "./builds.ts"
import type * as Document from "./pipeline/document.ts"
import type { State } from "./state.ts"

/** A step that waits. */
export const makeStep = (
  state: State,
  build: Build,
  document: Document.Step,
  group: Step | undefined,
  holds: Array<string>
): Step => ({
  ...emptyStep(state.stepRandom.uuid(), build),
  kind: document.kind,
  key: document.key,
  label: document.label,
  group,
  allowsDependencyFailure: document.allowsDependencyFailure || group?.allowsDependencyFailure === true,
  holds,
  ...((document.kind === "block" || document.kind === "input") && { prompt: document.prompt, fields: document.fields }),
  ...(document.kind === "command" && {
    retry: document.retry,
    concurrency: document.concurrency,
    isCanceledOnBuildFailing: document.isCanceledOnBuildFailing
  })
})

const emptyStep = (id: string, build: Build): Step => ({
  id,
  build,
  kind: "command",
  key: undefined,
  label: undefined,
  group: undefined,
  uploadedBy: undefined,
  children: [],
  needs: new Set(),
  allowsDependencyFailure: false,
  state: "waiting",
  holds: [],
  prompt: undefined,
  fields: [],
  openJobs: new Set(),
  outcomes: new Map(),
  hasFailedNeed: false,
  uploads: [],
  retry: { automatic: [], isManualAllowed: true, isPermittedOnPassed: false },
  concurrency: undefined,
  isCanceledOnBuildFailing: false
})

/** Gives a build steps for its jobs that have none, so that uploaded steps can depend on them. */
export const addStepsOfJobs = (state: State, build: Build): void => {
  const data = BuildData.open(state, build.uuid)
  for (const { id, key, label } of data.steps.values()) {
    const jobs = data.jobs.filter((job) => job.step.id === id && job.pipelineStep === undefined)
    if (jobs.length === 0) continue
    const step: Step = {
      ...emptyStep(id, build),
      key: key ?? undefined,
      label,
      // Its jobs wait by themselves for what they depend on.
      state: "running",
      openJobs: new Set(jobs)
    }
    for (const job of jobs) job.pipelineStep = step
    build.steps.push(step)
    if (key !== null) build.stepsByKey.set(key, step)
    state.pipelineSteps.set(id, step)
    state.openSteps.add(step)
  }
}
