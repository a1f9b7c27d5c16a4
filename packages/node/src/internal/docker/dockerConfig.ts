/** Docker's own configuration: `config.json`, and the contexts beside it. */
import { createHash } from "node:crypto"
import { homedir } from "node:os"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"

const Auth = Schema.Struct({
  auth: Schema.optional(Schema.String),
  username: Schema.optional(Schema.String),
  password: Schema.optional(Schema.String),
  identitytoken: Schema.optional(Schema.String)
})

const texts = Schema.Record(Schema.String, Schema.String)

const DockerConfig = Schema.Struct({
  auths: Schema.optional(Schema.Record(Schema.String, Auth)),
  credHelpers: Schema.optional(texts),
  credsStore: Schema.optional(Schema.String),
  currentContext: Schema.optional(Schema.String)
})

export type DockerConfig = typeof DockerConfig.Type

const ContextMeta = Schema.Struct({
  Endpoints: Schema.Struct({
    docker: Schema.Struct({ Host: Schema.String, SkipTLSVerify: Schema.optional(Schema.Boolean) })
  })
})

interface DockerContext {
  readonly host: string
  readonly skipVerify: boolean
  /** The folder of its certificates, if it has some. */
  readonly certPath: string | undefined
}

const variable = (name: string) =>
  Effect.map(Config.option(Config.String(name)), (value) => Option.getOrElse(value, () => "").trim())

/** The values of Docker's variables; empty if they are not set. */
export const variables = Effect.all({
  host: variable("DOCKER_HOST"),
  certPath: variable("DOCKER_CERT_PATH"),
  tlsVerify: variable("DOCKER_TLS_VERIFY"),
  context: variable("DOCKER_CONTEXT"),
  config: variable("DOCKER_CONFIG"),
  home: variable("HOME")
})

/** The folder of Docker's configuration. */
export const folder = Effect.gen(function* () {
  const path = yield* Path.Path
  const { config, home } = yield* variables
  return config === "" ? path.join(home === "" ? homedir() : home, ".docker") : config
})

/** Why Docker's settings can't be used. It shows nothing of their content, which may hold passwords. */
export class ConfigProblem extends Schema.TaggedError<ConfigProblem>()("ConfigProblem", { message: Schema.String }) {}

const readJson = Effect.fnUntraced(function* <A>(schema: Schema.Codec<A, unknown>, file: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const text = yield* fileSystem.readFileString(file).pipe(
    Effect.catchReason("PlatformError", "NotFound", () => Effect.succeed(undefined)),
    Effect.mapError((error) => new ConfigProblem({ message: `Can't read Docker's file ${file}: ${error.reason._tag}` }))
  )
  if (text === undefined || text.trim() === "") return undefined
  return yield* Effect.mapError(
    Schema.decodeUnknownEffect(Schema.fromJsonString(schema))(text),
    () => new ConfigProblem({ message: `Docker's file ${file} is not as Docker writes it` })
  )
})

/** Reads `config.json`. It is empty if there is none. */
export const read = Effect.gen(function* () {
  const path = yield* Path.Path
  const config: DockerConfig = (yield* readJson(DockerConfig, path.join(yield* folder, "config.json"))) ?? {}
  return config
})

/** The endpoint of a context. */
export const readContext = Effect.fnUntraced(function* (name: string) {
  const path = yield* Path.Path
  const fileSystem = yield* FileSystem.FileSystem
  const contexts = path.join(yield* folder, "contexts")
  const id = createHash("sha256").update(name).digest("hex")
  const meta = yield* readJson(ContextMeta, path.join(contexts, "meta", id, "meta.json"))
  if (meta === undefined) return yield* new ConfigProblem({ message: `Docker's context ${name} does not exist` })
  const { Host, SkipTLSVerify = false } = meta.Endpoints.docker
  const certPath = path.join(contexts, "tls", id, "docker")
  const hasCertificates = yield* Effect.orElseSucceed(fileSystem.exists(certPath), () => false)
  const context: DockerContext = {
    host: Host,
    skipVerify: SkipTLSVerify,
    certPath: hasCertificates ? certPath : undefined
  }
  return context
})
