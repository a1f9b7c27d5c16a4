/** The jobs of a command step: one for each combination of its matrix and each of its parallel parts. */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import type { Step } from "./builds.ts"
import type { NewJob } from "./createJobs.ts"
import type { CommandStep, Document } from "./pipeline/document.ts"
import { mergeRules, queueOf } from "./pipeline/fields.ts"
import { type Combination, fill, unknownDimension } from "./pipeline/matrix.ts"
import type { Problem } from "./pipeline/part.ts"

export interface PlanOptions {
  readonly pipeline: Document
  readonly queueKey: string
  readonly note: (text: string) => void
}

/** Few enough that the emulator's page stays fast. */
const maxJobsOfStep = 10_000

export const plan = (
  document: CommandStep,
  step: Step,
  options: PlanOptions
): Result.Result<ReadonlyArray<NewJob>, Problem> =>
  Result.gen(function* () {
    const { combinations, command, parallelism } = document
    const count = parallelism ?? 1
    if (count === 0) options.note("the step is skipped: its parallelism is 0")
    else if (command === "") options.note("the step has no command: its job does nothing but run its plugins")
    const total = combinations.length * count
    if (total > maxJobsOfStep)
      return yield* document.at.fail(`A step makes at most ${maxJobsOfStep} jobs, not ${total}.`)
    const rules = mergeRules(options.pipeline.rules, document.rules)
    const texts = [command, document.label ?? "", ...Object.values(document.env), ...rules, document.plugins ?? ""]
    const jobs: Array<NewJob> = []
    for (const combination of combinations) {
      if (combination.isSkipped) {
        options.note(`${Array.from(combination.values.values()).join(", ")} of the matrix is skipped`)
        continue
      }
      for (const text of combination.values.size === 0 ? [] : texts) {
        const name = unknownDimension(text, combination)
        if (name === undefined) continue
        const token = name === "" ? "{{matrix}}" : `{{matrix.${name}}}`
        return yield* document.at.fail(`The step's matrix has no value for ${token}.`)
      }
      for (let index = 0; index < count; index++)
        jobs.push(makeJob(document, step, options, { combination, index, rules }))
    }
    return jobs
  })

interface Place {
  readonly combination: Combination
  readonly index: number
  readonly rules: ReadonlyArray<string>
}

const makeJob = (
  document: CommandStep,
  step: Step,
  { pipeline, queueKey }: PlanOptions,
  { combination, index, rules: unfilled }: Place
): NewJob => {
  const rules = unfilled.map((rule) => fill(rule, combination))
  const command = fill(document.command, combination)
  const label = document.label === undefined ? undefined : numbered(fill(document.label, combination), document, index)
  const { build } = step
  const env = { ...build.variables, ...pipeline.env, ...document.env }
  return {
    queueKey: queueOf(rules) ?? queueKey,
    command,
    priority: document.priority ?? pipeline.priority,
    agentQueryRules: rules,
    softFail: combination.softFail ?? document.softFail,
    timeout: document.timeoutMinutes === undefined ? undefined : Duration.minutes(document.timeoutMinutes),
    stepId: step.id,
    label: label ?? command,
    pipeline: { slug: build.pipelineSlug, uuid: build.pipelineUuid },
    build: { uuid: build.uuid, number: build.number, branch: build.branch },
    step: { key: document.key ?? null },
    env: {
      ...Object.fromEntries(Object.entries(env).map(([name, value]) => [name, fill(value, combination)])),
      ...build.env,
      BUILDKITE_COMMAND: command,
      BUILDKITE_LABEL: label ?? command,
      BUILDKITE_RETRY_COUNT: "0",
      ...(document.key !== undefined && { BUILDKITE_STEP_KEY: document.key }),
      ...(step.group?.label !== undefined && { BUILDKITE_GROUP_LABEL: step.group.label }),
      ...(step.group?.key !== undefined && { BUILDKITE_GROUP_KEY: step.group.key }),
      ...(document.parallelism !== undefined && {
        BUILDKITE_PARALLEL_JOB: String(index),
        BUILDKITE_PARALLEL_JOB_COUNT: String(document.parallelism)
      }),
      ...(document.plugins !== undefined && { BUILDKITE_PLUGINS: fill(document.plugins, inJson(combination)) }),
      ...(document.artifactPaths.length > 0 && { BUILDKITE_ARTIFACT_PATHS: document.artifactPaths.join(";") }),
      ...(document.timeoutMinutes !== undefined && { BUILDKITE_TIMEOUT: String(document.timeoutMinutes) })
    }
  }
}

/** A combination whose values can stand in a text of JSON. */
const inJson = (combination: Combination): Combination => ({
  ...combination,
  values: new Map(Array.from(combination.values, ([name, value]) => [name, JSON.stringify(value).slice(1, -1)]))
})

/** `%n` is the number of a parallel job from 0, `%N` from 1, `%t` how many there are. */
const numbered = (label: string, { parallelism }: CommandStep, index: number): string =>
  parallelism === undefined
    ? label
    : label
        .replaceAll("%n", String(index))
        .replaceAll("%N", String(index + 1))
        .replaceAll("%t", String(parallelism))
