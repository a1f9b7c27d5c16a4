/**
 * The API of the agents, as far as one that runs one job needs it. Written from what `buildkite-agent` sends and expects,
 * from 3.20 to 4.0: it is not documented.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as FindMyWay from "effect/http/FindMyWay"
import type * as Headers from "effect/http/Headers"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Agents from "./agents.ts"
import * as JobEnvironment from "./jobEnvironment.ts"
import * as Partings from "./partings.ts"
import { type Refusal, refuse } from "./refusal.ts"
import { type AgentOperation, parseJson } from "./requestLog.ts"
import { basePath } from "./routes.ts"
import type { Agent, Job, State } from "./state.ts"

/** A request of an agent, as its handler sees it. */
interface Incoming {
  readonly state: State
  readonly clusterToken: Redacted.Redacted
  readonly token: string | undefined
  readonly params: Readonly<Record<string, string | undefined>>
  readonly query: URLSearchParams
  readonly headers: Headers.Headers
  readonly body: Uint8Array
  readonly now: number
}

/** What becomes the JSON of the answer. */
type Answer = Result.Result<unknown, Refusal>

export interface Route {
  readonly operation: AgentOperation
  readonly params: Incoming["params"]
  readonly handle: (incoming: Incoming) => Answer
}

/** The agents' endpoint of a request, if it is one. */
export const find = (method: string, url: string): Route | undefined => {
  const found = directory.find(method, url)
  return found && { ...found.handler, params: found.params }
}

// -----------------------------------------------------------------------------
// Intervals and sizes that the service tells its agents
// -----------------------------------------------------------------------------

/** Shorter than the service's: whoever tries something out waits for them. */
const pingSeconds = 1
const jobStatusSeconds = 1
const heartbeatSeconds = 60
const chunkSeconds = 1
const maxChunkBytes = 100 * 1024
const maxLogBytes = 1024 * 1024 * 1024

// -----------------------------------------------------------------------------
// Who asks, and about which job
// -----------------------------------------------------------------------------

const asAgent =
  (handle: (agent: Agent, incoming: Incoming) => Answer) =>
  (incoming: Incoming): Answer =>
    Result.flatMap(Agents.authenticate(incoming.state, incoming.token), (agent) => handle(agent, incoming))

const aboutJob = (handle: (job: Job, incoming: Incoming, agent: Agent) => Answer) =>
  asAgent((agent, incoming) =>
    Result.flatMap(Agents.jobOf(incoming.state, agent, incoming.params["jobUuid"] ?? ""), (job) =>
      handle(job, incoming, agent)
    )
  )

/** Decodes the body; one that is missing counts as an empty object. */
const withBody = <A>(schema: Schema.Decoder<A>) => {
  const decode = Schema.decodeUnknownResult(schema)
  return ({ body }: Incoming, handle: (value: A) => Answer): Answer => {
    const text = new TextDecoder().decode(body)
    const json = text === "" ? Option.some({}) : parseJson(text)
    if (Option.isNone(json)) return refuse(400, "The body is not valid JSON")
    return Result.match(decode(json.value), {
      onFailure: ({ message }) => refuse(422, message.replaceAll(/\s+/g, " ")),
      onSuccess: handle
    })
  }
}

const lenientText = Schema.NullishOr(Schema.String).pipe(Schema.withDecodingDefaultKey(Effect.succeed(undefined)))

// -----------------------------------------------------------------------------
// The agent's own life
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

const register = (incoming: Incoming): Answer =>
  readRegistration(incoming, ({ hostname, meta_data, name, version }) =>
    Result.map(
      Agents.register(
        incoming.state,
        incoming.token,
        incoming.clusterToken,
        { name: name ?? "", hostname: hostname ?? "", version: version ?? "", tags: meta_data ?? [] },
        incoming.now
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
  Partings.see(state, agent, now)
  return Result.succeed(describeAgent(agent))
})

const disconnect = asAgent((agent, { now, state }) => {
  Agents.disconnect(state, agent, now)
  return Result.succeed(describeAgent(agent))
})

/** An agent that was asked to stop leaves; one that runs one job does so anyway, once that is over. */
const ping = asAgent((agent, { now, state }) => {
  Partings.see(state, agent, now)
  return Result.succeed(agent.isStopping ? { action: "disconnect", message: "The agent was asked to stop" } : {})
})

const readHeartbeat = withBody(Schema.Struct({ sent_at: lenientText }))

const heartbeat = asAgent((agent, incoming) =>
  readHeartbeat(incoming, ({ sent_at }) => {
    Partings.see(incoming.state, agent, incoming.now)
    return Result.succeed({ sent_at, received_at: DateTime.formatIso(DateTime.makeUnsafe(incoming.now)) })
  })
)

const readStop = withBody(
  Schema.Struct({ force: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(false))) })
)

const stop = asAgent((agent, incoming) =>
  readStop(incoming, ({ force }) => {
    Agents.stop(incoming.state, agent, force, incoming.now)
    return Result.succeed(describeAgent(agent))
  })
)

// -----------------------------------------------------------------------------
// Its job
// -----------------------------------------------------------------------------

const describeJob = (job: Job) => ({ id: job.listed.id, state: job.state })

/** What an agent needs to run a job. */
const handOver = (state: State, job: Job, agent: Agent) => ({
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
      knowsLocks: headers["x-buildkite-lock-acquire-job"] === "1",
      attempt: toCount(headers["x-buildkite-backoff-sequence"] ?? null) ?? 0
    }),
    (job) => handOver(state, job, agent)
  )
)

const accept = aboutJob((job, { state }, agent) =>
  job.state === "accepted"
    ? Result.succeed(handOver(state, job, agent))
    : refuse(422, `The job is already ${job.state}`)
)

const start = aboutJob((job, { now }) => Result.map(Agents.start(job, now), () => describeJob(job)))

const show = aboutJob((job) => Result.succeed(describeJob(job)))

const uploadChunk = aboutJob((job, { body, query, state }) => {
  const offset = toCount(query.get("offset"))
  const size = toCount(query.get("size"))
  if (offset === undefined || size !== body.length) return refuse(422, "The chunk does not have the size that it tells")
  state.logs.add(job.listed.id, { offset, bytes: body })
  return Result.succeed({})
})

const toCount = (text: string | null): number | undefined => (/^\d{1,15}$/.test(text ?? "") ? Number(text) : undefined)

/** Takes what the emulator has no use for. */
const ignore = aboutJob(() => Result.succeed({}))

const readEnding = withBody(
  Schema.Struct({
    exit_status: Schema.NullishOr(
      Schema.Union([Schema.Int, Schema.String.check(Schema.isPattern(/^-?\d{1,10}$/))])
    ).pipe(Schema.withDecodingDefaultKey(Effect.succeed(undefined))),
    signal: lenientText,
    signal_reason: lenientText
  })
)

const finish = aboutJob((job, incoming) =>
  readEnding(incoming, ({ exit_status, signal, signal_reason }) =>
    Result.map(
      Agents.finish(
        job,
        {
          exitStatus: Number(exit_status ?? -1),
          signal: signal || undefined,
          signalReason: signal_reason || undefined
        },
        incoming.now
      ),
      () => describeJob(job)
    )
  )
)

// -----------------------------------------------------------------------------
// What the jobs of a build tell each other: the agent itself writes the commit there
// -----------------------------------------------------------------------------

const readMetaData = withBody(
  Schema.Struct({
    key: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed(""))),
    value: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("")))
  })
)

const aboutMetaData = (handle: (all: Map<string, string>, key: string, value: string) => Answer) =>
  aboutJob((job, incoming) =>
    readMetaData(incoming, ({ key, value }) => {
      const { metaData } = incoming.state
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
  return value === undefined ? refuse(404, `No key ${key} found`) : Result.succeed({ key, value })
})

const hasMetaData = aboutMetaData((all, key) => Result.succeed({ exists: all.has(key) }))

const listMetaData = aboutMetaData((all) => Result.succeed(Array.from(all.keys())))

// -----------------------------------------------------------------------------
// The directory
// -----------------------------------------------------------------------------

const directory = FindMyWay.make<Omit<Route, "params">>()

const on = (method: "GET" | "POST" | "PUT", path: string, operation: AgentOperation, handle: Route["handle"]) =>
  directory.on(method, `${basePath}/${path}`, { operation, handle })

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
