/** The bodies of requests, for the page. The emulator's log hides the values in responses itself. */
import * as Predicate from "effect/Predicate"
import * as Secrets from "../process/secrets.ts"

/** A body without the values of variables that are named like secrets, wherever it has the environment of a job. */
export const shown = (body: unknown): unknown => {
  if (Array.isArray(body)) return body.map(shown)
  if (!Predicate.isObject(body)) return body
  const { env } = body as { readonly env?: unknown }
  if (!isEnvironment(env)) return Object.fromEntries(Object.entries(body).map(([name, part]) => [name, shown(part)]))
  const { redact } = Secrets.redactorOf(env)
  const rest = Object.entries(body).map(([name, part]) => [name, Predicate.isString(part) ? redact(part) : shown(part)])
  return { ...Object.fromEntries(rest), env: Secrets.withoutSecrets(env) }
}

const isEnvironment = (value: unknown): value is Readonly<Record<string, string>> =>
  Predicate.isObject(value) && Object.values(value).every(Predicate.isString)
