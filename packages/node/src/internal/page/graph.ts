/** Builds, and which of their jobs wait for which others, as the page draws them. */
import type * as StacksEmulator from "@stacksapi/core/StacksEmulator"
import * as Model from "./model.ts"

/** How many builds can be chosen from, and how many jobs one drawing has. */
const maxBuilds = 50
const maxNodes = 300

/** The key of a job's build. Jobs may have no build, and then those of a pipeline are together. */
const buildOf = ({ build, pipeline }: StacksEmulator.Job): string => build.uuid ?? `${pipeline.slug}#${build.number}`

/** The builds with dependencies between their jobs, the newest first. */
export const builds = (jobs: ReadonlyArray<StacksEmulator.Job>) => {
  const found = new Map<string, { id: string; pipeline: string | null; number: number | null; isGraph: boolean }>()
  for (const job of jobs) {
    const id = buildOf(job)
    const known = found.get(id)
    const isGraph = (known?.isGraph ?? false) || job.dependsOn.length > 0
    found.delete(id)
    found.set(id, { id, pipeline: job.pipeline.slug, number: job.build.number, isGraph })
  }
  return Array.from(found.values())
    .filter(({ isGraph }) => isGraph)
    .slice(-maxBuilds)
    .reverse()
    .map(({ id, number, pipeline }) => ({ id, pipeline, number }))
}

/** The jobs of a build, with the ids of those that each depends on. */
export const graph = (jobs: ReadonlyArray<StacksEmulator.Job>, build: string) => {
  const ofBuild = jobs.filter((job) => buildOf(job) === build)
  return {
    total: ofBuild.length,
    nodes: ofBuild.slice(0, maxNodes).map((job) => {
      const { hasSoftFailed, id, label, phase } = Model.row(job)
      return { id, label, phase, hasSoftFailed, dependsOn: job.dependsOn }
    })
  }
}
