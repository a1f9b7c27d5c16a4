/**
 * Secrets that can be told from anything else, and a look for them wherever something is shown. What is planted says where it
 * was: whoever finds it in a log knows what leaked.
 */
import { inspect } from "node:util"
import { assert } from "@effect/vitest"
import { Cause, Exit, Predicate } from "effect"
import type { Recording } from "./recording.ts"

/** A cluster token, which the emulator takes for its own where it is told to. */
export const clusterToken = "bkct_PLANTED_cluster_token_0000000"

/** What a job's environment, or this process's, may hold; and where in it a secret stands. */
export const jobEnvironment = {
  DEPLOY_TOKEN: "PLANTED_job_token",
  DB_PASSWORD: "PLANTED_job_password",
  DATABASE_URL: "postgres://app:PLANTED_job_database@db.test/app",
  AGENT_ACCESS_TOKEN: "bkaat_PLANTED_agent_access_token_0000",
  HARMLESS: "shown-as-it-is"
}

export const ownEnvironment = {
  BUILDKITE_CLUSTER_TOKEN: clusterToken,
  BUILDKITE_AGENT_TOKEN: "bkct_PLANTED_agent_token_00000000",
  REDIS_URL: "redis://:PLANTED_redis@127.0.0.1:1",
  DATABASE_URL: "postgres://app:PLANTED_database@127.0.0.1:1/app",
  HTTPS_PROXY: "http://proxy-user:PLANTED%21proxy@127.0.0.1:9",
  https_proxy: "http://PLANTED_proxy_key@127.0.0.1:9"
}

/** What was planted, and the tokens that the emulator makes up: of jobs and of agents. */
const secret = /PLANTED\S*|bk(?:ct|jat|aat|ua)_(?!emulator)\w{6,}/g

/** That nothing shown holds a secret. `what` is for whoever reads the failure. */
export const assertNone = (what: string, shown: string | ReadonlyArray<string>): void => {
  const texts = typeof shown === "string" ? [shown] : shown
  const found = texts.flatMap((text) =>
    Array.from(text.matchAll(secret), ({ index }) => text.slice(Math.max(0, index - 80), index + 60))
  )
  assert.deepStrictEqual(found, [], `secrets in ${what}`)
}

const attempt = (render: () => string | undefined): string => {
  try {
    return render() ?? ""
  } catch (cause) {
    return String(cause)
  }
}

/** Every way in which a value can be made visible, and what is a click away from it. */
export const renderings = (value: unknown): ReadonlyArray<string> => [
  attempt(() => String(value)),
  attempt(() => JSON.stringify(value)),
  attempt(() => inspect(value, { depth: 10 })),
  ...(Exit.isExit(value) && Exit.isFailure(value) ? renderings(value.cause) : []),
  ...(Cause.isCause(value) ? [Cause.pretty(value), ...renderings(Cause.squash(value))] : []),
  ...(Predicate.isError(value)
    ? [value.message, value.stack ?? "", attempt(() => inspect(value, { depth: 10, showHidden: true, getters: true }))]
    : [])
]

/** What a program showed of itself: its log lines in every format, and its spans with all that is on them. */
export const recorded = ({ logs, output, spans }: Recording): ReadonlyArray<string> => [
  output(),
  ...renderings(logs),
  ...spans.flatMap(({ attributes, events, links, name, status }) => [
    name,
    ...renderings([...attributes]),
    ...renderings(events),
    ...renderings(links.map(({ attributes }) => attributes)),
    // What one succeeds with is no part of it.
    ...(status._tag === "Ended" && Exit.isFailure(status.exit) ? renderings(status.exit) : [])
  ])
]
