/**
 * Agents in containers: one container for each job, on one or several Docker Engines.
 *
 * **When to use**
 *
 * Use it if jobs need isolation, their own image or limits, or if a restart of the stack must not end them. It is an `AgentProvider`: `AgentProvider.layerRunner` of `@stacksapi/core` makes a `JobRunner` of it.
 *
 * **Details**
 *
 * The image has a `buildkite-agent`, as Buildkite's own images do: the container gets the argument `start`. The agent acquires its
 * job, runs it in the container, and ends. Then the container is deleted, with its anonymous volumes.
 *
 * - **Token.** The acquisition token is no variable and no label. It is written into the container before it starts, into the agent's
 *   configuration file `/run/stacksapi/agent.cfg`, which only the container's user can read. `docker inspect` does not show it. The
 *   settings of the image's own configuration file stay.
 * - **Defaults.** An init process, no capabilities, no new privileges, at most 4096 processes, no volumes, and no access to the Engine.
 * - **Limits.** The amounts `cpus` and `memory` (bytes) of the stack's `requests` limit the container.
 * - **Output.** It is provided as `JobOutput`, read from the Engine. The Engine keeps at most 20 MB of each container.
 * - **Restarts.** Containers continue when the stack ends, however it ends. They also continue while the Engine is restarted, if it has
 *   `live-restore`.
 * - **Several Engines.** A new agent goes to the Engine that has the fewest. While an Engine does not answer, its agents count as they
 *   were last seen, and the others take the new ones. An Engine that has not answered since the start of the process may have agents
 *   that nobody knows: the stack then reserves nothing until it answers.
 *
 * **Gotchas**
 *
 * Any process that can use the Engine controls its machine, the stack included. The Engine needs API version 1.40 (Docker 19.03) or later,
 * and runs Linux containers.
 *
 * **Example** (A stack with a container for each job)
 *
 * ```ts
 * import { AgentProvider, Stack } from "@stacksapi/core"
 * import { FileJobStore, NodeStacksClient } from "@stacksapi/node"
 * import * as DockerProvider from "@stacksapi/node/DockerProvider"
 * import { Effect, Layer } from "effect"
 *
 * const GiB = 1024 ** 3
 *
 * export const program = Stack.run({
 *   key: "my-stack",
 *   queueKey: "_default",
 *   maxInFlight: 8,
 *   capacity: { cpus: 8, memory: 32 * GiB },
 *   requests: () => ({ cpus: 1, memory: 4 * GiB })
 * }).pipe(
 *   Effect.provide([
 *     AgentProvider.layerRunner().pipe(Layer.provide(DockerProvider.layer({ image: "buildkite/agent:3" }))),
 *     FileJobStore.layer({ path: "/var/lib/my-stack/jobs" }),
 *     NodeStacksClient.layerConfig
 *   ])
 * )
 * ```
 *
 * @since 0.2.0
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { AgentProvider, type AgentRequest, type ProviderError } from "@stacksapi/core/AgentProvider"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Endpoint from "./internal/docker/endpoint.ts"
import * as Engine from "./internal/docker/engine.ts"
import { unavailable } from "./internal/docker/failures.ts"
import * as Provider from "./internal/docker/provider.ts"
import * as Check from "./internal/options.ts"
import * as JobOutputs from "./internal/process/jobOutputs.ts"
import * as JobOutput from "./JobOutput.ts"

/**
 * Docker's settings can't be used: an address of an Engine, a certificate, or a file of Docker's configuration.
 *
 * @since 0.2.0
 * @category errors
 */
export class DockerUnusable extends Data.TaggedError("DockerUnusable")<{
  /** What is wrong, and where. */
  readonly message: string
}> {}

/**
 * The container of an agent. It needs an image.
 *
 * @since 0.2.0
 * @category models
 */
export interface Container {
  /** The image, such as `buildkite/agent:3` or one of yours that is made of it. */
  readonly image?: string | undefined
  /** The arguments of the image's entrypoint. Default `["start"]`. */
  readonly command?: ReadonlyArray<string> | undefined
  /** The program that runs. Default: the image's. */
  readonly entrypoint?: ReadonlyArray<string> | undefined
  /** More variables for the agent, which its job gets too. `docker inspect` shows them: they must not be secrets. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** The user, by name or number. Default: the image's. */
  readonly user?: string | undefined
  /** How many CPUs it may use; fractions are allowed. The amount `cpus` of the stack's `requests` takes precedence. Default: all. */
  readonly cpus?: number | undefined
  /** How many bytes of memory it may use, without swap. The amount `memory` of `requests` takes precedence. Default: all. */
  readonly memory?: number | undefined
  /** How many processes and threads it may have. Default 4096. */
  readonly pids?: number | undefined
  /** The networks that it joins, or the one text `host` or `none`. Default: the Engine's default network. */
  readonly networks?: ReadonlyArray<string> | undefined
  /** Volumes and folders of the Engine's machine, such as `cache:/cache` or `/srv/tools:/tools:ro`. Default none. */
  readonly volumes?: ReadonlyArray<string> | undefined
  /** More names of hosts, such as `host.docker.internal:host-gateway`. */
  readonly extraHosts?: ReadonlyArray<string> | undefined
  /** Capabilities that it keeps, such as `CHOWN`. Default none. */
  readonly capabilities?: ReadonlyArray<string> | undefined
  /**
   * Anything else of the Engine's `HostConfig`, over what is set here, for example `Devices` or `Ulimits`. It can override every safe
   * default.
   */
  readonly hostConfig?: Readonly<Record<string, unknown>> | undefined
}

/**
 * When an image is pulled: if the Engine lacks it, before each container, or never.
 *
 * @since 0.2.0
 * @category models
 */
export type PullPolicy = "missing" | "always" | "never"

/**
 * A Docker Engine.
 *
 * @since 0.2.0
 * @category models
 */
export interface Host {
  /** Its address: `unix:///path`, `tcp://host:port` or `https://host:port`. */
  readonly host: string
  /** A folder with `ca.pem`, `cert.pem` and `key.pem`, for TLS. Default: no TLS, except for `https:`. */
  readonly certPath?: string | undefined
  /** Whether to accept any certificate of the Engine. Default false. */
  readonly skipVerify?: boolean | undefined
}

/**
 * The options of {@link layer}: of all containers, of single ones, and of the Engines. Either `image` or `containerOf` is needed.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options extends Container, JobOutput.Options {
  /**
   * The options in which a job's container differs, for example an image that depends on an agent query rule. A failure with the reason
   * `Refused` fails the job.
   */
  readonly containerOf?: ((request: AgentRequest) => Container | Effect.Effect<Container, ProviderError>) | undefined
  /**
   * The Engines. Default: one, which is found as the program `docker` does: `DOCKER_HOST` with `DOCKER_TLS_VERIFY` and
   * `DOCKER_CERT_PATH`, else the context of `DOCKER_CONTEXT` or of Docker's configuration, else `unix:///var/run/docker.sock`. A text
   * stands for its address.
   */
  readonly hosts?: ReadonlyArray<string | Host> | undefined
  /** When images are pulled, with the credentials of Docker's configuration. Default `missing`. */
  readonly pull?: PullPolicy | undefined
}

/**
 * Agents in containers, and their output.
 *
 * **Details**
 *
 * The layer reads Docker's settings, and fails if they can't be used. It does not wait for the Engines: one that does not answer is logged
 * as a warning, and used as soon as it does.
 *
 * | what happens | `ProviderError` |
 * |---|---|
 * | an Engine does not answer, or fails | `Unavailable` |
 * | its disk is full, or it has no memory left for another container | `NoCapacity` |
 * | a registry does not answer | `NoCapacity`: only the jobs with this image wait |
 * | the registry lacks the image, or denies it | `Refused` |
 * | the container can't start: no such program, volume or network, or a wrong option | `Refused` |
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<AgentProvider | JobOutput.JobOutput, DockerUnusable | InvalidOptions | Config.ConfigError> =>
  Layer.effectContext(make(options)).pipe(Layer.provide(NodeServices.layer))

const make = Effect.fnUntraced(function* (options: Options) {
  yield* checkOptions(options)
  const endpoints = yield* Effect.catchTag(Endpoint.find(options.hosts), "ConfigProblem", ({ message }) =>
    Effect.fail(new DockerUnusable({ message }))
  )
  const engines = yield* Effect.forEach(endpoints, Engine.make)
  const outputs = yield* JobOutputs.make(options, {})
  const provider = yield* Provider.make(engines, options, outputs)
  yield* Effect.forEach(
    engines,
    ({ ping }) => Effect.catchTag(ping, "EngineError", (error) => Effect.logWarning(unavailable(error).message)),
    { concurrency: "unbounded", discard: true }
  ).pipe(Effect.forkScoped)
  return Context.make(AgentProvider, provider).pipe(
    Context.add(JobOutput.JobOutput, { lines: outputs.lines, tail: outputs.tail })
  )
})

const checkOptions = Effect.fnUntraced(function* (options: Options) {
  const { cpus, image, memory } = options
  if (image === undefined && options.containerOf === undefined) {
    return yield* Check.invalid("image", "must name an image, if there is no containerOf")
  }
  yield* Check.text("image", image, "the name of an image")
  yield* Check.text("user", options.user, "the name or number of a user")
  yield* Check.environment("env", options.env)
  if (cpus !== undefined && !(cpus > 0 && Number.isFinite(cpus))) {
    return yield* Check.invalid("cpus", `must be a number above 0, not ${cpus}`)
  }
  yield* Check.integer("memory", memory, 6 * 1024 ** 2)
  yield* Check.integer("pids", options.pids, 1)
  yield* Check.oneOf("pull", options.pull, ["missing", "always", "never"])
  yield* Check.jobOutput(options)
})
