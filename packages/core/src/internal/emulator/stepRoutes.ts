/** Steps, for `buildkite-agent step get`, `step update` and `step cancel`. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import {
  type AgentRequest,
  type Answer,
  buildOf,
  type Endpoint,
  flag,
  fromJob,
  lenient,
  lenientText,
  text,
  withBody
} from "./agentRequest.ts"
import * as BuildData from "./buildData.ts"
import type * as Builds from "./builds.ts"
import * as Deadlines from "./deadlines.ts"
import { errorResponse } from "./errorResponse.ts"
import * as Jobs from "./jobs.ts"
import { parseJson } from "./requestLog.ts"
import type { Agent, Job } from "./state.ts"
import * as StepAttributes from "./stepAttributes.ts"
import * as Steps from "./steps.ts"

/** The step of a request, by its id or key, in the named build or that of the agent's job. */
const find = (
  agent: Agent,
  { params, state }: AgentRequest,
  buildId: string | null | undefined,
  handle: (step: BuildData.Step, jobs: ReadonlyArray<Job>, pipelineStep: Builds.Step | undefined) => Answer
): Answer => {
  const name = params["step"] ?? ""
  const build = buildId ? state.builds.get(buildId) : buildOf(state, agent)
  const step = build?.steps.get(name) ?? build?.stepsByKey.get(name)
  return build === undefined || step === undefined
    ? errorResponse(404, `No step found with the ID or key ${name}`)
    : handle(step, BuildData.jobsOf(build, step), state.pipelineSteps.get(step.id))
}

// -----------------------------------------------------------------------------
// step get
// -----------------------------------------------------------------------------

const readExport = withBody(Schema.Struct({ attribute: lenientText, build_id: lenientText, format: lenientText }))

const exportStep = fromJob((agent, request) =>
  readExport(request, ({ attribute, build_id, format }) =>
    find(agent, request, build_id, (step, jobs, pipelineStep) => {
      const attributes = StepAttributes.make(step, jobs, pipelineStep)
      if (attribute && !Object.hasOwn(attributes, attribute)) {
        return errorResponse(422, `A step has no attribute ${attribute}`)
      }
      const value = attribute ? attributes[attribute] : attributes
      if (format === "json") return Result.succeed({ output: JSON.stringify(value ?? null) })
      return typeof value === "object" && value !== null
        ? errorResponse(422, "The value is not a text: ask for it with --format json")
        : Result.succeed({ output: value === null || value === undefined ? "" : String(value) })
    })
  )
)

// -----------------------------------------------------------------------------
// step update
// -----------------------------------------------------------------------------

const readUpdate = withBody(
  Schema.Struct({ build_id: lenientText, attribute: text, value: text, append: flag, idempotency_uuid: lenientText })
)

const update = fromJob((agent, request) =>
  readUpdate(request, ({ build_id, idempotency_uuid: id, ...change }) =>
    find(agent, request, build_id, (step, jobs, pipelineStep) => {
      if (id && step.appliedUpdates.has(id)) return Result.succeed({})
      const answer = applyUpdate(step, jobs, pipelineStep, change)
      if (id && Result.isSuccess(answer)) step.appliedUpdates.add(id)
      return answer
    })
  )
)

interface Update {
  readonly attribute: string
  readonly value: string
  readonly append: boolean
}

const applyUpdate = (
  step: BuildData.Step,
  jobs: ReadonlyArray<Job>,
  pipelineStep: Builds.Step | undefined,
  { append, attribute, value }: Update
): Answer => {
  const hasJobs = pipelineStep === undefined || pipelineStep.kind === "command"
  if (attribute === "label") {
    step.label = append ? step.label + value : value
    if (pipelineStep !== undefined) pipelineStep.label = step.label
    return Result.succeed({})
  }
  if (attribute === "notify") return setNotify(step, value, append)
  return attribute === "priority" && hasJobs
    ? setPriority(jobs, value)
    : errorResponse(
        422,
        `The emulator can't update the attribute ${attribute} of a ${pipelineStep?.kind ?? "command"} step`
      )
}

const setPriority = (jobs: ReadonlyArray<Job>, value: string): Answer => {
  if (!/^\s*[+-]?\d{1,9}\s*$/.test(value)) return errorResponse(422, "A priority is a whole number")
  for (const job of jobs) job.listed = { ...job.listed, priority: Number(value) }
  return Result.succeed({})
}

const decodeList = Schema.decodeUnknownResult(Schema.Array(Schema.Unknown))

const setNotify = (step: BuildData.Step, value: string, append: boolean): Answer => {
  const list = Result.flatMap(
    Result.fromOption(parseJson(value), () => undefined),
    decodeList
  )
  if (Result.isFailure(list)) return errorResponse(422, "Notifications are a list in JSON")
  if (!append) step.notify.length = 0
  step.notify.push(...list.success)
  return Result.succeed({})
}

// -----------------------------------------------------------------------------
// step cancel
// -----------------------------------------------------------------------------

const readCancel = withBody(
  Schema.Struct({
    build_id: lenientText,
    force: flag,
    force_grace_period: lenient(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)))
  })
)

/**
 * Cancels the jobs of a step or of a group's steps, and steps that have no jobs. With `force`, jobs whose agents do not end them are
 * canceled after the grace period.
 */
const cancel = fromJob((agent, request) =>
  readCancel(request, ({ build_id, force, force_grace_period }) =>
    find(agent, request, build_id, (step, jobs, pipelineStep) => {
      const { now, state } = request
      const steps = pipelineStep === undefined ? [] : [pipelineStep, ...pipelineStep.children]
      for (const job of [...jobs, ...steps.slice(1).flatMap(({ openJobs }) => Array.from(openJobs))]) {
        Jobs.cancel(state, job, now)
        if (force) Deadlines.forceCancel(state, job, now + (force_grace_period ?? 0) * 1000)
      }
      for (const step of steps) Steps.cancel(state, step)
      return Result.succeed({ uuid: step.id })
    })
  )
)

export const endpoints: ReadonlyArray<Endpoint> = [
  ["POST", "steps/:step/export", "getStep", exportStep],
  ["PUT", "steps/:step", "updateStep", update],
  ["POST", "steps/:step/cancel", "cancelStep", cancel]
]
