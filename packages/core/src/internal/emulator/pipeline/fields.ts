/** Reads the fields of a command step. */
import * as Result from "effect/Result"
import * as AgentQueryRules from "../../../AgentQueryRules.ts"
import { type Fields, first, optional, type Part, type Read, readTexts } from "./part.ts"

/** Whether a step may fail: always, or with these exit statuses. */
export type SoftFail = boolean | ReadonlyArray<number>

export const readSoftFail = (part: Part | undefined): Read<SoftFail> =>
  Result.gen(function* () {
    if (part === undefined || part.isNull) return false
    if (!part.isList) return yield* part.flag("true, false or a list with an `exit_status` each")
    const statuses: Array<number> = []
    for (const item of part.some()) {
      const status = item.isMap ? (yield* item.fields()).get("exit_status") : item
      if (status === undefined) return yield* item.fail('Expected `exit_status: NUMBER`, or "*" for any.')
      if (status.isList) return yield* status.fail(oneStatus)
      if (status.value === "*") return true
      statuses.push(yield* status.integer('a whole number, or "*" for any'))
    }
    return statuses
  })

const oneStatus = 'Expected a whole number, or "*" for any, not a list. Write an entry with an `exit_status` for each.'

/** One command, or several that become lines. */
export const readCommand = (fields: Fields): Read<string> =>
  Result.map(readTexts(first(fields, "command", "commands", "script")), (lines) => lines.join("\n"))

/** A map, or a list of `NAME=VALUE`. */
export const readEnv = (part: Part | undefined): Read<Readonly<Record<string, string>>> =>
  Result.gen(function* () {
    const env: Array<readonly [name: string, value: string]> = []
    if (part === undefined || part.isNull) return {}
    if (part.isList) {
      for (const item of part.some()) {
        const text = yield* item.text("NAME=VALUE")
        const separator = text.indexOf("=")
        if (separator <= 0) return yield* item.fail(`Expected NAME=VALUE, not ${JSON.stringify(text)}.`)
        env.push([text.slice(0, separator), text.slice(separator + 1)])
      }
    } else {
      const fields = yield* part.fields("a map of variables, or a list of NAME=VALUE")
      for (const [name, value] of fields) env.push([name, value.isNull ? "" : yield* value.text()])
    }
    return Object.fromEntries(env)
  })

/** Rules: `key=value`, or `key=` and `key` for any value. */
export const readRules = (fields: Fields): Read<ReadonlyArray<string>> =>
  Result.gen(function* () {
    const part = first(fields, "agents", "agent_query_rules")
    if (part === undefined) return []
    const rules: Array<string> = []
    if (part.isMap) {
      for (const [key, value] of yield* part.fields()) rules.push(`${key}=${value.isNull ? "" : yield* value.text()}`)
      return rules
    }
    for (const item of part.some()) {
      const text = item.isNull ? "" : yield* item.text("KEY=VALUE, or KEY for any value")
      // An empty rule is met by every agent.
      if (text.trim() === "") continue
      if (AgentQueryRules.parse(text).key === "") {
        return yield* item.fail(`Expected KEY=VALUE, or KEY for any value, not ${JSON.stringify(text)}.`)
      }
      rules.push(text)
    }
    return rules
  })

/** The pipeline's rules with those of a step, which replace rules with the same key. */
export const mergeRules = (rules: ReadonlyArray<string>, own: ReadonlyArray<string>): ReadonlyArray<string> => {
  const keyOf = (rule: string) => AgentQueryRules.parse(rule).key
  const keys = new Set(own.map(keyOf))
  return [...rules.filter((rule) => !keys.has(keyOf(rule))), ...own]
}

export const queueOf = (rules: ReadonlyArray<string>): string | undefined =>
  rules.map(AgentQueryRules.parse).find(({ key, value }) => key === "queue" && value !== undefined)?.value

const maxParallelism = 1000

export const readParallelism = (part: Part): Read<number> =>
  Result.flatMap(part.integer(), (count) =>
    count >= 0 && count <= maxParallelism
      ? Result.succeed(count)
      : part.fail(`\`parallelism\` is from 0 to ${maxParallelism}, not ${count}.`)
  )

// -----------------------------------------------------------------------------
// Concurrency
// -----------------------------------------------------------------------------

/** How many jobs of a group may run at the same time. */
export interface Concurrency {
  readonly group: string
  readonly limit: number
  /** Whether a job may overtake those that were created before it. */
  readonly isEager: boolean
}

export const readConcurrency = (fields: Fields): Read<Concurrency | undefined> =>
  Result.gen(function* () {
    const limit = yield* optional(first(fields, "concurrency"), readLimit)
    const group = yield* optional(first(fields, "concurrency_group"), (part) => part.text())
    const method = first(fields, "concurrency_method")
    if (method !== undefined && method.value !== "ordered" && method.value !== "eager") {
      return yield* method.fail(`\`concurrency_method\` is ordered or eager, not ${method.kind}.`)
    }
    if (limit === undefined || group === undefined || group === "") return undefined
    return { group, limit, isEager: method?.value === "eager" }
  })

const readLimit = (part: Part): Read<number> =>
  Result.flatMap(part.integer(), (limit) =>
    limit >= 1 ? Result.succeed(limit) : part.fail(`\`concurrency\` is at least 1, not ${limit}.`)
  )

// -----------------------------------------------------------------------------
// Retries
// -----------------------------------------------------------------------------

/** Which failures are retried, and how often. Undefined stands for any. */
export interface RetryRule {
  readonly exitStatuses: ReadonlyArray<number> | undefined
  /** In lower case, without `SIG`; `none` for no signal. */
  readonly signals: ReadonlyArray<string> | undefined
  readonly signalReasons: ReadonlyArray<string> | undefined
  readonly limit: number
}

export interface Retry {
  readonly automatic: ReadonlyArray<RetryRule>
  readonly isManualAllowed: boolean
  readonly isPermittedOnPassed: boolean
}

const defaultLimit = 2
const maxLimit = 10

export const readRetry = (part: Part | undefined): Read<Retry> =>
  Result.gen(function* () {
    const fields = part === undefined || part.isNull ? new Map<string, Part>() : yield* part.fields()
    const manual = fields.get("manual")
    const conditions = manual?.isMap ? yield* manual.fields() : undefined
    const allowed = conditions?.get("allowed")
    return {
      automatic: yield* readAutomatic(fields.get("automatic")),
      isManualAllowed: manual?.boolean !== false && allowed?.boolean !== false,
      isPermittedOnPassed: conditions?.get("permit_on_passed")?.boolean ?? false
    }
  })

const readAutomatic = (part: Part | undefined): Read<ReadonlyArray<RetryRule>> => {
  if (part === undefined || part.isNull || part.boolean === false) return Result.succeed([])
  if (part.boolean === true) return Result.succeed([anyFailure])
  return Result.all(part.some().map(readRule))
}

const anyFailure: RetryRule = {
  exitStatuses: undefined,
  signals: undefined,
  signalReasons: undefined,
  limit: defaultLimit
}

const readRule = (part: Part): Read<RetryRule> =>
  Result.gen(function* () {
    const fields = yield* part.fields("true, false, a map with the conditions of a retry, or a list of such maps")
    const limit = (yield* optional(fields.get("limit"), (part) => part.integer())) ?? defaultLimit
    const exitStatuses = yield* readPatterns(fields.get("exit_status"), (part) =>
      part.integer('a whole number, "*" for any, or a list of whole numbers')
    )
    const signals = yield* readPatterns(fields.get("signal"), (part) => Result.map(part.text(texts), signalName))
    const signalReasons = yield* readPatterns(fields.get("signal_reason"), (part) => part.text(texts))
    return { exitStatuses, signals, signalReasons, limit: Math.min(Math.max(limit, 0), maxLimit) }
  })

const texts = 'a text, "*" for any, or a list of texts'

/** One value, several, or `*` for any. */
const readPatterns = <A>(part: Part | undefined, read: (part: Part) => Read<A>): Read<ReadonlyArray<A> | undefined> => {
  const parts = part?.some() ?? []
  if (parts.length === 0 || parts.some(({ value }) => value === "*")) return Result.succeed(undefined)
  return Result.all(parts.map(read))
}

export const signalName = (signal: string): string => signal.toLowerCase().replace(/^sig/, "")
