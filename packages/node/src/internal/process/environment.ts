/** The environment of jobs' processes: what programs need of this process's environment, and nothing secret. */
import * as Predicate from "effect/Predicate"
import * as Record from "effect/Record"
import * as Redacted from "effect/Redacted"

export type Environment = Readonly<Record<string, string>>

/** Variables that an option adds. */
export type Extra = Readonly<Record<string, string | Redacted.Redacted>>

/** The inherited variables: paths of tools, settings and certificates, and proxies. */
const inherited: ReadonlyArray<string> = [
  "PATH",
  "HOME",
  "USER",
  "LOGNAME",
  "SHELL",
  "LANG",
  "LC_ALL",
  "LC_CTYPE",
  "TZ",
  "TMPDIR",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "NODE_EXTRA_CA_CERTS",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "ALL_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "all_proxy",
  "no_proxy"
]

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/** The tokens of a stack or an agent, which no job gets, even if an option adds them. */
export const forbidden: ReadonlyArray<string> = [
  "BUILDKITE_CLUSTER_TOKEN",
  "BUILDKITE_AGENT_TOKEN",
  "BUILDKITE_AGENT_ACCESS_TOKEN"
]

/** The inherited variables, and those that an option adds. */
export const minimal = (extra: Extra = {}): Environment => {
  // biome-ignore lint/style/noProcessEnv: what children inherit is a fact of this process, not a setting of ours.
  const own = process.env
  const environment: Record<string, string> = { PATH: defaultPath }
  for (const name of inherited) {
    const value = own[name]
    if (value !== undefined) environment[name] = value
  }
  return { ...environment, ...withoutTokens(plain(extra)) }
}

/** This process's variables without the tokens: for programs that the stack's own user has configured. */
export const inheritedWithoutTokens = (): Environment => {
  // biome-ignore lint/style/noProcessEnv: what children inherit is a fact of this process, not a setting of ours.
  const own = process.env
  return withoutTokens(Record.filter(own, Predicate.isString))
}

/** Variables without the tokens that no job gets. */
export const withoutTokens = (environment: Environment): Environment =>
  Record.filter(environment, (_, name) => !forbidden.includes(name))

const plain = (extra: Extra): Environment =>
  Record.map(extra, (value) => (Redacted.isRedacted(value) ? Redacted.value(value) : value))
