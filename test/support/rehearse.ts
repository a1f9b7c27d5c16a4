/** Pipelines on an emulator in memory. */
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import { rehearse as rehearseFiles } from "../../packages/node/src/internal/pipeline/rehearsal.ts"

export interface Options {
  readonly branch?: string
  readonly env?: Readonly<Record<string, string>>
}

/** A build of pipeline files, of which none has run yet. */
export const rehearse = Effect.fnUntraced(function* (texts: string | ReadonlyArray<string>, options: Options = {}) {
  const emulator = yield* StacksEmulator.make()
  const files = [texts].flat().map((text, index) => ({ name: index === 0 ? "pipeline.yml" : `${index}.yml`, text }))
  const rehearsal = yield* rehearseFiles(emulator, files, {
    build: { pipelineSlug: "my-app", ...options },
    queueKey: "_default"
  })
  return { emulator, ...rehearsal }
}, Effect.scoped)

export const labelOf = (job: StacksEmulator.Job): string => job.env["BUILDKITE_LABEL"] ?? ""

/** How jobs end, by their labels. Those that are not named pass. */
export type Ends = Readonly<Record<string, number>>

/** Runs all jobs that are listed, then those that are listed because of these, and so on. Returns the labels of each round. */
export const rounds = Effect.fnUntraced(function* (emulator: StacksEmulator.Service, ends: Ends = {}) {
  const all: Array<ReadonlyArray<string>> = []
  for (;;) {
    const listed = (yield* emulator.jobs).filter(({ state }) => state === "scheduled")
    if (listed.length === 0) return all
    all.push(listed.map(labelOf))
    for (const job of listed) {
      yield* emulator.acquireJob(job.id)
      yield* emulator.completeJob(job.id, ends[labelOf(job)] ?? 0)
    }
  }
})

/** The state of each job, by its label; of several tries, that of the last one. */
export const statesOf = (emulator: StacksEmulator.Service) =>
  Effect.map(emulator.jobs, (jobs) => Object.fromEntries(jobs.map((job) => [labelOf(job), job.state])))
