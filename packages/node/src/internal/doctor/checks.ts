/** The harmless checks: they change nothing but a probe stack, which they register and deregister. */
import * as StacksApi from "@stacksapi/core/StacksApi"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import { type Expected, expectResponse } from "./expect.ts"
import { type Finding, finding, isBad } from "./findings.ts"
import * as Limits from "./limits.ts"
import { Service } from "./service.ts"
import * as Shape from "./shape.ts"

export interface Probe {
  /** The key of the probe stack. */
  readonly key: string
  readonly queue: string
  /** An id that no job has. */
  readonly unknownJob: string
}

interface Request {
  readonly check: string
  readonly method: "GET" | "POST" | "PUT"
  readonly path: string
  readonly body?: unknown
  readonly token?: string
  readonly expected: Expected
  /** The endpoint whose rate limit the headers must have. */
  readonly limitOf?: StacksApi.Endpoint
}

/** Whether the service did what a request asked for, however it responded in detail. */
interface Answer {
  readonly findings: ReadonlyArray<Finding>
  readonly isDone: boolean
}

/** The path of a page of the queue. */
export const listPath = ({ key, queue }: Pick<Probe, "key" | "queue">, query: Record<string, string>): string =>
  `stacks/${key}/scheduled-jobs?${new URLSearchParams({ queue_key: queue, ...query })}`

export const field = (body: unknown, name: string): unknown =>
  Predicate.hasProperty(body, name) ? body[name] : undefined

export const includes = (body: unknown, name: string, id: string): boolean => {
  const list = field(body, name)
  return Array.isArray(list) && list.includes(id)
}

const aboutToken: ReadonlyArray<Request> = [
  {
    check: "token identity",
    method: "GET",
    path: "token",
    expected: {
      statuses: [200],
      shape: Shape.tokenIdentity,
      problemsIn: (body) =>
        field(body, "cluster_uuid") ? [] : ["the token belongs to no cluster: stacks work in clusters only"],
      advice: "Use an agent token of a cluster",
      refusal: "Something else may respond. Check BUILDKITE_AGENT_ENDPOINT (or --endpoint)"
    }
  },
  {
    check: "invalid token",
    method: "GET",
    path: "token",
    token: "bkct_stacksapi_doctor",
    expected: { statuses: [401] }
  }
]

const knownStates = ["connected", "disconnected", "lost"]

const registrations = ({ key, queue }: Probe): readonly [Request, ...ReadonlyArray<Request>] => {
  const body = { key, type: "custom", queue_key: queue, metadata: { probe: "stacksapi doctor" } }
  const shape = Shape.registeredStack
  const echoes = (answer: unknown): ReadonlyArray<string> => [
    ...(field(answer, "key") === key ? [] : ["key is not the one that was sent"]),
    ...(field(answer, "type") === "custom" ? [] : ["type is not the one that was sent"]),
    ...(field(field(answer, "metadata"), "probe") === body.metadata.probe ? [] : ["metadata is not what was sent"]),
    ...(knownStates.some((state) => field(answer, "state") === state) ? [] : ["state is unknown"])
  ]
  return [
    {
      check: "register a stack",
      method: "POST",
      path: "stacks/register",
      body,
      expected: {
        statuses: [201],
        shape,
        problemsIn: echoes,
        forbidden: "The organization may have reached its limit of active stacks",
        refusal: `The cluster may have no queue ${queue}: choose one of its queues with --queue`
      },
      limitOf: "registerStack"
    },
    {
      check: "register it again",
      method: "POST",
      path: "stacks/register",
      body,
      expected: { statuses: [200], shape, problemsIn: echoes }
    },
    {
      check: "register without a key",
      method: "POST",
      path: "stacks/register",
      body: { ...body, key: "" },
      expected: { statuses: [400, 422] }
    }
  ]
}

const listings = (probe: Probe): ReadonlyArray<Request> => [
  {
    check: "list scheduled jobs",
    method: "GET",
    path: listPath(probe, { limit: "1" }),
    expected: { statuses: [200], shape: Shape.scheduledJobs },
    limitOf: "listScheduledJobs"
  },
  {
    check: "list with an invalid cursor",
    method: "GET",
    path: listPath(probe, { limit: "1", after: "stacksapi-doctor" }),
    expected: { statuses: [400, 422] }
  },
  {
    check: "list more than 1000 jobs",
    method: "GET",
    path: listPath(probe, { limit: "1001" }),
    expected: { statuses: [400, 422] }
  }
]

/** Requests about a job that does not exist. */
const unknownJobs = ({ key, unknownJob }: Probe): ReadonlyArray<Request> => [
  {
    check: "states of an unknown job",
    method: "POST",
    path: `stacks/${key}/jobs/get-states`,
    body: { job_uuids: [unknownJob] },
    expected: {
      statuses: [200],
      shape: Shape.jobStates,
      problemsIn: (body) =>
        field(field(body, "states"), unknownJob) === undefined ? [] : ["the unknown job has a state"]
    },
    limitOf: "getJobStates"
  },
  {
    check: "details of an unknown job",
    method: "GET",
    path: `stacks/${key}/jobs/${unknownJob}`,
    expected: { statuses: [404] },
    limitOf: "getJob"
  },
  {
    check: "reserve an unknown job",
    method: "PUT",
    path: `stacks/${key}/scheduled-jobs/batch-reserve`,
    body: { job_uuids: [unknownJob], reservation_expiry_seconds: 1 },
    expected: {
      statuses: [200],
      shape: Shape.reservation,
      problemsIn: (body) =>
        includes(body, "not_reserved", unknownJob) ? [] : ["not_reserved does not have the unknown job"]
    },
    limitOf: "batchReserveJobs"
  },
  {
    check: "tokens for an unknown job",
    method: "POST",
    path: `stacks/${key}/job-acquisition-tokens`,
    body: { job_uuids: [unknownJob], token_lifetime_seconds: 1 },
    expected: {
      statuses: [201],
      shape: Shape.tokens,
      problemsIn: (body) =>
        includes(body, "not_issued", unknownJob) ? [] : ["not_issued does not have the unknown job"]
    }
  },
  {
    check: "notify an unknown job",
    method: "POST",
    path: `stacks/${key}/notifications`,
    body: { notifications: [{ job_uuid: unknownJob, detail: "stacksapi doctor" }] },
    expected: {
      statuses: [200],
      shape: Shape.notifications,
      problemsIn: (body) => {
        const errors = field(body, "errors")
        return Array.isArray(errors) && errors.length > 0 ? [] : ["there is no error for the unknown job"]
      }
    },
    limitOf: "createStackNotifications"
  },
  {
    check: "finish an unknown job",
    method: "POST",
    path: `stacks/${key}/jobs/${unknownJob}/finish`,
    body: { exit_status: 0, detail: "stacksapi doctor" },
    expected: { statuses: [404] },
    limitOf: "finishJob"
  }
]

const deregistration = ({ key }: Probe): Request => ({
  check: "deregister the stack",
  method: "POST",
  path: `stacks/${key}/deregister`,
  expected: { statuses: [204] },
  limitOf: "deregisterStack"
})

/** Deregisters the stack. A finding about a failure says how to do that later. */
const deregister = (probe: Probe) =>
  Effect.map(ask(deregistration(probe)), ([result, ...others]): ReadonlyArray<Finding> => {
    if (result === undefined || !isBad(result)) return result === undefined ? others : [result, ...others]
    const remove = `The stack may still be registered. To remove it: stacksapi deregister --key ${probe.key}`
    return [{ ...result, advice: `${result.advice}. ${remove}` }, ...others]
  })

const afterwards = (probe: Probe): ReadonlyArray<Request> => [
  {
    check: "list for a stack that is gone",
    method: "GET",
    path: listPath(probe, { limit: "1" }),
    expected: { statuses: [404] }
  },
  { check: "unknown path", method: "GET", path: "stacksapi-doctor", expected: { statuses: [404] } }
]

const answerTo = Effect.fnUntraced(function* ({
  check,
  expected,
  limitOf,
  method,
  path,
  ...options
}: Request): Effect.fn.Return<Answer, never, Service> {
  const service = yield* Service
  const { findings, response } = yield* expectResponse(check, service.send(method, path, options), expected)
  const isDone = response !== undefined
  if (response === undefined || limitOf === undefined) return { findings, isDone }
  const { annotations } = StacksApi.StacksApi.groups.stacks.endpoints[limitOf]
  const { limit, scope } = Context.getUnsafe(annotations, StacksApi.Limit)
  return { findings: [...findings, ...Limits.examine(check, response, scope, limit)], isDone }
})

const ask = (request: Request) => Effect.map(answerTo(request), ({ findings }) => findings)

const askAll = (requests: ReadonlyArray<Request>) => Effect.map(Effect.forEach(requests, ask), (all) => all.flat())

const skipped = (reason: string) => finding("the rest", "skipped", reason)

/** Examines the token; then, if it is usable, a probe stack; then, if there is one, everything else. */
export const examine = Effect.fnUntraced(function* <R>(
  probe: Probe,
  whileRegistered: Effect.Effect<ReadonlyArray<Finding>, never, R>
) {
  const token = yield* askAll(aboutToken)
  if (token[0]?.verdict === "failed") {
    return [...token, skipped("it needs a valid token and a connection")]
  }
  const [register, ...others] = registrations(probe)
  // The probe stack is removed even if the command is interrupted or has a defect.
  const { findings: registered, isDone } = yield* Effect.onError(answerTo(register), () => deregister(probe))
  if (!isDone) {
    // It may be registered although no response came. Usually it is not, and the service responds with 404.
    const removed = (yield* deregister(probe)).filter(({ verdict }) => verdict === "failed")
    return [...token, ...registered, ...removed, skipped("it needs a registered stack")]
  }
  const rest = yield* Effect.all([
    askAll(others),
    askAll(listings(probe)),
    askAll(unknownJobs(probe)),
    whileRegistered
  ]).pipe(
    Effect.flatMap((all) =>
      Effect.map(Effect.all([deregister(probe), askAll(afterwards(probe))]), (more) => [...all.flat(), ...more.flat()])
    ),
    Effect.onError(() => deregister(probe))
  )
  return [...token, ...registered, ...rest]
})
