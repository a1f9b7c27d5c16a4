/** Finds secrets: by the names of variables, in their values, and by `Redacted`. */
import * as Record from "effect/Record"
import * as Redacted from "effect/Redacted"
import * as RegExp from "effect/RegExp"
import * as Result from "effect/Result"
import { defaultRedactedVars } from "../../JobOutput.ts"
import * as Redactor from "../secrets/redactor.ts"
import type { Environment, Extra } from "./environment.ts"

/** The values of variables that are named like secrets, and the passwords in URLs. */
export const secretsIn = (environment: Environment, patterns: ReadonlyArray<string>): ReadonlyArray<string> => {
  const matchers = patterns.map(matcherOf)
  return Object.entries(environment)
    .flatMap(([name, value]) => [
      ...(matchers.some((matcher) => matcher.test(name)) ? [value] : []),
      ...passwordsIn(value)
    ])
    .filter((secret) => Redactor.byteLength(secret.trim()) >= Redactor.minLength)
}

/** A pattern in the agent's syntax, case-insensitive: `*`, `?`, `[a-z]`, `[^a-z]`, and a backslash before any of them. */
const matcherOf = (pattern: string): globalThis.RegExp => {
  const parts = pattern.match(/\\.|\[\^?(?:\\.|[^\]\\])+\]|./gs) ?? []
  const source = parts.map((part) => {
    if (part === "*") return ".*"
    if (part === "?") return "."
    // In a set, a backslash before a letter would be a class of its own.
    return part.startsWith("[") && part.length > 1 ? part.replace(/\\(\w)/g, "$1") : RegExp.escape(part.slice(-1))
  })
  const make = (text: string) => new globalThis.RegExp(`^${text}$`, "is")
  return Result.getOrElse(
    Result.try(() => make(source.join(""))),
    () => make(RegExp.escape(pattern))
  )
}

/** The password of a URL; for http and https without a password, the user name. */
const login = /(?<=:\/\/[^\s/?#@:]*:)[^\s/?#]+(?=@)|(?<=https?:\/\/)[^\s/?#@:]+(?=@)/g

/** Encoded and decoded. */
const passwordsIn = (value: string): ReadonlyArray<string> =>
  (value.match(login) ?? []).flatMap((text) => [
    text,
    Result.getOrElse(
      Result.try(() => decodeURIComponent(text)),
      () => text
    )
  ])

const isSecretName = /TOKEN|SECRET|PASSWORD|PASSWD|PRIVATE_KEY|SSH_KEY|ACCESS_KEY|API_KEY|CREDENTIAL|CONNECTION_STRING/i

/** An environment to show: redacts the values of variables that are named like secrets, wherever they occur, and passwords in URLs. */
export const withoutSecrets = (environment: Environment): Environment => {
  const { redact } = redactorOf(environment)
  return Record.map(environment, (value, name) =>
    isSecretName.test(name) ? "[redacted]" : redact(value.replace(login, "[redacted]"))
  )
}

/** Redacts the secrets of an environment in other texts. */
export const redactorOf = (environment: Environment): Redactor.Redactor =>
  Redactor.make(secretsIn(environment, defaultRedactedVars))

/** The values that are `Redacted`. */
export const markedIn = (extra: Extra): ReadonlyArray<string> =>
  Object.values(extra).flatMap((value) => (Redacted.isRedacted(value) ? [Redacted.value(value)] : []))
