/** Hides secrets in lines of text. */
import * as Record from "effect/Record"
import * as Redacted from "effect/Redacted"
import * as RegExp from "effect/RegExp"
import * as Result from "effect/Result"
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

/** The values of variables whose names look as if they held secrets, and what logs in where a value has a URL. */
export const secretsIn = (environment: Environment, patterns: ReadonlyArray<string>): ReadonlyArray<string> => {
  const matchers = patterns.map(
    (pattern) => new globalThis.RegExp(`^${pattern.split("*").map(RegExp.escape).join(".*")}$`, "s")
  )
  return Object.entries(environment)
    .flatMap(([name, value]) => (matchers.some((matcher) => matcher.test(name)) ? [value] : passwordsIn(value)))
    .filter((secret) => secret.length >= minLength)
}

/** The password of a URL; of one for the web without a password, what stands in its place. */
const login = /(?<=:\/\/[^\s/?#@:]*:)[^\s/?#@]+(?=@)|(?<=https?:\/\/)[^\s/?#@:]+(?=@)/g

/** As they are written, and as they are meant. */
const passwordsIn = (value: string): ReadonlyArray<string> =>
  (value.match(login) ?? []).flatMap((text) => [
    text,
    Result.getOrElse(
      Result.try(() => decodeURIComponent(text)),
      () => text
    )
  ])

const isSecretName = /TOKEN|SECRET|PASSWORD|PASSWD|PRIVATE_KEY|ACCESS_KEY|API_KEY|CREDENTIAL|CONNECTION_STRING/i

/** An environment to look at: without the values of variables that are named like secrets, and without passwords in URLs. */
export const withoutSecrets = (environment: Environment): Environment =>
  Record.map(environment, (value, name) =>
    isSecretName.test(name) ? "[redacted]" : value.replace(login, "[redacted]")
  )

/** The values that a caller marked as secrets. */
export const markedIn = (extra: Extra): ReadonlyArray<string> =>
  Object.values(extra).flatMap((value) => (Redacted.isRedacted(value) ? [Redacted.value(value)] : []))
