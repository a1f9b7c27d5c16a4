/**
 * The part of the agents' API that an agent for one job needs. The API is not documented; this follows what `buildkite-agent`
 * 3.20 to 4.0 sends and expects.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as FindMyWay from "effect/http/FindMyWay"
import type * as Headers from "effect/http/Headers"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AgentLiveness from "./agentLiveness.ts"
import * as Agents from "./agents.ts"
import { type ErrorResponse, errorResponse } from "./errorResponse.ts"
import * as JobEnvironment from "./jobEnvironment.ts"
import { type AgentOperation, parseJson } from "./requestLog.ts"
import { basePath } from "./routes.ts"
import type { Agent, Job, State } from "./state.ts"

/** An agent's request. */
interface AgentRequest {
  readonly state: State
  readonly clusterToken: Redacted.Redacted
  readonly token: string | undefined
  readonly params: Readonly<Record<string, string | undefined>>
  readonly query: URLSearchParams
  readonly headers: Headers.Headers
  readonly body: Uint8Array
  readonly now: number
}

/** The JSON of the response. */
type Answer = Result.Result<unknown, ErrorResponse>

export interface Route {
  readonly operation: AgentOperation
  readonly params: AgentRequest["params"]
  readonly handle: (request: AgentRequest) => Answer
}

/** The route of an agent's request; undefined for other requests. */
export const find = (method: string, url: string): Route | undefined => {
  const found = router.find(method, url)
  return found && { ...found.handler, params: found.params }
}

// -----------------------------------------------------------------------------
// Intervals and sizes that the service tells its agents
// -----------------------------------------------------------------------------

/** Shorter than the service's intervals, so that trying something out is quick. */
const pingSeconds = 1
const jobStatusSeconds = 1
const heartbeatSeconds = 60
const chunkSeconds = 1
const maxChunkBytes = 100 * 1024
const maxLogBytes = 1024 * 1024 * 1024

// -----------------------------------------------------------------------------
// Authentication
// -----------------------------------------------------------------------------

const asAgent =
  (handle: (agent: Agent, request: AgentRequest) => Answer) =>
  (request: AgentRequest): Answer =>
    Result.flatMap(Agents.authenticate(request.state, request.token), (agent) => handle(agent, request))

const aboutJob = (handle: (job: Job, request: AgentRequest, agent: Agent) => Answer) =>
  asAgent((agent, request) =>
    Result.flatMap(Agents.jobOf(request.state, agent, request.params["jobUuid"] ?? ""), (job) =>
      handle(job, request, agent)
    )
  )

/** Decodes the body. No body counts as an empty object. */
const withBody = <A>(schema: Schema.Decoder<A>) => {
  const decode = Schema.decodeUnknownResult(schema)
  return ({ body }: AgentRequest, handle: (value: A) => Answer): Answer => {
    const text = new TextDecoder().decode(body)
    const json = text === "" ? Option.some({}) : parseJson(text)
    if (Option.isNone(json)) return errorResponse(400, "The body is not valid JSON")
    return Result.match(decode(json.value), {
      onFailure: ({ message }) => errorResponse(422, message.replaceAll(/\s+/g, " ")),
      onSuccess: handle
    })
  }
}

const lenientText = Schema.NullishOr(Schema.String).pipe(Schema.withDecodingDefaultKey(Effect.succeed(undefined)))

// -----------------------------------------------------------------------------
// Agents
// -----------------------------------------------------------------------------

const readRegistration = withBody(
  Schema.Struct({
    name: lenientText,
    hostname: lenientText,
    version: lenientText,
    meta_data: Schema.NullishOr(Schema.Array(Schema.String)).pipe(
      Schema.withDecodingDefaultKey(Effect.succeed(undefined))
    )
  })
)

const register = (request: AgentRequest): Answer =>
  readRegistration(request, ({ hostname, meta_data, name, version }) =>
    Result.map(
      Agents.register(
        request.state,
        request.token,
        request.clusterToken,
        { name: name ?? "", hostname: hostname ?? "", version: version ?? "", tags: meta_data ?? [] },
        request.now
      ),
      (agent) => ({
        id: agent.id,
        name: agent.name,
        access_token: agent.accessToken,
        meta_data: agent.tags,
        ping_interval: pingSeconds,
        job_status_interval: jobStatusSeconds,
        heartbeat_interval: heartbeatSeconds
      })
    )
  )

const describeAgent = (agent: Agent) => ({ id: agent.id, name: agent.name, connection_state: agent.state })

const connect = asAgent((agent, { now, state }) => {
  agent.state = "connected"
  AgentLiveness.touch(state, agent, now)
  return Result.succeed(describeAgent(agent))
})

const disconnect = asAgent((agent, { now, state }) => {
  Agents.disconnect(state, agent, now)
  return Result.succeed(describeAgent(agent))
})

/** Tells an agent to disconnect if it was asked to stop. */
const ping = asAgent((agent, { now, state }) => {
  AgentLiveness.touch(state, agent, now)
  return Result.succeed(agent.isStopping ? { action: "disconnect", message: "The agent was asked to stop" } : {})
})

const readHeartbeat = withBody(Schema.Struct({ sent_at: lenientText }))

const heartbeat = asAgent((agent, request) =>
  readHeartbeat(request, ({ sent_at }) => {
    AgentLiveness.touch(request.state, agent, request.now)
    return Result.succeed({ sent_at, received_at: DateTime.formatIso(DateTime.makeUnsafe(request.now)) })
  })
)

const readStop = withBody(
  Schema.Struct({ force: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(false))) })
)

const stop = asAgent((agent, request) =>
  readStop(request, ({ force }) => {
    Agents.stop(request.state, agent, force, request.now)
    return Result.succeed(describeAgent(agent))
  })
)

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

const describeJob = (job: Job) => ({ id: job.listed.id, state: job.state })

/** Everything that an agent needs to run a job. */
const describeAcquiredJob = (state: State, job: Job, agent: Agent) => ({
  ...describeJob(job),
  env: JobEnvironment.make(state, job, agent),
  priority: job.listed.priority,
  runnable_at: DateTime.formatIso(job.listed.runnableAt ?? job.listed.scheduledAt),
  chunks_max_size_bytes: maxChunkBytes,
  chunks_interval_seconds: chunkSeconds,
  log_max_size_bytes: maxLogBytes
})

const acquire = asAgent((agent, { headers, params, state }) =>
  Result.map(
    Agents.acquire(state, agent, params["jobUuid"] ?? "", {
      supportsLocks: headers["x-buildkite-lock-acquire-job"] === "1",
      attempt: toCount(headers["x-buildkite-backoff-sequence"] ?? null) ?? 0
    }),
    (job) => describeAcquiredJob(state, job, agent)
  )
)

const accept = aboutJob((job, { state }, agent) =>
  job.state === "accepted"
    ? Result.succeed(describeAcquiredJob(state, job, agent))
    : errorResponse(422, `The job is already ${job.state}`)
)

const start = aboutJob((job, { now }) => Result.map(Agents.start(job, now), () => describeJob(job)))

const show = aboutJob((job) => Result.succeed(describeJob(job)))

const uploadChunk = aboutJob((job, { body, query, state }) => {
  const offset = toCount(query.get("offset"))
  const size = toCount(query.get("size"))
  if (offset === undefined || size !== body.length)
    return errorResponse(422, "The chunk's size does not match its body")
  state.logs.add(job.listed.id, { offset, bytes: body })
  return Result.succeed({})
})

const toCount = (text: string | null): number | undefined => (/^\d{1,15}$/.test(text ?? "") ? Number(text) : undefined)

/** Accepts a request and does nothing. */
const ignore = aboutJob(() => Result.succeed({}))

const readResult = withBody(
  Schema.Struct({
    exit_status: Schema.NullishOr(
      Schema.Union([Schema.Int, Schema.String.check(Schema.isPattern(/^-?\d{1,10}$/))])
    ).pipe(Schema.withDecodingDefaultKey(Effect.succeed(undefined))),
    signal: lenientText,
    signal_reason: lenientText
  })
)

const finish = aboutJob((job, request) =>
  readResult(request, ({ exit_status, signal, signal_reason }) =>
    Result.map(
      Agents.finish(
        job,
        {
          exitStatus: Number(exit_status ?? -1),
          signal: signal || undefined,
          signalReason: signal_reason || undefined
        },
        request.now
      ),
      () => describeJob(job)
    )
  )
)

// -----------------------------------------------------------------------------
// Meta-data of builds: the agent writes the commit there
// -----------------------------------------------------------------------------

const readMetaData = withBody(
  Schema.Struct({
    key: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed(""))),
    value: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("")))
  })
)

const aboutMetaData = (handle: (all: Map<string, string>, key: string, value: string) => Answer) =>
  aboutJob((job, request) =>
    readMetaData(request, ({ key, value }) => {
      const { metaData } = request.state
      const build = job.listed.build.uuid ?? ""
      const all = metaData.get(build) ?? new Map<string, string>()
      metaData.set(build, all)
      return handle(all, key, value)
    })
  )

const setMetaData = aboutMetaData((all, key, value) => {
  all.set(key, value)
  return Result.succeed({ key, value })
})

const getMetaData = aboutMetaData((all, key) => {
  const value = all.get(key)
  return value === undefined ? errorResponse(404, `No key ${key} found`) : Result.succeed({ key, value })
})

const hasMetaData = aboutMetaData((all, key) => Result.succeed({ exists: all.has(key) }))

const listMetaData = aboutMetaData((all) => Result.succeed(Array.from(all.keys())))

// -----------------------------------------------------------------------------
// The router
// -----------------------------------------------------------------------------

const router = FindMyWay.make<Omit<Route, "params">>()

const on = (method: "GET" | "POST" | "PUT", path: string, operation: AgentOperation, handle: Route["handle"]) =>
  router.on(method, `${basePath}/${path}`, { operation, handle })

on("POST", "register", "registerAgent", register)
on("POST", "connect", "connectAgent", connect)
on("POST", "disconnect", "disconnectAgent", disconnect)
on("GET", "ping", "pingAgent", ping)
on("POST", "heartbeat", "heartbeatAgent", heartbeat)
on("POST", "stop", "stopAgent", stop)
on("PUT", "jobs/:jobUuid/acquire", "acquireJob", acquire)
on("PUT", "jobs/:jobUuid/accept", "acceptJob", accept)
on("PUT", "jobs/:jobUuid/start", "startJob", start)
on("GET", "jobs/:jobUuid", "showJob", show)
on("POST", "jobs/:jobUuid/chunks", "uploadLogChunk", uploadChunk)
on("POST", "jobs/:jobUuid/header_times", "saveHeaderTimes", ignore)
on("PUT", "jobs/:jobUuid/finish", "finishAgentJob", finish)
on("POST", "jobs/:jobUuid/annotations", "annotateBuild", ignore)
on("POST", "jobs/:jobUuid/data/set", "setMetaData", setMetaData)
on("POST", "jobs/:jobUuid/data/get", "getMetaData", getMetaData)
on("POST", "jobs/:jobUuid/data/exists", "hasMetaData", hasMetaData)
on("POST", "jobs/:jobUuid/data/keys", "listMetaData", listMetaData)
