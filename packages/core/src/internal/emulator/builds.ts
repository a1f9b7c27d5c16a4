/** The builds of pipelines, and their steps with their states. */
import type { Concurrency, Retry } from "./pipeline/fields.ts"
import type { InputField } from "./pipeline/inputFields.ts"
import type { Job } from "./state.ts"

/** A build of a pipeline. */
export interface Build {
  readonly uuid: string
  readonly number: number
  readonly branch: string
  readonly pipelineSlug: string
  readonly pipelineUuid: string
  /** Variables that whoever started the build has given it. Those of pipelines and steps override them. */
  readonly variables: Readonly<Record<string, string>>
  /** The service's own variables, which nothing overrides. */
  readonly env: Readonly<Record<string, string>>
  /** In the order of the pipeline. */
  readonly steps: Array<Step>
  readonly stepsByKey: Map<string, Step>
  /** Whether a job has failed that no retry follows, and that was not allowed to fail. */
  isFailing: boolean
}

/**
 * - `waiting`: until other steps have ended.
 * - `blocked`: until someone unblocks it.
 * - `running`: its jobs may run.
 * - `skipped`: it is not a part of the build.
 */
type StepState = "waiting" | "blocked" | "running" | "passed" | "failed" | "canceled" | "skipped"

export type Outcome = "passed" | "failed" | "canceled"

/** What another step has to do first. */
export interface Need {
  readonly step: Step
  readonly allowsFailure: boolean
  /** Whether it counts only what the step itself does, not the steps that its jobs upload. */
  readonly isUploader: boolean
}

export interface Step {
  readonly id: string
  readonly build: Build
  readonly kind: "command" | "wait" | "block" | "input" | "trigger" | "group"
  readonly key: string | undefined
  label: string | undefined
  readonly group: Step | undefined
  /** The step whose job has uploaded it. */
  readonly uploadedBy: Step | undefined
  /** The steps of a group. */
  readonly children: Array<Step>
  /** What it waits for. */
  readonly needs: Set<Need>
  readonly allowsDependencyFailure: boolean
  state: StepState
  /** Why it is blocked. Each unblocking removes the first reason. */
  readonly holds: Array<string>
  readonly prompt: string | undefined
  readonly fields: ReadonlyArray<InputField>
  /** The jobs of a command step that have not ended. */
  readonly openJobs: Set<Job>
  /** The outcomes of its jobs, by their order. A retry replaces the outcome of the job before it. */
  readonly outcomes: Map<number, Outcome>
  /** Whether it failed because of another step. */
  hasFailedNeed: boolean
  /** The steps that its jobs have uploaded. */
  readonly uploads: Array<Step>
  readonly retry: Retry
  readonly concurrency: Concurrency | undefined
  readonly isCanceledOnBuildFailing: boolean
}

const over: ReadonlySet<StepState> = new Set(["passed", "failed", "canceled", "skipped"])

export const isOver = ({ state }: Step): boolean => over.has(state)

/** The worst of several outcomes. */
export const worst = (outcomes: Iterable<Outcome>): Outcome => {
  let result: Outcome = "passed"
  for (const outcome of outcomes) {
    if (outcome === "canceled") return outcome
    if (outcome === "failed") result = outcome
  }
  return result
}
