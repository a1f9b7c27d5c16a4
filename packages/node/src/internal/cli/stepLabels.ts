/** The labels of steps. Lists of jobs have only the keys of steps, and the environment of a job has its label. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** The label in the environment of a job. */
export const labelIn = (env: Readonly<Record<string, string>>): string | undefined =>
  env["BUILDKITE_LABEL"] || undefined

/** Of how many jobs the labels are kept. */
const maxLabels = 1000

/** The labels of the jobs that a runner has started. */
export class StepLabels {
  readonly #labels = new Map<string, string>()

  readonly of = (jobUuid: string): string | undefined => this.#labels.get(jobUuid)

  /** The runner in a context, which tells the label of each job when it reads the job's environment. */
  readonly wrap = <R>(services: Context.Context<R | JobRunner.JobRunner>): Context.Context<R | JobRunner.JobRunner> => {
    const runner = Context.get(services, JobRunner.JobRunner)
    return Context.add(services, JobRunner.JobRunner, {
      ...runner,
      run: (context) =>
        runner.run({
          ...context,
          details: Effect.tap(context.details, ({ env }) => Effect.sync(() => this.#add(context.job.id, labelIn(env))))
        })
    })
  }

  #add(jobUuid: string, label: string | undefined): void {
    if (label === undefined) return
    this.#labels.set(jobUuid, label)
    const [oldest] = this.#labels.size > maxLabels ? this.#labels.keys() : []
    if (oldest !== undefined) this.#labels.delete(oldest)
  }
}
