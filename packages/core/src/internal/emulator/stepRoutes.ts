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
import * as Deadlines from "./deadlines.ts"
import * as Dependencies from "./dependencies.ts"
import { errorResponse } from "./errorResponse.ts"
import * as Jobs from "./jobs.ts"
import { parseJson } from "./requestLog.ts"
import type { Agent, Job } from "./state.ts"

/** The step of a request, by its id or key, in the named build or that of the agent's job. */
const find = (
  agent: Agent,
  { params, state }: AgentRequest,
  buildId: string | null | undefined,
  handle: (build: BuildData.BuildData, step: BuildData.Step) => Answer
): Answer => {
  const name = params["step"] ?? ""
  const build = buildId ? state.builds.get(buildId) : buildOf(state, agent)
  const step = build?.steps.get(name) ?? build?.stepsByKey.get(name)
  return build === undefined || step === undefined
    ? errorResponse(404, `No step found with the ID or key ${name}`)
    : handle(build, step)
}

// -----------------------------------------------------------------------------
// step get
// -----------------------------------------------------------------------------

const readExport = withBody(Schema.Struct({ attribute: lenientText, build_id: lenientText, format: lenientText }))

const exportStep = fromJob((agent, request) =>
  readExport(request, ({ attribute, build_id, format }) =>
    find(agent, request, build_id, (build, step) => {
      const attributes = attributesOf(step, BuildData.jobsOf(build, step))
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

const attributesOf = (step: BuildData.Step, jobs: ReadonlyArray<Job>): Readonly<Record<string, unknown>> => ({
  id: step.id,
  key: step.key,
  type: "command",
  label: step.label,
  state: stateOf(jobs),
  outcome: outcomeOf(jobs),
  command: jobs[0]?.command ?? "",
  priority: jobs[0]?.listed.priority ?? 0,
  parallelism: jobs.length,
  agents: jobs[0]?.listed.agentQueryRules ?? [],
  notify: step.notify
})

const stateOf = (jobs: ReadonlyArray<Job>): string => {
  const unfinished = jobs.filter(({ finishedAt }) => finishedAt === undefined)
  if (unfinished.length === 0) return "finished"
  const hasStarted = jobs.some(({ startedAt }) => startedAt !== undefined)
  if (hasStarted) return jobs.some(hasFailed) ? "failing" : "running"
  return unfinished.every(({ state }) => state === "waiting") ? "waiting_for_dependencies" : "ready"
}

const hasFailed = (job: Job): boolean => job.finishedAt !== undefined && !Dependencies.hasPassed(job)

const outcomeOf = (jobs: ReadonlyArray<Job>): string => {
  if (jobs.some((job) => hasFailed(job) && job.state !== "finished")) return "errored"
  if (jobs.some(hasFailed)) return "hard_failed"
  if (jobs.some(({ finishedAt }) => finishedAt === undefined)) return "neutral"
  return jobs.every(({ exitStatus }) => exitStatus === 0) ? "passed" : "soft_failed"
}

// -----------------------------------------------------------------------------
// step update
// -----------------------------------------------------------------------------

const readUpdate = withBody(
  Schema.Struct({ build_id: lenientText, attribute: text, value: text, append: flag, idempotency_uuid: lenientText })
)

const update = fromJob((agent, request) =>
  readUpdate(request, ({ append, attribute, build_id, value }) =>
    find(agent, request, build_id, (build, step) => {
      switch (attribute) {
        case "label":
          step.label = append ? step.label + value : value
          return Result.succeed({})
        case "priority":
          return setPriority(BuildData.jobsOf(build, step), value)
        case "notify":
          return setNotify(step, value, append)
        default:
          return errorResponse(422, `The emulator can't update the attribute ${attribute} of a step`)
      }
    })
  )
)

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

/** Cancels the jobs of a step. With `force`, jobs whose agents do not end them are canceled after the grace period. */
const cancel = fromJob((agent, request) =>
  readCancel(request, ({ build_id, force, force_grace_period }) =>
    find(agent, request, build_id, (build, step) => {
      const { now, state } = request
      for (const job of BuildData.jobsOf(build, step)) {
        Jobs.cancel(state, job, now)
        if (force) Deadlines.forceCancel(state, job, now + (force_grace_period ?? 0) * 1000)
      }
      return Result.succeed({ uuid: step.id })
    })
  )
)

export const endpoints: ReadonlyArray<Endpoint> = [
  ["POST", "steps/:step/export", "getStep", exportStep],
  ["PUT", "steps/:step", "updateStep", update],
  ["POST", "steps/:step/cancel", "cancelStep", cancel]
]
