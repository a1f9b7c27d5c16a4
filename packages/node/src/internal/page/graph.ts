/** Builds, and which of their jobs and steps wait for which others, as the page draws them. */
import type * as StacksEmulator from "@stacksapi/core/StacksEmulator"
import * as Model from "./model.ts"

/** How many builds can be chosen from, and how many nodes one drawing has. */
const maxBuilds = 50
const maxNodes = 300

type Jobs = ReadonlyArray<StacksEmulator.Job>
type Steps = ReadonlyArray<StacksEmulator.Step>

/** The key of a job's build. Jobs may have no build, and then those of a pipeline are together. */
const buildOf = ({ build, pipeline }: StacksEmulator.Job): string => build.uuid ?? `${pipeline.slug}#${build.number}`

/** The builds with dependencies between their jobs or steps, the newest first. */
export const builds = (jobs: Jobs, steps: Steps) => {
  const found = new Map<string, { id: string; pipeline: string | null; number: number | null; isGraph: boolean }>()
  const add = (id: string, pipeline: string | null, number: number | null, isGraph: boolean) => {
    const wasGraph = found.get(id)?.isGraph ?? false
    found.delete(id)
    found.set(id, { id, pipeline, number, isGraph: wasGraph || isGraph })
  }
  for (const { build, dependsOn } of steps) add(build.uuid, build.pipelineSlug, build.number, dependsOn.length > 0)
  for (const job of jobs) add(buildOf(job), job.pipeline.slug, job.build.number, job.dependsOn.length > 0)
  return Array.from(found.values())
    .filter(({ isGraph }) => isGraph)
    .slice(-maxBuilds)
    .reverse()
    .map(({ id, number, pipeline }) => ({ id, pipeline, number }))
}

/** The jobs of a build, and its steps that have no jobs, with the ids of those that each waits for. */
export const graph = (allJobs: Jobs, allSteps: Steps, build: string) => {
  const jobs = allJobs.filter((job) => buildOf(job) === build)
  const steps = allSteps.filter((step) => step.build.uuid === build)
  const awaitedBy = awaitedSteps(jobs, steps)
  const earlierTry = new Map(jobs.map(({ id, retriedBy }) => [retriedBy, id]))
  const nodes = [
    ...jobs.map((job) => {
      const { hasSoftFailed, id, label, phase, state } = Model.row(job)
      const retried = earlierTry.get(id)
      const dependsOn = retried === undefined ? [...job.dependsOn, ...awaitedBy(job.stepId)] : [retried]
      return { id, kind: "job", label, phase, state, hasSoftFailed, dependsOn }
    }),
    ...steps.filter(isDrawn).map(({ id, key, kind, label, state }) => ({
      id,
      kind,
      label: label ?? key ?? kind,
      phase: state === "blocked" ? "waiting" : state,
      state,
      hasSoftFailed: false,
      dependsOn: awaitedBy(id)
    }))
  ]
  return { total: nodes.length, nodes: nodes.slice(0, maxNodes) }
}

/** A step without jobs of its own or of its steps. */
const isDrawn = ({ kind, state }: StacksEmulator.Step): boolean =>
  kind !== "command" && kind !== "group" && state !== "skipped"

/** The ids of the nodes that a step waits for: the last tries of its jobs, or the step itself. */
const awaitedSteps = (jobs: Jobs, steps: Steps) => {
  const stepById = new Map(steps.map((step) => [step.id, step]))
  const lastTries = Map.groupBy(
    jobs.filter(({ retriedBy }) => retriedBy === undefined),
    ({ stepId }) => stepId
  )
  const childrenOf = Map.groupBy(steps, ({ groupId }) => groupId)
  const nodesOf = (step: StacksEmulator.Step): ReadonlyArray<string> => {
    if (isDrawn(step)) return [step.id]
    if (step.kind === "group") return (childrenOf.get(step.id) ?? []).flatMap(nodesOf)
    return (lastTries.get(step.id) ?? []).map(({ id }) => id)
  }
  return (id: string | undefined): ReadonlyArray<string> => {
    const awaited = id === undefined ? [] : (stepById.get(id)?.dependsOn ?? [])
    return Array.from(new Set(awaited.flatMap((id) => stepById.get(id) ?? []).flatMap(nodesOf)))
  }
}
