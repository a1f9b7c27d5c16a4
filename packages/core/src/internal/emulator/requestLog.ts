/** What arrived, newest last, in bounded memory. */
import * as DateTime from "effect/DateTime"
import * as Headers from "effect/http/Headers"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Endpoint } from "../../StacksApi.ts"
import type { Fault } from "./faults.ts"

/** What an agent asks for. */
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
  | "annotateBuild"
  | "setMetaData"
  | "getMetaData"
  | "hasMetaData"
  | "listMetaData"

/** The log forgets the oldest requests beyond this many requests, or this many characters of bodies. */
const maxEntries = 10_000
const maxCharacters = 64 * 1024 * 1024

/** A request that arrived at the emulator. */
export interface LoggedRequest {
  /** The endpoint of the Stacks API; undefined for an agent's request and for an unknown path. */
  readonly operation: Endpoint | undefined
  /** What an agent asked for; undefined for any other request. */
  readonly agentOperation: AgentOperation | undefined
  readonly method: string
  /** The path as it came, percent-encoded, without the query. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  /** The headers, their names in lower case, without `authorization`. */
  readonly headers: Readonly<Record<string, string>>
  /** The JSON of the body; the text where it is no JSON, undefined where there is none, or where it is a job's output. */
  readonly body: unknown
  /** When it arrived. */
  readonly time: DateTime.Utc
  /** The status that was answered; undefined where none was, or not yet. */
  readonly status: number | undefined
  /** The fault that it met. */
  readonly fault: Fault["_tag"] | undefined
}

/** A request in the log, kept as it came until somebody reads the log. */
export interface Entry {
  readonly endpoint: Endpoint | undefined
  readonly agentOperation: AgentOperation | undefined
  readonly method: string
  readonly url: string
  readonly headers: Headers.Headers
  readonly text: string
  readonly time: number
  status: number | undefined
  fault: Fault["_tag"] | undefined
}

export class RequestLog {
  #entries: Array<Entry> = []
  #start = 0
  #characters = 0

  add(entry: Entry): Entry {
    this.#entries.push(entry)
    this.#characters += entry.text.length
    while (this.#entries.length - this.#start > maxEntries || this.#characters > maxCharacters) {
      this.#characters -= this.#entries[this.#start++]?.text.length ?? 0
    }
    if (this.#start > maxEntries) {
      this.#entries = this.#entries.slice(this.#start)
      this.#start = 0
    }
    return entry
  }

  get requests(): Array<LoggedRequest> {
    return this.#entries.slice(this.#start).map(toLoggedRequest)
  }
}

const toLoggedRequest = ({
  agentOperation,
  endpoint,
  fault,
  headers,
  method,
  status,
  text,
  time,
  url
}: Entry): LoggedRequest => {
  const [path = "", query] = url.split("?", 2)
  return {
    operation: endpoint,
    agentOperation,
    method,
    path,
    query: Object.fromEntries(new URLSearchParams(query)),
    headers: { ...Headers.remove(headers, "authorization") },
    body: text === "" ? undefined : Option.getOrElse(parseJson(text), () => text),
    time: DateTime.makeUnsafe(time),
    status,
    fault
  }
}

const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

/** The value of a JSON text, if it is one, and not too deep. */
export const parseJson = (text: string): Option.Option<unknown> => (isDeep(text) ? Option.none() : decodeJson(text))

const maxDepth = 100

/** Whether a JSON text is nested deeper than anything that is meant: who works through it may run out of stack. */
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
