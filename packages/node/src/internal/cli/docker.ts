/** `--runner docker`, and `stacksapi agents`. It is imported only then. */
import * as AgentProvider from "@stacksapi/core/AgentProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as DockerProvider from "../../DockerProvider.ts"
import * as Access from "./access.ts"
import { bytesOf, type EngineInput } from "./dockerFlags.ts"
import { Misused } from "./failure.ts"
import { agentTags, type RunInput } from "./runFlags.ts"

/** Agents in containers, by the flags. */
export const layerRunner = Effect.fnUntraced(function* (input: RunInput) {
  if (Option.isNone(input.image)) {
    return yield* new Misused({ message: "Containers need an image with a buildkite-agent: set --image IMAGE" })
  }
  const provider = DockerProvider.layer({
    image: input.image.value,
    hosts: Option.getOrUndefined(input.dockerHosts),
    pull: input.pull,
    cpus: Option.getOrUndefined(input.cpus),
    memory: Option.getOrUndefined(Option.map(input.memory, bytesOf)),
    networks: Option.getOrUndefined(input.networks),
    volumes: Option.getOrUndefined(input.volumes),
    user: Option.getOrUndefined(input.containerUser),
    env: {
      ...Option.getOrElse(input.containerEnv, () => ({})),
      ...(input.reflectExitStatus && { BUILDKITE_AGENT_REFLECT_EXIT_STATUS: "true" })
    },
    logDirectory: Option.getOrUndefined(input.logDirectory)
  })
  return AgentProvider.layerRunner({
    endpoint: yield* Access.endpoint(input),
    tags: agentTags(input)
  }).pipe(Layer.provideMerge(provider))
})

/** The agents of stacks, for commands that look at them. They create none. */
export const layerAgents = ({ dockerHosts }: EngineInput) =>
  DockerProvider.layer({
    containerOf: () =>
      new AgentProvider.ProviderError({ reason: "Refused", message: "This command creates no agents" }),
    hosts: Option.getOrUndefined(dockerHosts)
  })
