/** Jobs as stacks save them. */
import type { SavedJob } from "@stacksapi/core/JobStore"
import * as DateTime from "effect/DateTime"

export const savedJob = (id: string, outcome?: SavedJob["outcome"]): SavedJob => {
  const job = {
    id,
    priority: 3,
    agentQueryRules: ["queue=linux", "size=ü"],
    scheduledAt: DateTime.makeUnsafe("2026-10-01T12:34:56.789Z"),
    pipeline: { slug: "web", uuid: null },
    build: { uuid: null, number: 42, branch: "main" },
    step: { key: null }
  }
  return outcome === undefined ? { job } : { job, outcome }
}

/** The n-th change of a history: of four calls three save, and one removes a job that was saved before. */
export const change = (
  n: number
): { readonly saved: ReadonlyArray<SavedJob>; readonly removed: ReadonlyArray<string> } =>
  n % 4 === 3
    ? { saved: [], removed: [`job-${n - 3}`] }
    : { saved: [savedJob(`job-${n}`), savedJob(`job-${n - (n % 4)}`, { exitStatus: n, detail: "done" })], removed: [] }

/** The jobs that are there after the first `count` changes, by their ids, with their exit statuses. */
export const after = (count: number): Record<string, number | null> => {
  const jobs: Record<string, number | null> = {}
  for (let n = 0; n < count; n++) {
    const { removed, saved } = change(n)
    for (const { job, outcome } of saved) jobs[job.id] = outcome?.exitStatus ?? null
    for (const id of removed) delete jobs[id]
  }
  return jobs
}

export const shown = (saved: ReadonlyArray<SavedJob>): Record<string, number | null> =>
  Object.fromEntries(saved.map(({ job, outcome }) => [job.id, outcome?.exitStatus ?? null]))
