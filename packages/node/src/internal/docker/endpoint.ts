/** Where an Engine is: by an option, by `DOCKER_HOST`, or by the current context of Docker's configuration. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as Predicate from "effect/Predicate"
import * as DockerConfig from "./dockerConfig.ts"

/** Certificates for TLS. */
interface Tls {
  readonly ca: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly rejectUnauthorized: boolean
}

export interface Endpoint {
  /** As people write it: `unix:///var/run/docker.sock`, `tcp://builder:2376`. */
  readonly host: string
  /** What requests begin with. */
  readonly baseUrl: string
  readonly socketPath: string | undefined
  readonly tls: Tls | undefined
}

/** An Engine that an option names. */
export interface Host {
  readonly host: string
  readonly certPath?: string | undefined
  readonly skipVerify?: boolean | undefined
}

const defaultHost = "unix:///var/run/docker.sock"

const forms = "use unix:///path, tcp://host:port, or https://host:port"

/** The endpoint of a host. `certPath`: the folder of its certificates; without it there is no TLS, except for `https://`. */
const endpointOf = Effect.fnUntraced(function* ({ certPath, host, skipVerify = false }: Host) {
  const unusable = (why: string) =>
    new DockerConfig.ConfigProblem({
      message: `The Docker host "${host.replace(/\/\/[^/]*@/, "//")}" can't be used: ${why}`
    })
  const [, scheme = "", rest = ""] = /^([a-z]+):\/\/(.+)$/.exec(host) ?? []
  if (scheme === "unix") {
    const endpoint: Endpoint = { host, baseUrl: "http://docker", socketPath: rest, tls: undefined }
    return endpoint
  }
  if (!["tcp", "http", "https"].includes(scheme)) {
    return yield* unusable(forms)
  }
  // It would be shown with each message about the Engine.
  if (rest.includes("@")) return yield* unusable(`an Engine takes no user name and no password; ${forms}`)
  const isSecure = scheme === "https" || certPath !== undefined
  const baseUrl = `${isSecure ? "https" : "http"}://${rest.replace(/\/+$/, "")}`
  if (!URL.canParse(baseUrl)) {
    return yield* unusable(forms)
  }
  const tls = isSecure ? yield* readTls(certPath, skipVerify) : undefined
  const endpoint: Endpoint = { host, baseUrl, socketPath: undefined, tls }
  return endpoint
})

const readTls = Effect.fnUntraced(function* (certPath: string | undefined, skipVerify: boolean) {
  const fileSystem = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const read = (name: string) =>
    certPath === undefined
      ? Effect.undefined
      : fileSystem.readFileString(path.join(certPath, name)).pipe(
          Effect.catchReason("PlatformError", "NotFound", () => Effect.undefined),
          Effect.mapError(
            (error) =>
              new DockerConfig.ConfigProblem({
                message: `Can't read the certificate ${path.join(certPath, name)}: ${error.reason._tag}`
              })
          )
        )
  const [ca, cert, key] = yield* Effect.all([read("ca.pem"), read("cert.pem"), read("key.pem")])
  if (certPath !== undefined && [ca, cert, key].every(Predicate.isUndefined)) {
    return yield* new DockerConfig.ConfigProblem({
      message: `${certPath} has no ca.pem, cert.pem and key.pem: set DOCKER_CERT_PATH to the folder with these certificates`
    })
  }
  const tls: Tls = { ca, cert, key, rejectUnauthorized: !skipVerify }
  return tls
})

/** The certificates of `DOCKER_TLS_VERIFY`; undefined if it is not set. */
const configuredCertPath = Effect.gen(function* () {
  const { certPath, tlsVerify } = yield* DockerConfig.variables
  if (tlsVerify === "") return undefined
  return certPath === "" ? yield* DockerConfig.folder : certPath
})

/** The endpoint that the program `docker` uses. */
const configured = Effect.gen(function* () {
  const { context, host } = yield* DockerConfig.variables
  if (host !== "") return yield* endpointOf({ host, certPath: yield* configuredCertPath })
  const name = context !== "" ? context : ((yield* DockerConfig.read).currentContext ?? "default")
  if (name === "default" || name === "") return yield* endpointOf({ host: defaultHost })
  return yield* endpointOf(yield* DockerConfig.readContext(name))
})

/** The endpoints of these hosts, or the one that the environment and Docker's configuration name. */
export const find = Effect.fnUntraced(function* (hosts: ReadonlyArray<string | Host> | undefined) {
  if (hosts === undefined || hosts.length === 0) return [yield* configured]
  return yield* Effect.forEach(hosts, (host) =>
    typeof host === "string"
      ? Effect.flatMap(configuredCertPath, (certPath) => endpointOf({ host, certPath }))
      : endpointOf(host)
  )
})
