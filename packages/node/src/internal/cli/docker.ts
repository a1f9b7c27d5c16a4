/** `--runner docker`, and `stacksapi agents`. It is imported only then. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as AgentProvider from "@stacksapi/core/AgentProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as DockerProvider from "../../DockerProvider.ts"
import { hostOf, isLoopback } from "../client/proxy.ts"
import * as ImageCheck from "../docker/imageCheck.ts"
import * as Access from "./access.ts"
import { bytesOf, type EngineInput } from "./dockerFlags.ts"
import { Failed, Misused } from "./failure.ts"
import { agentTags, type RunInput } from "./runFlags.ts"

/** Agents in containers, by the flags. */
export const layerRunner = Effect.fnUntraced(function* (input: RunInput) {
  if (Option.isNone(input.image)) {
    return yield* new Misused({ message: "Containers need an image with a buildkite-agent: set --image IMAGE" })
  }
  const image = input.image.value
  const hosts = Option.getOrUndefined(input.dockerHosts)
  const endpoint = yield* Access.endpoint(input)
  const provider = DockerProvider.layer({
    image,
    hosts,
    pull: input.pull,
    cpus: Option.getOrUndefined(input.cpus),
    memory: Option.getOrUndefined(Option.map(input.memory, bytesOf)),
    networks: Option.getOrUndefined(input.networks),
    volumes: Option.getOrUndefined(input.volumes),
    extraHosts: Option.getOrUndefined(input.addHosts),
    capabilities: Option.getOrUndefined(input.capabilities),
    user: Option.getOrUndefined(input.containerUser),
    env: {
      ...Option.getOrElse(input.containerEnv, () => ({})),
      ...(input.reflectExitStatus && { BUILDKITE_AGENT_REFLECT_EXIT_STATUS: "true" })
    },
    logDirectory: Option.getOrUndefined(input.logDirectory)
  })
  const checks = checkReach(
    endpoint,
    Option.getOrElse(input.networks, () => [])
  ).pipe(Effect.andThen(checkImage({ image, hosts, pull: input.pull })))
  return AgentProvider.layerRunner({ endpoint, tags: agentTags(input) }).pipe(
    Layer.provideMerge(Layer.provideMerge(Layer.effectDiscard(checks), provider))
  )
})

const checkImage = (options: ImageCheck.Options) =>
  ImageCheck.check(options).pipe(
    Effect.provide(NodeServices.layer),
    Effect.catchTags({
      ProviderError: ({ message }) =>
        new Failed({ message: `${message}. Check --image, and the login at its registry` }),
      ConfigProblem: ({ message }) => new Failed({ message })
    })
  )

/** Warns about an address that means each container itself, such as the emulator's. */
const checkReach = (endpoint: string | undefined, networks: ReadonlyArray<string>) =>
  endpoint !== undefined && isLoopback(hostOf(new URL(endpoint))) && !networks.includes("host")
    ? Effect.logWarning(
        `Agents in containers can't reach ${new URL(endpoint).origin}, which is an address of this machine alone. ` +
          "Add --network host, or use an address that containers reach"
      )
    : Effect.void

/** The agents of stacks, for commands that look at them. They create none. */
export const layerAgents = ({ dockerHosts }: EngineInput) =>
  DockerProvider.layer({
    containerOf: () =>
      new AgentProvider.ProviderError({ reason: "Refused", message: "This command creates no agents" }),
    hosts: Option.getOrUndefined(dockerHosts)
  })
