/** How commands reach the service that flags and environment name: its URL, the token, and a client. */
import * as RateLimit from "@stacksapi/core/RateLimit"
import * as RetryPolicy from "@stacksapi/core/RetryPolicy"
import type * as StacksClient from "@stacksapi/core/StacksClient"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Stdio from "effect/Stdio"
import * as NodeStacksClient from "../../NodeStacksClient.ts"
import { Failed, Misused } from "./failure.ts"
import * as InputFile from "./inputFile.ts"
import { type Connection, isHttpUrl } from "./settings.ts"
import { version } from "./version.ts"

/** A client for the service and token of the flags and the environment, with rate limits. */
export const layerClient = (
  flags: Connection
): Layer.Layer<StacksClient.StacksClient, Failed | Misused | Config.ConfigError, Stdio.Stdio> =>
  Layer.unwrap(
    Effect.map(Effect.all([token(flags), endpoint(flags)]), ([token, baseUrl]) =>
      NodeStacksClient.layer({
        token,
        baseUrl,
        userAgentPrefix: `stacksapi-cli/${version}`,
        proxy: flags.proxy ? undefined : false
      })
    )
  ).pipe(
    Layer.provideMerge(RateLimit.layerMemory),
    // A person waits for the result.
    Layer.provideMerge(RetryPolicy.layer(RetryPolicy.maxAttempts(RetryPolicy.standard, 3)))
  )

/** The URL of the API; undefined for Buildkite's. */
export const endpoint = Effect.fnUntraced(function* ({ endpoint }: Pick<Connection, "endpoint">) {
  if (Option.isSome(endpoint)) return isHttpUrl(endpoint.value) ? withVersion(endpoint.value) : yield* badFlag
  const url = yield* Config.option(Config.String("BUILDKITE_AGENT_ENDPOINT"))
  if (Option.isNone(url)) return undefined
  return isHttpUrl(url.value) ? withVersion(url.value) : yield* badEndpoint
})

/** Adds the path of the API to a URL that has none, such as the URL of the emulator's page. */
const withVersion = (endpoint: string): string => {
  const url = new URL(endpoint)
  return url.pathname === "/" && url.search === "" ? new URL("/v3/", url).href : endpoint
}

// The messages don't repeat the value, which may hold a password.
const badFlag = new Misused({ message: "--endpoint takes a URL such as https://agent.buildkite.com/v3/" })

const badEndpoint = new Failed({
  message: "BUILDKITE_AGENT_ENDPOINT is not a URL. Set it to one such as https://agent.buildkite.com/v3/, or unset it"
})

const missingToken = new Failed({
  message:
    "There is no token. Set BUILDKITE_CLUSTER_TOKEN, or give --token-file FILE. The token is on the cluster's page in " +
    "Buildkite, under Agent Tokens, and starts with bkct_."
})

export const token = Effect.fnUntraced(function* ({ tokenFile }: Pick<Connection, "tokenFile">) {
  const text = Option.isSome(tokenFile) ? yield* readToken(tokenFile.value) : yield* tokenOfEnvironment
  if (text === "") return yield* Option.isSome(tokenFile) ? emptyFile(tokenFile.value) : missingToken
  return Redacted.make(text, { label: "cluster token" })
})

/** A secret from a variable, or from the file that another variable names, such as `DATABASE_URL_FILE`. Empty if neither is set. */
export const secret = Effect.fnUntraced(function* (variable: string) {
  const value = Option.getOrElse(yield* Config.option(Config.String(variable)), () => "").trim()
  const file = Option.getOrElse(yield* Config.option(Config.String(`${variable}_FILE`)), () => "")
  if (value !== "" || file === "") return value
  // An error about a missing file would show the secret.
  if (/^bkct_|:\/\//.test(file)) {
    return yield* new Misused({ message: `${variable}_FILE takes the name of a file, not its content` })
  }
  const text = yield* Effect.mapError(
    InputFile.read(file, InputFile.secretBounds),
    ({ message }) => new Failed({ message: `Can't read ${nameOf(variable, file)}: ${message}` })
  )
  if (text.trim() === "")
    return yield* new Failed({ message: `There is nothing in ${nameOf(variable, file)}: the file is empty` })
  return text.trim()
})

/** The file of a secret. That of the token may be a setting of the configuration file. */
const nameOf = (variable: string, file: string): string =>
  variable === "BUILDKITE_CLUSTER_TOKEN"
    ? `the token file ${file} (token-file or BUILDKITE_CLUSTER_TOKEN_FILE)`
    : `${variable}_FILE ${file}`

const tokenOfEnvironment = Effect.map(
  Effect.all([secret("BUILDKITE_CLUSTER_TOKEN"), secret("BUILDKITE_AGENT_TOKEN")]),
  (tokens) => tokens.find((token) => token !== "") ?? ""
)

/** Reads the token from a file, or from the standard input. */
export const readToken = Effect.fnUntraced(function* (file: string) {
  // An error about a missing file would show the secret.
  if (file.startsWith("bkct_")) {
    return yield* new Misused({ message: "--token-file takes the name of a file, not the token itself" })
  }
  const name = file === "-" ? "the standard input" : `--token-file ${file}`
  const reading =
    file === "-" ? InputFile.readStdin(InputFile.secretBounds) : InputFile.read(file, InputFile.secretBounds)
  const text = yield* Effect.mapError(
    reading,
    ({ message }) => new Failed({ message: `Can't read ${name}: ${message}` })
  )
  return text.trim()
})

const emptyFile = (file: string) =>
  new Failed({
    message: `There is no token in ${file === "-" ? "the standard input: it" : `${file}: the file`} is empty`
  })
