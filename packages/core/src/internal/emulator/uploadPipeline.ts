/** Adds the steps of an uploaded pipeline to a build, and their jobs. */
import * as Result from "effect/Result"
import * as BuildData from "./buildData.ts"
import { type Build, isOver, type Need, type Step } from "./builds.ts"
import { scopeOf } from "./conditionScope.ts"
import { createJob, type NewJob } from "./createJobs.ts"
import { makeStep } from "./makeStep.ts"
import { matchesBranch } from "./pipeline/branches.ts"
import * as Document from "./pipeline/document.ts"
import { evaluate } from "./pipeline/evaluate.ts"
import type { Problem } from "./pipeline/part.ts"
import { register } from "./startBuild.ts"
import { findQueue, type Job, type State } from "./state.ts"
import * as StepJobs from "./stepJobs.ts"

export interface UploadOptions {
  readonly build: Build
  /** The queue of jobs whose rules name none. */
  readonly queueKey: string
  /** The step whose job uploads the pipelines. Their steps wait until it has passed. */
  readonly uploader?: Step | undefined
}

/** A remark about a part of a pipeline. */
export interface Note {
  /** Which of the uploaded pipelines, from 0. */
  readonly pipeline: number
  /** For example `/steps/0`. */
  readonly path: string
  readonly text: string
}

export interface Uploaded {
  readonly steps: ReadonlyArray<Step>
  readonly jobs: ReadonlyArray<Job>
  readonly notes: ReadonlyArray<Note>
}

/** What is wrong with one of the uploaded pipelines. */
export interface UploadProblem extends Problem {
  /** Which one, from 0. */
  readonly pipeline: number
}

/** Adds several pipelines at once, whose steps may depend on each other: all of them, or none. */
export const upload = (
  state: State,
  pipelines: ReadonlyArray<unknown>,
  options: UploadOptions,
  now: number
): Result.Result<Uploaded, UploadProblem> =>
  Result.gen(function* () {
    const builder = new Builder(state, options)
    for (const [index, pipeline] of pipelines.entries()) yield* builder.add(pipeline, index)
    yield* builder.connect()
    return builder.commit(now)
  })

/** A list of steps, with what determines the implicit dependencies of its next step. */
interface Scope {
  readonly pipeline: number
  readonly document: Document.Document
  readonly group: Step | undefined
  /** What steps without dependencies of their own need before the first `wait`. */
  readonly base: ReadonlyArray<Need>
  /** What is needed in addition to dependencies of a step's own. */
  readonly always: ReadonlyArray<Document.Dependency>
  /** The last `wait` or `block`. */
  barrier: Step | undefined
  /** The last one that does not continue on failure. */
  strictBarrier: Step | undefined
  /** The steps after it. */
  since: Array<Step>
}

/** Whether a step's condition is met, or why it can't be evaluated. Undefined without a condition. */
type Condition = Result.Result<boolean, string> | undefined

interface PlannedJob {
  readonly step: Step
  readonly newJob: NewJob
}

/** Where a step is. */
interface Place {
  readonly pipeline: number
  readonly at: Document.Step["at"]
}

interface Unresolved {
  readonly pipeline: number
  readonly step: Step
  readonly dependencies: ReadonlyArray<Document.Dependency>
}

class Builder {
  readonly #state: State
  readonly #options: UploadOptions
  readonly #steps = new Map<Step, Place>()
  readonly #stepsByKey = new Map<string, Step>()
  readonly #jobs: Array<PlannedJob> = []
  readonly #unresolved: Array<Unresolved> = []
  readonly #notes: Array<Note> = []

  constructor(state: State, options: UploadOptions) {
    this.#state = state
    this.#options = options
  }

  add(pipeline: unknown, index: number): Result.Result<void, UploadProblem> {
    return Result.mapError(
      Result.gen(this, function* () {
        const document = yield* Document.readDocument(pipeline)
        const { uploader } = this.#options
        yield* this.#addAll(document.steps, {
          pipeline: index,
          document,
          group: undefined,
          base: uploader === undefined ? [] : [{ step: uploader, allowsFailure: false, isUploader: true }],
          always: [],
          barrier: undefined,
          strictBarrier: undefined,
          // A `wait` of an upload waits for all that is before it in the build.
          since: uploader === undefined ? [] : precedingSteps(uploader)
        })
        for (const remark of document.remarks) this.#notes.push({ pipeline: index, ...remark })
      }),
      (problem) => ({ ...problem, pipeline: index })
    )
  }

  #addAll(steps: ReadonlyArray<Document.Step>, scope: Scope): Result.Result<void, Problem> {
    return Result.gen(this, function* () {
      for (const step of steps) yield* this.#addStep(step, scope)
    })
  }

  #addStep(document: Document.Step, scope: Scope): Result.Result<void, Problem> {
    return Result.gen(this, function* () {
      const { at, key } = document
      if (key !== undefined && (this.#stepsByKey.has(key) || this.#options.build.stepsByKey.has(key))) {
        return yield* at.fail(`The key "${key}" is that of an earlier step.`)
      }
      const condition = this.#evaluate(document, scope)
      const isOut = this.#isLeftOut(document, condition, scope)
      const holds = isOut ? [] : this.#holdsOf(document, condition, scope)
      const step = {
        ...makeStep(this.#state, this.#options.build, document, scope.group, holds),
        uploadedBy: this.#options.uploader
      }
      if (isOut) step.state = "skipped"
      this.#steps.set(step, { pipeline: scope.pipeline, at })
      scope.group?.children.push(step)
      if (key !== undefined) this.#stepsByKey.set(key, step)
      if (isOut) return
      this.#setNeeds(document, step, scope)
      const own = step.holds.at(-1)
      if (own !== undefined && own !== scope.group?.holds.at(-1)) this.#note(scope, at.path, own)
      switch (document.kind) {
        case "wait":
        case "block":
          scope.barrier = step
          if (document.kind === "wait" && document.continuesOnFailure) {
            scope.since.push(step)
          } else {
            scope.strictBarrier = step
            scope.since = []
          }
          return
        case "input":
          return
        case "trigger":
          if (document.isAsync) this.#note(scope, at.path, asyncTrigger(document))
          break
        case "group":
          yield* this.#addGroup(document, step, scope)
          break
        case "command":
          yield* this.#addJobs(document, step, scope)
      }
      scope.since.push(step)
    })
  }

  #addGroup(document: Document.GroupStep, step: Step, scope: Scope): Result.Result<void, Problem> {
    return this.#addAll(document.steps, {
      pipeline: scope.pipeline,
      document: scope.document,
      group: step,
      base: [...scope.base, ...(scope.barrier === undefined ? [] : [needOf(scope.barrier)])],
      always: document.dependsOn ?? [],
      barrier: undefined,
      strictBarrier: undefined,
      since: []
    })
  }

  /** Whether a step is skipped, or its condition or branch filter is not met. Notes the reason. */
  #isLeftOut(document: Document.Step, condition: Condition, scope: Scope): boolean {
    const { at, branches, kind, skip } = document
    const name = kind === "group" ? "group" : kind === "command" ? "step" : `${kind} step`
    if (skip !== undefined) this.#note(scope, at.path, `the ${name} is skipped${skip === "" ? "" : `: ${skip}`}`)
    if (skip !== undefined) return true
    const { branch } = this.#options.build
    if (branches.length > 0 && !matchesBranch(branches, branch)) {
      this.#note(scope, at.path, `the ${name} is left out: it is not for the branch ${branch}`)
      return true
    }
    if (condition === undefined || Result.isFailure(condition) || condition.success) return false
    this.#note(scope, at.path, `the ${name} is left out: its condition is false`)
    return true
  }

  #evaluate({ condition }: Document.Step, { document }: Scope): Condition {
    return condition === undefined || condition.trim() === ""
      ? undefined
      : evaluate(condition, scopeOf(this.#options.build, document.env))
  }

  /** Why a person must let the step through: its group, and the step itself. */
  #holdsOf(document: Document.Step, condition: Condition, scope: Scope): Array<string> {
    const own = this.#holdOf(document, condition)
    return [...(scope.group?.holds ?? []), ...(own === undefined ? [] : [own])]
  }

  #holdOf(document: Document.Step, condition: Condition): string | undefined {
    const { hasIfChanged, kind } = document
    if (condition !== undefined && Result.isFailure(condition)) {
      return `the ${kind === "group" ? kind : `${kind} step`} is held: its condition can't be evaluated. ${condition.failure}`
    }
    if (hasIfChanged) return `the ${kind} step is held: it is not known which files have changed (\`if_changed\`)`
    if (kind === "block") return "the block step waits until somebody unblocks it"
    if (kind === "input") return "the input step waits until somebody fills it in"
    if (kind === "trigger" && !document.isAsync) {
      return `the trigger step is held: the emulator does not run the pipeline ${document.pipeline}; unblock it to go on as if that had passed`
    }
    return undefined
  }

  #note({ pipeline }: Scope, path: string, text: string): void {
    this.#notes.push({ pipeline, path, text })
  }

  #setNeeds(document: Document.Step, step: Step, scope: Scope): void {
    if (document.kind === "group") {
      this.#unresolved.push({ pipeline: scope.pipeline, step, dependencies: document.dependsOn ?? [] })
      return
    }
    if (document.dependsOn !== undefined) {
      const dependencies = [...document.dependsOn, ...scope.always]
      this.#unresolved.push({ pipeline: scope.pipeline, step, dependencies })
      return
    }
    // The dependencies of a group are those of its steps.
    if (scope.always.length > 0) {
      this.#unresolved.push({ pipeline: scope.pipeline, step, dependencies: scope.always })
    } else for (const need of scope.base) step.needs.add(need)
    if (document.kind === "wait" || document.kind === "block") {
      const allowsFailure = document.kind === "wait" && document.continuesOnFailure
      const uploaders = uploadersOf(this.#options.uploader)
      for (const earlier of scope.since) {
        step.needs.add({ step: earlier, allowsFailure, isUploader: uploaders.has(earlier) })
      }
      if (scope.strictBarrier !== undefined) step.needs.add(needOf(scope.strictBarrier))
    } else if (scope.barrier !== undefined && document.kind !== "input") step.needs.add(needOf(scope.barrier))
  }

  #addJobs(document: Document.CommandStep, step: Step, scope: Scope): Result.Result<void, Problem> {
    return Result.gen(this, function* () {
      const planned = yield* StepJobs.plan(document, step, {
        pipeline: scope.document,
        queueKey: this.#options.queueKey,
        note: (text) => this.#note(scope, document.at.path, text)
      })
      for (const newJob of planned) {
        if (findQueue(this.#state, newJob.queueKey) === undefined) {
          return yield* document.at.fail(`There is no queue ${newJob.queueKey}.`)
        }
        this.#jobs.push({ step, newJob })
      }
      if (planned.length === 0) step.state = "skipped"
    })
  }

  /** Finds the steps that others depend on, once all are known. */
  connect(): Result.Result<void, UploadProblem> {
    return Result.gen(this, function* () {
      for (const { dependencies, pipeline, step } of this.#unresolved) {
        for (const { allowsFailure, at, key } of dependencies) {
          const found = this.#stepsByKey.get(key) ?? this.#options.build.stepsByKey.get(key)
          if (found !== undefined) step.needs.add({ step: found, allowsFailure, isUploader: false })
          else if (step.kind !== "group") {
            const text = `no step has the key "${key}": that dependency counts as passed`
            this.#notes.push({ pipeline, path: at.path, text })
          }
        }
      }
      const stuck = firstInCycle(Array.from(this.#steps.keys()))
      const place = stuck && this.#steps.get(stuck)
      if (place === undefined) return
      const problem = "This step depends on itself, by way of `depends_on`."
      return yield* Result.fail({ pipeline: place.pipeline, path: place.at.path, problem })
    })
  }

  commit(now: number): Uploaded {
    const { build, uploader } = this.#options
    register(this.#state, build)
    const position = uploader === undefined ? build.steps.length : build.steps.indexOf(uploader) + 1
    const steps = Array.from(this.#steps.keys())
    build.steps.splice(position, 0, ...steps)
    for (const step of steps) {
      this.#state.pipelineSteps.set(step.id, step)
      if (step.key !== undefined) build.stepsByKey.set(step.key, step)
      if (!isOver(step)) this.#state.openSteps.add(step)
      // Command steps get theirs with their jobs; steps that are left out have none.
      if (step.kind !== "command" && !isOver(step)) openStep(this.#state, step)
      if (step.group === undefined) uploader?.uploads.push(step)
    }
    const jobs = this.#jobs.flatMap(({ newJob, step }) => createJob(this.#state, newJob, now, step) ?? [])
    return { steps, jobs, notes: withoutRepetitions(this.#notes) }
  }
}

/** Adds a step without jobs to the steps that agents find. */
const openStep = (state: State, { build, id, key, label }: Step): void => {
  BuildData.openStep(BuildData.open(state, build.uuid), { id, key: key ?? null, label: label ?? "" })
}

/** A step, the step whose job uploaded it, the step whose job uploaded that one, and so on. */
const uploadersOf = (step: Step | undefined): ReadonlySet<Step> => {
  const uploaders = new Set<Step>()
  for (let uploader = step; uploader !== undefined; uploader = uploader.uploadedBy) uploaders.add(uploader)
  return uploaders
}

/** The steps up to one, without the groups that it, or a step that has uploaded it, is in. */
const precedingSteps = (step: Step): Array<Step> => {
  const groups = new Set(Array.from(uploadersOf(step), ({ group }) => group))
  const { steps } = step.build
  return steps.slice(0, steps.indexOf(step) + 1).filter((earlier) => !groups.has(earlier) && !isOver(earlier))
}

const needOf = (step: Step): Need => ({ step, allowsFailure: false, isUploader: false })

const asyncTrigger = ({ pipeline }: Document.TriggerStep): string =>
  `the trigger step passes at once: the emulator does not run the pipeline ${pipeline}`

const withoutRepetitions = (notes: ReadonlyArray<Note>): ReadonlyArray<Note> =>
  Array.from(new Map(notes.map((note) => [JSON.stringify(note), note])).values())

/** The first step that needs itself, by way of others. */
const firstInCycle = (steps: ReadonlyArray<Step>): Step | undefined => {
  const done = new Set<Step>()
  const open = new Set<Step>()
  for (const start of steps) {
    const path = [{ step: start, next: nextOf(start) }]
    open.add(start)
    while (!done.has(start)) {
      const top = path.at(-1)
      const next = top?.next.next()
      if (top === undefined || next === undefined) break
      if (next.done === true) {
        path.pop()
        open.delete(top.step)
        done.add(top.step)
      } else if (open.has(next.value)) {
        return next.value
      } else if (!done.has(next.value)) {
        open.add(next.value)
        path.push({ step: next.value, next: nextOf(next.value) })
      }
    }
    open.delete(start)
  }
  return undefined
}

/** What a step waits for; a group is over when its steps are. */
const nextOf = ({ children, needs }: Step): Iterator<Step> =>
  [...Array.from(needs, ({ step }) => step), ...children][Symbol.iterator]()
