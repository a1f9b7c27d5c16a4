/** Makes jobs of the emulator from a Buildkite pipeline file, like the service does for an uploaded pipeline. */
import { createHash } from "node:crypto"
import * as AgentQueryRules from "@stacksapi/core/AgentQueryRules"
import type * as StacksEmulator from "@stacksapi/core/StacksEmulator"
import * as Result from "effect/Result"
import type { SoftFail } from "./fields.ts"
import { type Combination, fill, unknownDimension } from "./matrix.ts"
import { type Node, PipelineError, read } from "./node.ts"
import {
  type CommandStep,
  type Dependency,
  type GroupStep,
  type Ignored,
  type OtherStep,
  type PipelineFile,
  readPipeline,
  type Step,
  type WaitStep
} from "./steps.ts"

export { PipelineError }

export interface Options {
  /** The file's name, for errors. */
  readonly file: string
  /** The queue of jobs whose `agents` name none. */
  readonly queueKey: string
  readonly slug: string
  /** The upload of the file by a job; undefined for the pipeline with which a build begins. */
  readonly upload?: StacksEmulator.PipelineUpload | undefined
}

export interface Pipeline {
  readonly jobs: ReadonlyArray<StacksEmulator.NewJob>
  /** What was ignored or left out. */
  readonly notes: ReadonlyArray<string>
}

const branch = "main"
const buildNumber = 1

/** The same limit as for the emulator's page. */
const maxJobsOfStep = 10_000

/** Parses the text of a pipeline file. */
export const parse = (text: string, options: Options): Result.Result<Pipeline, PipelineError> =>
  Result.gen(function* () {
    const file = yield* read(text, options.file)
    const ignored: Ignored = new Map()
    const pipeline = yield* readPipeline(file, ignored)
    const builder = new Builder(pipeline, options)
    const preceding = options.upload?.precedingJobs ?? []
    yield* builder.addAll(pipeline.steps, { waitFor: [], allowFailure: false }, undefined, preceding)
    yield* builder.connect()
    if (builder.jobs.length === 0) return yield* file.fail("These steps have no command to run, so there are no jobs.")
    return {
      jobs: builder.jobs.map(({ job }) => job),
      notes: [...builder.notes, ...Array.from(ignored, describeIgnored)]
    }
  })

/** Reads a pipeline that a job has uploaded. Its jobs come into the queue of the key unless they name another. */
export const readUpload =
  (queueKey: string) =>
  (upload: StacksEmulator.PipelineUpload): Result.Result<ReadonlyArray<StacksEmulator.NewJob>, string> =>
    Result.mapBoth(
      parse(JSON.stringify(upload.pipeline) ?? "", {
        file: "pipeline",
        queueKey,
        slug: upload.job.pipeline.slug ?? "pipeline",
        upload
      }),
      { onFailure: ({ message }) => message, onSuccess: ({ jobs }) => jobs }
    )

const describeIgnored = ([name, lines]: readonly [string, ReadonlyArray<number>]): string =>
  `\`${name}\` is ignored (${lines.length === 1 ? "line" : "lines"} ${lines.join(", ")})`

/** The dependencies of the steps after a `wait`, unless they have their own. */
interface Stage {
  readonly waitFor: ReadonlyArray<string>
  readonly allowFailure: boolean
}

interface Planned {
  job: StacksEmulator.NewJob
  readonly step: CommandStep
  readonly group: GroupStep | undefined
  readonly stage: Stage
}

class Builder {
  readonly jobs: Array<Planned> = []
  readonly notes: Array<string> = []
  readonly #pipeline: PipelineFile
  readonly #options: Options
  readonly #stepIndexes = new Map<CommandStep, number>()
  /** The jobs of each step, by the step's key. */
  readonly #idsOf = new Map<string, ReadonlyArray<string>>()

  constructor(pipeline: PipelineFile, options: Options) {
    this.#pipeline = pipeline
    this.#options = options
    for (const [key, ids] of options.upload?.jobsByStepKey ?? []) this.#idsOf.set(key, ids)
  }

  /** Adds the jobs of steps. A `wait` waits for the preceding jobs and the steps before it. */
  addAll(
    steps: ReadonlyArray<Step>,
    before: Stage,
    group: GroupStep | undefined,
    preceding: ReadonlyArray<string>
  ): Result.Result<void, PipelineError> {
    return Result.gen(this, function* () {
      const ids: Array<string> = [...preceding]
      let stage = before
      for (const step of steps) {
        const start = this.jobs.length
        switch (step.kind) {
          case "wait":
          case "block":
            stage = this.#wait(step, [...before.waitFor, ...ids])
            break
          case "input":
          case "trigger":
            this.#leaveOut(step)
            break
          case "group":
            if (step.isSkipped) this.#note(step.at, "the group is skipped")
            else yield* this.addAll(step.steps, stage, step, [])
            break
          case "command":
            yield* this.#addCommand(step, group, stage)
        }
        const made = this.jobs.slice(start).map(({ job }) => job.id ?? "")
        ids.push(...made)
        if (step.key === undefined) continue
        if (this.#idsOf.has(step.key)) return yield* step.at.fail(`The key "${step.key}" is that of an earlier step.`)
        // Whoever depends on a wait depends on what that waits for.
        this.#idsOf.set(step.key, step.kind === "wait" || step.kind === "block" ? stage.waitFor : made)
      }
    })
  }

  #wait(step: WaitStep | OtherStep, waitFor: ReadonlyArray<string>): Stage {
    if (step.kind !== "wait") this.#leaveOut(step)
    return { waitFor, allowFailure: step.kind === "wait" && step.continueOnFailure }
  }

  #leaveOut({ at, kind }: WaitStep | OtherStep): void {
    this.#note(at, kind === "block" ? "the block step lets everything through" : `the ${kind} step is left out`)
  }

  #note({ line }: Node, text: string): void {
    this.notes.push(`line ${line}: ${text}`)
  }

  #addCommand(step: CommandStep, group: GroupStep | undefined, stage: Stage): Result.Result<void, PipelineError> {
    return Result.gen(this, function* () {
      if (step.isSkipped || step.parallelism === 0) return this.#note(step.at, "the step is skipped")
      if (step.command === "") this.#note(step.at, "the step has no command: its job does nothing")
      const count = step.parallelism ?? 1
      const total = step.combinations.length * count
      if (total > maxJobsOfStep) {
        return yield* step.at.fail(`A step makes at most ${maxJobsOfStep} jobs, not ${total}.`)
      }
      const texts = [step.command, step.label ?? "", ...Object.values(step.env), ...(step.agents ?? [])]
      for (const combination of step.combinations) {
        if (combination.isSkipped) {
          this.#note(step.at, `${Array.from(combination.values.values()).join(", ")} of the matrix is skipped`)
          continue
        }
        for (const text of texts) {
          const name = unknownDimension(text, combination)
          if (name === undefined) continue
          const token = name === "" ? "{{matrix}}" : `{{matrix.${name}}}`
          return yield* step.at.fail(`The step's matrix has no value for ${token}.`)
        }
        for (let index = 0; index < count; index++) {
          this.jobs.push({ job: this.#job(step, group, combination, index), step, group, stage })
        }
      }
    })
  }

  #job(
    step: CommandStep,
    group: GroupStep | undefined,
    combination: Combination,
    index: number
  ): StacksEmulator.NewJob {
    const { queueKey, slug, upload } = this.#options
    const seed = upload === undefined ? `${slug}/${buildNumber}` : `${slug}/${buildNumber}/${upload.id}`
    const id = uuidOf(`${seed}/${this.jobs.length}`)
    const rules = (step.agents ?? this.#pipeline.agents).map((rule) => fill(rule, combination))
    const command = fill(step.command, combination)
    const label = step.label === undefined ? undefined : numbered(fill(step.label, combination), step, index)
    const env = { ...this.#pipeline.env, ...step.env }
    const pipeline = { slug, uuid: upload?.job.pipeline.uuid ?? uuidOf(slug) }
    const build = {
      uuid: upload?.job.build.uuid ?? uuidOf(`${slug}/${buildNumber}`),
      number: upload?.job.build.number ?? buildNumber,
      branch: upload?.job.build.branch ?? branch
    }
    return {
      id,
      queueKey: queueOf(rules) ?? queueKey,
      command,
      priority: step.priority ?? this.#pipeline.priority,
      agentQueryRules: rules,
      softFail: softFailOf(step, combination),
      pipeline,
      build,
      step: { key: step.key ?? null },
      stepId: uuidOf(`${seed}/step ${this.#stepIndex(step)}`),
      label: label ?? command,
      env: {
        ...Object.fromEntries(Object.entries(env).map(([name, value]) => [name, fill(value, combination)])),
        CI: "true",
        BUILDKITE: "true",
        BUILDKITE_JOB_ID: id,
        BUILDKITE_COMMAND: command,
        BUILDKITE_LABEL: label ?? command,
        ...(step.key !== undefined && { BUILDKITE_STEP_KEY: step.key }),
        ...(group?.label !== undefined && { BUILDKITE_GROUP_LABEL: group.label }),
        ...(group?.key !== undefined && { BUILDKITE_GROUP_KEY: group.key }),
        ...(step.parallelism !== undefined && {
          BUILDKITE_PARALLEL_JOB: String(index),
          BUILDKITE_PARALLEL_JOB_COUNT: String(step.parallelism)
        }),
        BUILDKITE_PIPELINE_SLUG: slug,
        BUILDKITE_PIPELINE_ID: pipeline.uuid,
        BUILDKITE_BUILD_ID: build.uuid,
        BUILDKITE_BUILD_NUMBER: String(build.number),
        BUILDKITE_BRANCH: build.branch,
        BUILDKITE_COMMIT: "HEAD",
        BUILDKITE_SOURCE: "api"
      }
    }
  }

  #stepIndex(step: CommandStep): number {
    const index = this.#stepIndexes.get(step) ?? this.#stepIndexes.size
    this.#stepIndexes.set(step, index)
    return index
  }

  /** Says what each job depends on, once all keys are known. */
  connect(): Result.Result<void, PipelineError> {
    return Result.gen(this, function* () {
      for (const planned of this.jobs) {
        const { group, stage, step } = planned
        const own = step.dependsOn ?? group?.dependsOn
        const ids = new Set(own === undefined ? stage.waitFor : yield* this.#resolve(own))
        // A step of a group with dependencies of its own has those of the group too.
        if (step.dependsOn !== undefined) for (const id of yield* this.#resolve(group?.dependsOn ?? [])) ids.add(id)
        if (ids.size === 0) continue
        planned.job = {
          ...planned.job,
          dependsOn: Array.from(ids),
          isAfterWait: own === undefined,
          allowDependencyFailure:
            step.allowDependencyFailure ||
            group?.allowDependencyFailure === true ||
            (own === undefined ? stage.allowFailure : own.every(({ allowFailure }) => allowFailure))
        }
      }
      const stuck = this.#firstInCycle()
      if (stuck !== undefined) return yield* stuck.step.at.fail("This step depends on itself, by way of `depends_on`.")
    })
  }

  #resolve(dependencies: ReadonlyArray<Dependency>): Result.Result<ReadonlyArray<string>, PipelineError> {
    return Result.gen(this, function* () {
      const ids: Array<string> = []
      for (const { at, key } of dependencies) {
        const found = this.#idsOf.get(key)
        if (found === undefined) return yield* at.fail(`No step has the key "${key}".`)
        ids.push(...found)
      }
      return ids
    })
  }

  /** Removes jobs that can run until none can. The remaining ones are in a cycle. */
  #firstInCycle(): Planned | undefined {
    let left: ReadonlyArray<Planned> = this.jobs
    const ran = new Set<string | undefined>(this.#options.upload?.precedingJobs)
    for (const ids of this.#options.upload?.jobsByStepKey.values() ?? []) for (const id of ids) ran.add(id)
    for (;;) {
      const canRun = ({ job }: Planned) => job.dependsOn?.every((id) => ran.has(id)) ?? true
      const free = left.filter(canRun)
      if (free.length === 0) return left[0]
      left = left.filter((planned) => !canRun(planned))
      for (const { job } of free) ran.add(job.id)
    }
  }
}

const softFailOf = (step: CommandStep, combination: Combination): SoftFail => combination.softFail ?? step.softFail

/** `%n` is the number of a parallel job from 0, `%N` from 1, `%t` how many there are. */
const numbered = (label: string, { parallelism }: CommandStep, index: number): string =>
  parallelism === undefined
    ? label
    : label
        .replaceAll("%n", String(index))
        .replaceAll("%N", String(index + 1))
        .replaceAll("%t", String(parallelism))

const queueOf = (rules: ReadonlyArray<string>): string | undefined =>
  rules.map(AgentQueryRules.parse).find(({ key, value }) => key === "queue" && value !== undefined)?.value

/** A stable id for a text, so that a pipeline file has the same job ids in every run. */
const uuidOf = (text: string): string => {
  const hex = createHash("sha256").update(text).digest("hex")
  return [hex.slice(0, 8), hex.slice(8, 12), `5${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    "-"
  )
}
