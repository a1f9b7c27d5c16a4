/** The requests, oldest first, in bounded memory. */
import * as DateTime from "effect/DateTime"
import * as Headers from "effect/http/Headers"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Record from "effect/Record"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Endpoint } from "../../StacksApi.ts"
import type { Fault } from "./faults.ts"

/** An operation of the agents' API. */
export type AgentOperation =
  | "registerAgent"
  | "connectAgent"
  | "disconnectAgent"
  | "pingAgent"
  | "heartbeatAgent"
  | "stopAgent"
  | "acquireJob"
  | "acceptJob"
  | "startJob"
  | "showJob"
  | "uploadLogChunk"
  | "saveHeaderTimes"
  | "finishAgentJob"
  | "updateJob"
  | "promiseFailure"
  | "annotateBuild"
  | "removeAnnotation"
  | "setMetaData"
  | "setMetaDataBatch"
  | "getMetaData"
  | "hasMetaData"
  | "listMetaData"
  | "createArtifacts"
  | "uploadArtifact"
  | "updateArtifacts"
  | "searchArtifacts"
  | "downloadArtifact"
  | "uploadPipeline"
  | "getPipelineUpload"
  | "getStep"
  | "updateStep"
  | "cancelStep"
  | "cancelBuild"
  | "getSecret"
  | "unsupported"

/** The log removes its oldest requests beyond this number of requests, or of characters in bodies. */
const maxEntries = 10_000
const maxCharacters = 64 * 1024 * 1024

/** A request to the emulator. */
export interface LoggedRequest {
  /** The endpoint; undefined for an agent's request and for an unknown path. */
  readonly operation: Endpoint | undefined
  /** The agent's operation; undefined for other requests. */
  readonly agentOperation: AgentOperation | undefined
  readonly method: string
  /** The percent-encoded path, without the query. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  /** The headers with lower-case names, without `authorization`. */
  readonly headers: Readonly<Record<string, string>>
  /**
   * The body's JSON, or its text if it is not JSON, with the same things hidden as in `responseBody`. Undefined if there is no body,
   * and for a job's output and artifacts.
   */
  readonly body: unknown
  /** When it arrived. */
  readonly time: DateTime.Utc
  /** The status of the response; undefined if there is none yet. */
  readonly status: number | undefined
  /**
   * The JSON of the response's body, or its text if it is not JSON, with `[token]` in place of tokens, `[secret]` in place of
   * secrets, and `[value]` in place of the values in jobs' environments. Undefined if there is no body, and when the response is no
   * longer kept.
   */
  readonly responseBody: unknown
  /** The fault that applied to it. */
  readonly fault: Fault["_tag"] | undefined
}

/** A request in the log, in the form in which it arrived. */
export interface LogEntry {
  readonly endpoint: Endpoint | undefined
  readonly agentOperation: AgentOperation | undefined
  readonly method: string
  readonly url: string
  readonly headers: Headers.Headers
  readonly text: string
  readonly time: number
  status: number | undefined
  /** The body of the response, if it is kept. */
  response: Uint8Array | undefined
  fault: Fault["_tag"] | undefined
}

/** Beyond this number of bytes in responses, the oldest ones are removed. */
const maxResponseBytes = 16 * 1024 * 1024

export class RequestLog {
  /** Oldest first. */
  readonly #entries = new Set<LogEntry>()
  #characters = 0
  /** The requests whose responses are kept, in the order of the responses. */
  readonly #answered = new Set<LogEntry>()
  #responseBytes = 0
  readonly #secrets: ReadonlyArray<string>

  /** Hides the values of `secrets` in bodies. */
  constructor(secrets: ReadonlyArray<Redacted.Redacted>) {
    this.#secrets = secrets.map(Redacted.value).filter((secret) => secret !== "")
  }

  add(entry: LogEntry): LogEntry {
    this.#entries.add(entry)
    this.#characters += entry.text.length
    for (const oldest of this.#entries) {
      if (this.#entries.size <= maxEntries && this.#characters <= maxCharacters) break
      this.#entries.delete(oldest)
      this.#characters -= oldest.text.length
      this.#removeResponse(oldest)
    }
    return entry
  }

  /** Records the response to a request. */
  answer(entry: LogEntry, status: number, body: Uint8Array | undefined): void {
    if (!this.#entries.has(entry)) return
    entry.status = status
    if (body === undefined || body.length === 0) return
    entry.response = body
    this.#answered.add(entry)
    this.#responseBytes += body.length
    for (const oldest of this.#answered) {
      if (this.#responseBytes <= maxResponseBytes) break
      this.#removeResponse(oldest)
    }
  }

  #removeResponse(entry: LogEntry): void {
    if (!this.#answered.delete(entry)) return
    this.#responseBytes -= entry.response?.length ?? 0
    entry.response = undefined
  }

  get requests(): Array<LoggedRequest> {
    return Array.from(this.#entries, (entry) => toLoggedRequest(entry, this.#secrets))
  }
}

/** Decodes a body only when it is read: a log may hold many large ones. */
const toLoggedRequest = (
  { agentOperation, endpoint, fault, headers, method, response, status, text, time, url }: LogEntry,
  secrets: ReadonlyArray<string>
): LoggedRequest => {
  const [path = "", query] = url.split("?", 2)
  return {
    operation: endpoint,
    agentOperation,
    method,
    path,
    query: Object.fromEntries(new URLSearchParams(query)),
    headers: { ...Headers.remove(headers, "authorization") },
    get body() {
      return withoutSecrets(contentOf(text), secrets)
    },
    time: DateTime.makeUnsafe(time),
    status,
    get responseBody() {
      return response && withoutSecrets(contentOf(new TextDecoder().decode(response)), secrets)
    },
    fault
  }
}

/** Hides tokens, those of jobs and of agents, the values of secrets, and those of jobs' environments, where any may be a secret. */
const withoutSecrets = (value: unknown, secrets: ReadonlyArray<string>): unknown => {
  if (Predicate.isString(value)) return secrets.reduce((text, secret) => text.replaceAll(secret, "[secret]"), value)
  if (Array.isArray(value)) return value.map((part) => withoutSecrets(part, secrets))
  if (!Predicate.isObject(value)) return value
  return Record.map(value, (part, name) => {
    if (name === "env" && Predicate.isObject(part)) return Record.map(part, () => "[value]")
    return /(?:^|_)token$/.test(name) && Predicate.isString(part) ? "[token]" : withoutSecrets(part, secrets)
  })
}

/** The JSON of a text, or the text if it is not JSON. Undefined if it is empty. */
const contentOf = (text: string): unknown => (text === "" ? undefined : Option.getOrElse(parseJson(text), () => text))

const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

/** The value of a JSON text, if it is one, and not too deep. */
export const parseJson = (text: string): Option.Option<unknown> => (isDeep(text) ? Option.none() : decodeJson(text))

const maxDepth = 100

/** Whether a JSON text is nested too deeply, so that processing it may exceed the call stack. */
export const isDeep = (text: string): boolean => {
  let depth = 0
  let isInString = false
  for (let index = 0; index < text.length; index++) {
    const character = text[index]
    if (isInString) {
      if (character === "\\") index++
      else if (character === '"') isInString = false
    } else if (character === '"') isInString = true
    else if (character === "[" || character === "{") {
      if (++depth > maxDepth) return true
    } else if (character === "]" || character === "}") depth--
  }
  return false
}
