/** The settings that commands share: which stack and queue, which service, whose token. */

import * as RateLimit from "@stacksapi/core/RateLimit"
import * as RetryPolicy from "@stacksapi/core/RetryPolicy"
import type * as StacksClient from "@stacksapi/core/StacksClient"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Config from "effect/Config"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Redacted from "effect/Redacted"
import type * as Stdio from "effect/Stdio"
import * as NodeStacksClient from "../../NodeStacksClient.ts"
import { Failed, Misused } from "./failure.ts"
import * as InputFile from "./inputFile.ts"
import { version } from "./version.ts"

// -----------------------------------------------------------------------------
// Which stack
// -----------------------------------------------------------------------------

export const key = Flag.String("key").pipe(
  Flag.withAlias("k"),
  Flag.withDescription("The stack's key: 1 to 80 letters, digits, _ and - (else STACKSAPI_KEY)"),
  Flag.withFallbackConfig(Config.String("STACKSAPI_KEY"))
)

export const queue = Flag.String("queue").pipe(
  Flag.withAlias("q"),
  Flag.withDescription(`The cluster's queue (else STACKSAPI_QUEUE, else ${StacksSchema.DefaultQueue})`),
  Flag.withFallbackConfig(Config.String("STACKSAPI_QUEUE")),
  Flag.withDefault(StacksSchema.DefaultQueue)
)

export const tags = Flag.KeyValuePair("tag").pipe(
  Flag.withAlias("t"),
  Flag.withMetavar("KEY=VALUE"),
  Flag.withDescription("A tag of the stack's agents; may be repeated. Only jobs whose rules the tags meet are taken"),
  Flag.optional
)

/** A flag with a whole number. */
export const integer = (name: string, minimum: number, maximum: number): Flag.Flag<number> =>
  within(Flag.Int(name), minimum, maximum)

export const within = (flag: Flag.Flag<number>, minimum: number, maximum: number): Flag.Flag<number> =>
  Flag.filter(
    flag,
    (value) => value >= minimum && value <= maximum,
    () => `Expected a whole number from ${minimum} to ${maximum}`
  )

/**
 * A flag with a file or folder, which shells complete. Its value is as it was given, or without what leads to where we are; so
 * `-` stays what it is.
 */
export const path = (name: string, pathType: "directory" | "either"): Flag.Flag<string> =>
  Flag.Path(name, { pathType }).pipe(
    Flag.mapEffect((whole) =>
      Effect.map(Path.Path, (path) => {
        const relative = path.relative(path.resolve("."), whole)
        return relative === "" ? "." : relative.startsWith("..") ? whole : relative
      })
    )
  )

// -----------------------------------------------------------------------------
// Which service
// -----------------------------------------------------------------------------

/** Flags of whatever calls the service. */
export const connection = {
  endpoint: Flag.String("endpoint").pipe(
    Flag.withMetavar("URL"),
    Flag.withDescription("Where the API is (else BUILDKITE_AGENT_ENDPOINT, else Buildkite's own)"),
    Flag.optional
  ),
  proxy: Flag.Boolean("proxy").pipe(
    Flag.withDescription("Obey HTTP_PROXY, HTTPS_PROXY and NO_PROXY (default; --no-proxy does not)"),
    Flag.withDefault(true)
  ),
  tokenFile: path("token-file", "either").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      "A file with the cluster token, or - for standard input (else BUILDKITE_CLUSTER_TOKEN, else BUILDKITE_AGENT_TOKEN)"
    ),
    Flag.optional
  )
}

export interface Connection {
  readonly endpoint: Option.Option<string>
  readonly proxy: boolean
  readonly tokenFile: Option.Option<string>
}

/** A client of the service that the flags and the environment name, within its rate limits. */
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
    // Somebody waits for the answer.
    Layer.provideMerge(RetryPolicy.layer(RetryPolicy.maxAttempts(RetryPolicy.standard, 3)))
  )

export const endpoint = Effect.fnUntraced(function* ({ endpoint }: Pick<Connection, "endpoint">) {
  if (Option.isSome(endpoint)) return URL.canParse(endpoint.value) ? endpoint.value : yield* badFlag
  const url = yield* Config.option(Config.String("BUILDKITE_AGENT_ENDPOINT"))
  if (Option.isNone(url)) return undefined
  return URL.canParse(url.value) ? url.value : yield* badEndpoint
})

// What it is instead is not repeated: it may hold a password.
const badFlag = new Misused({ message: "--endpoint takes a URL such as https://agent.buildkite.com/v3/" })

const badEndpoint = new Failed({
  message: "BUILDKITE_AGENT_ENDPOINT is not a URL. Set it to one such as https://agent.buildkite.com/v3/, or unset it"
})

const missingToken = new Failed({
  message:
    "There is no token. Set BUILDKITE_CLUSTER_TOKEN, or give --token-file FILE. The token is on the cluster's page in " +
    "Buildkite, under Agent Tokens, and starts with bkct_."
})

const token = Effect.fnUntraced(function* ({ tokenFile }: Pick<Connection, "tokenFile">) {
  const text = Option.isSome(tokenFile) ? yield* readToken(tokenFile.value) : yield* tokenOfEnvironment
  if (text === "") return yield* Option.isSome(tokenFile) ? emptyFile(tokenFile.value) : missingToken
  return Redacted.make(text, { label: "cluster token" })
})

/** A secret of the environment, or of the file that is named there, as by `DATABASE_URL_FILE`; empty where there is neither. */
export const secret = Effect.fnUntraced(function* (variable: string) {
  const value = Option.getOrElse(yield* Config.option(Config.String(variable)), () => "").trim()
  const file = Option.getOrElse(yield* Config.option(Config.String(`${variable}_FILE`)), () => "")
  if (value !== "" || file === "") return value
  // Not to be shown as the name of a file that does not exist.
  if (/^bkct_|:\/\//.test(file)) {
    return yield* new Misused({ message: `${variable}_FILE takes the name of a file, not what belongs into it` })
  }
  const text = yield* Effect.mapError(
    InputFile.read(file, InputFile.secretBounds),
    ({ message }) => new Failed({ message: `Can't read ${variable}_FILE ${file}: ${message}` })
  )
  return text.trim()
})

const tokenOfEnvironment = Effect.map(
  Effect.all([secret("BUILDKITE_CLUSTER_TOKEN"), secret("BUILDKITE_AGENT_TOKEN")]),
  (tokens) => tokens.find((token) => token !== "") ?? ""
)

/** The token in a file, or in the standard input. */
export const readToken = Effect.fnUntraced(function* (file: string) {
  // Not to be shown as the name of a file that does not exist.
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
  new Failed({ message: `There is no token in ${file === "-" ? "the standard input" : file}.` })
