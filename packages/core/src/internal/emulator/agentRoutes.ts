/**
 * The part of the agents' API that an agent for one job needs. The API is not documented; this follows what `buildkite-agent`
 * 3.20 to 4.0 sends and expects.
 */
import * as DateTime from "effect/DateTime"
import * as FindMyWay from "effect/http/FindMyWay"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AgentLiveness from "./agentLiveness.ts"
import {
  type AgentRequest,
  type Answer,
  aboutJob,
  asAgent,
  type Endpoint,
  flag,
  type Handle,
  lenient,
  lenientText,
  toCount,
  withBody
} from "./agentRequest.ts"
import * as Agents from "./agents.ts"
import * as AnnotationRoutes from "./annotationRoutes.ts"
import * as ArtifactRoutes from "./artifactRoutes.ts"
import * as BuildRoutes from "./buildRoutes.ts"
import { errorResponse } from "./errorResponse.ts"
import * as JobEnvironment from "./jobEnvironment.ts"
import * as JobUpdateRoutes from "./jobUpdateRoutes.ts"
import * as MetaDataRoutes from "./metaDataRoutes.ts"
import * as PipelineUploadRoutes from "./pipelineUploadRoutes.ts"
import type { AgentOperation } from "./requestLog.ts"
import { basePath } from "./routes.ts"
import * as SecretRoutes from "./secretRoutes.ts"
import type { Agent, Job, State } from "./state.ts"
import * as StepRoutes from "./stepRoutes.ts"
import * as UnsupportedRoutes from "./unsupportedRoutes.ts"

export interface Route {
  readonly operation: AgentOperation
  readonly params: AgentRequest["params"]
  readonly handle: Handle
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
// Agents
// -----------------------------------------------------------------------------

const readRegistration = withBody(
  Schema.Struct({
    name: lenientText,
    hostname: lenientText,
    version: lenientText,
    meta_data: lenient(Schema.Array(Schema.String))
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

const readStop = withBody(Schema.Struct({ force: flag }))

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
  token: agent.jobToken,
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

const start = aboutJob((job, { now, state }) => Result.map(Agents.start(state, job, now), () => describeJob(job)))

const show = aboutJob((job) => Result.succeed(describeJob(job)))

const uploadChunk = aboutJob((job, { body, query, state }) => {
  const offset = toCount(query.get("offset"))
  const size = toCount(query.get("size"))
  if (offset === undefined || size !== body.length)
    return errorResponse(422, "The chunk's size does not match its body")
  state.logs.add(job.listed.id, { offset, bytes: body })
  return Result.succeed({})
})

/** Accepts a request and does nothing. */
const ignore = aboutJob(() => Result.succeed({}))

const readResult = withBody(
  Schema.Struct({
    exit_status: lenient(Schema.Union([Schema.Int, Schema.String.check(Schema.isPattern(/^-?\d{1,10}$/))])),
    signal: lenientText,
    signal_reason: lenientText
  })
)

const finish = aboutJob((job, request) =>
  readResult(request, ({ exit_status, signal, signal_reason }) =>
    Result.map(
      Agents.finish(
        request.state,
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
// The router
// -----------------------------------------------------------------------------

const endpoints: ReadonlyArray<Endpoint> = [
  ["POST", "register", "registerAgent", register],
  ["POST", "connect", "connectAgent", connect],
  ["POST", "disconnect", "disconnectAgent", disconnect],
  ["GET", "ping", "pingAgent", ping],
  ["POST", "heartbeat", "heartbeatAgent", heartbeat],
  ["POST", "stop", "stopAgent", stop],
  ["PUT", "jobs/:jobUuid/acquire", "acquireJob", acquire],
  ["PUT", "jobs/:jobUuid/accept", "acceptJob", accept],
  ["PUT", "jobs/:jobUuid/start", "startJob", start],
  ["GET", "jobs/:jobUuid", "showJob", show],
  ["POST", "jobs/:jobUuid/chunks", "uploadLogChunk", uploadChunk],
  ["POST", "jobs/:jobUuid/header_times", "saveHeaderTimes", ignore],
  ["PUT", "jobs/:jobUuid/finish", "finishAgentJob", finish]
]

const router = FindMyWay.make<Omit<Route, "params">>()

for (const [method, path, operation, handle] of [
  ...endpoints,
  ...AnnotationRoutes.endpoints,
  ...ArtifactRoutes.endpoints,
  ...BuildRoutes.endpoints,
  ...JobUpdateRoutes.endpoints,
  ...MetaDataRoutes.endpoints,
  ...PipelineUploadRoutes.endpoints,
  ...SecretRoutes.endpoints,
  ...StepRoutes.endpoints,
  ...UnsupportedRoutes.endpoints
]) {
  router.on(method, `${basePath}/${path}`, { operation, handle })
}
