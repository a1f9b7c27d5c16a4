/** Hides secrets in lines of text. */
import * as Redacted from "effect/Redacted"
import * as RegExp from "effect/RegExp"
import type { Environment, Extra } from "./environment.ts"
import { clean } from "./lines.ts"

export interface Redactor {
  readonly redact: (line: string) => string
  /** The length of the longest text that it hides. */
  readonly longest: number
}

/** Shorter values of variables are everywhere in any text. */
const minLength = 6

/** Tokens of Buildkite, by their looks: those of stacks, jobs, agents and people. */
const token = "\\b(?:bkct|bkjat|bkaat|bkua)_\\w{8,}"

/** Longer than any of them. */
const maxTokenLength = 256

/** Hides Buildkite's tokens, and some texts; of one with several lines, each line. */
export const redactor = (secrets: ReadonlyArray<string>): Redactor => {
  const texts = new Set(
    secrets.flatMap((secret) =>
      secret.split(/[\r\n]+/).flatMap((line, _, lines) => {
        const text = clean(line).trim()
        return text === "" || (lines.length > 1 && text.length < minLength) ? [] : [text]
      })
    )
  )
  // The longest first: one may begin like another.
  const longestFirst = Array.from(texts).sort((a, b) => b.length - a.length)
  const pattern = new globalThis.RegExp([...longestFirst.map(RegExp.escape), token].join("|"), "g")
  return {
    redact: (line) => line.replace(pattern, "[REDACTED]"),
    longest: Math.max(maxTokenLength, longestFirst[0]?.length ?? 0)
  }
}

/** The values of variables whose names look as if they held secrets. */
export const secretsIn = (environment: Environment, patterns: ReadonlyArray<string>): ReadonlyArray<string> => {
  const matchers = patterns.map(
    (pattern) => new globalThis.RegExp(`^${pattern.split("*").map(RegExp.escape).join(".*")}$`, "s")
  )
  return Object.entries(environment).flatMap(([name, value]) =>
    value.length >= minLength && matchers.some((matcher) => matcher.test(name)) ? [value] : []
  )
}

/** The values that a caller marked as secrets. */
export const markedIn = (extra: Extra): ReadonlyArray<string> =>
  Object.values(extra).flatMap((value) => (Redacted.isRedacted(value) ? [Redacted.value(value)] : []))
