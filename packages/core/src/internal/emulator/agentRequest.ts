/** What the handlers of the agents' API have in common: authentication, bodies and responses. */
import * as Effect from "effect/Effect"
import type * as Headers from "effect/http/Headers"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Agents from "./agents.ts"
import * as BuildData from "./buildData.ts"
import { type ErrorResponse, errorResponse } from "./errorResponse.ts"
import { type AgentOperation, parseJson } from "./requestLog.ts"
import type { Agent, Job, State } from "./state.ts"

/** An agent's request. */
export interface AgentRequest {
  readonly state: State
  readonly clusterToken: Redacted.Redacted
  /** The queue of uploaded jobs whose rules name none. */
  readonly defaultQueueKey: string
  readonly token: string | undefined
  readonly params: Readonly<Record<string, string | undefined>>
  readonly query: URLSearchParams
  readonly headers: Headers.Headers
  readonly body: Uint8Array
  readonly now: number
}

/** The JSON of the response, or a response. */
export type Answer = Result.Result<unknown | HttpServerResponse.HttpServerResponse, ErrorResponse>

export type Handle = (request: AgentRequest) => Answer

export type Method = "GET" | "POST" | "PUT" | "DELETE"

/** A handler at its method and its path below the base path. */
export type Endpoint = readonly [method: Method, path: string, operation: AgentOperation, handle: Handle]

// -----------------------------------------------------------------------------
// Authentication
// -----------------------------------------------------------------------------

/** A request with an agent's access token. */
export const asAgent =
  (handle: (agent: Agent, request: AgentRequest) => Answer): Handle =>
  (request) =>
    Result.flatMap(Agents.authenticate(request.state, request.token), (agent) => handle(agent, request))

/** A request with an agent's access token, or with the token that came with its job. */
export const fromJob =
  (handle: (agent: Agent, request: AgentRequest) => Answer): Handle =>
  (request) =>
    Result.flatMap(Agents.authenticateJob(request.state, request.token), (agent) => handle(agent, request))

/** A request about the agent's job. */
export const aboutJob = (handle: (job: Job, request: AgentRequest, agent: Agent) => Answer): Handle =>
  fromJob((agent, request) =>
    Result.flatMap(Agents.jobOf(request.state, agent, request.params["jobUuid"] ?? ""), (job) =>
      handle(job, request, agent)
    )
  )

/** A request about any build. */
export const aboutBuild = (handle: (build: BuildData.BuildData, request: AgentRequest) => Answer): Handle =>
  fromJob((_, request) => {
    const id = request.params["buildUuid"] ?? ""
    const build = request.state.builds.get(id)
    return build === undefined ? errorResponse(404, `No build found with UUID ${id}`) : handle(build, request)
  })

/** The build of the agent's job; also after the job has ended. */
export const buildOf = (state: State, agent: Agent): BuildData.BuildData | undefined => {
  const job = agent.job ?? state.jobs.get(agent.lastJobUuid ?? "")
  return job === undefined ? undefined : BuildData.of(state, job)
}

// -----------------------------------------------------------------------------
// Bodies
// -----------------------------------------------------------------------------

/** Decodes the body. No body counts as an empty object. */
export const withBody = <A>(schema: Schema.Decoder<A>) => {
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

/** A field that may be null or missing. */
export const lenient = <S extends Schema.Top>(schema: S) =>
  Schema.NullishOr(schema).pipe(Schema.withDecodingDefaultKey(Effect.succeed(undefined)))

export const lenientText = lenient(Schema.String)

/** A text that is empty if it is missing. */
export const text = Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("")))

export const flag = Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(false)))

export const toCount = (text: string | null): number | undefined =>
  /^\d{1,15}$/.test(text ?? "") ? Number(text) : undefined
