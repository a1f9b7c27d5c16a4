/** Credentials for registries, from Docker's own configuration: stored in it, or by the helper that it names. */
import { Buffer } from "node:buffer"
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ChildProcess from "effect/process/ChildProcess"
import { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Environment from "../process/environment.ts"
import { ConfigProblem, type DockerConfig } from "./dockerConfig.ts"

interface Credentials {
  readonly username?: string
  readonly password?: string
  readonly identitytoken?: string
  readonly serveraddress: string
}

/** The value of the header `X-Registry-Auth` for a registry; undefined if the configuration has no credentials for it. */
export const headerFor = Effect.fnUntraced(function* (config: DockerConfig, registry: string) {
  const credentials = yield* find(config, registry)
  return credentials === undefined
    ? undefined
    : Redacted.make(base64url(JSON.stringify(credentials)), { label: "registry credentials" })
})

/** Go's `URLEncoding`, which the Engine reads, has the padding that Node's `base64url` lacks. */
const base64url = (text: string): string =>
  Buffer.from(text).toString("base64").replaceAll("+", "-").replaceAll("/", "_")

/** In the order of Docker: the helper of this registry, the store of all, then the file itself. */
const find = Effect.fnUntraced(function* (config: DockerConfig, registry: string) {
  const helper = config.credHelpers?.[registry] ?? config.credsStore
  if (helper !== undefined && helper !== "") return yield* ask(helper, registry)
  return storedIn(config, registry)
})

/** The configuration may name a registry by its host, or by a URL. */
const hostOf = (address: string): string => address.replace(/^https?:\/\//, "").split("/", 1)[0] ?? address

const storedIn = ({ auths = {} }: DockerConfig, registry: string): Credentials | undefined => {
  const stored = auths[registry] ?? Object.entries(auths).find(([address]) => hostOf(address) === hostOf(registry))?.[1]
  if (stored === undefined) return undefined
  const { auth, identitytoken, password, username } = stored
  if (identitytoken !== undefined && identitytoken !== "") return { identitytoken, serveraddress: registry }
  if (auth === undefined || auth === "") {
    return username === undefined || password === undefined
      ? undefined
      : { username, password, serveraddress: registry }
  }
  const text = Buffer.from(auth, "base64").toString("utf8")
  const colon = text.indexOf(":")
  return colon < 0
    ? undefined
    : { username: text.slice(0, colon), password: text.slice(colon + 1), serveraddress: registry }
}

const Answer = Schema.fromJsonString(Schema.Struct({ Username: Schema.String, Secret: Schema.String }))

/** What a helper says if it has nothing. */
const nothingFound = /credentials not found/i

const maxAnswer = ByteSize.kibibytes(64)

/** Runs `docker-credential-<helper> get`, which reads the registry, and prints JSON. */
const ask = Effect.fnUntraced(function* (helper: string, registry: string) {
  const program = `docker-credential-${helper}`
  const failed = (why: string) =>
    new ConfigProblem({ message: `Can't get the credentials of ${registry}: ${program} ${why}` })
  if (!/^[\w.-]+$/.test(helper)) return yield* failed("is not a valid name of a helper")
  const { output, status } = yield* Effect.gen(function* () {
    const { spawn } = yield* ChildProcessSpawner
    const handle = yield* spawn(
      ChildProcess.make(program, ["get"], {
        // Helpers of clouds and desktops find their settings in variables, as with the program `docker`.
        env: Environment.inheritedWithoutTokens(),
        extendEnv: false,
        stdin: Stream.make(new TextEncoder().encode(registry)),
        stderr: "ignore",
        forceKillAfter: "1 second"
      })
    )
    const output = yield* Stream.mkString(
      Stream.decodeText(Stream.limitBytes(handle.stdout, maxAnswer, () => Stream.empty))
    )
    return { output, status: yield* handle.exitCode }
  }).pipe(
    Effect.scoped,
    Effect.timeoutOption("30 seconds"),
    Effect.mapError(({ reason }) => failed(`can't be run (${reason._tag})`)),
    Effect.flatMap(
      Option.match({
        onNone: () => Effect.fail(failed("does not end")),
        onSome: (answer) => Effect.succeed(answer)
      })
    )
  )
  if (status !== 0) return nothingFound.test(output) ? undefined : yield* failed(`ended with exit status ${status}`)
  const answer = Schema.decodeUnknownOption(Answer)(output)
  if (Option.isNone(answer)) return yield* failed("does not print what a helper prints")
  const { Secret, Username } = answer.value
  const credentials: Credentials =
    Username === "<token>"
      ? { identitytoken: Secret, serveraddress: registry }
      : { username: Username, password: Secret, serveraddress: registry }
  return credentials
})
