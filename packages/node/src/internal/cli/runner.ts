/** The runner of `stacksapi run`. */
import type * as JobRunner from "@stacksapi/core/JobRunner"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as AgentRunner from "../../AgentRunner.ts"
import * as CommandRunner from "../../CommandRunner.ts"
import type { DockerUnusable } from "../../DockerProvider.ts"
import type * as JobOutput from "../../JobOutput.ts"
import * as Access from "./access.ts"
import { type Failed, Misused } from "./failure.ts"
import { agentTags, type RunInput } from "./runFlags.ts"

export const layerRunner = (
  input: RunInput
): Layer.Layer<
  JobRunner.JobRunner | JobOutput.JobOutput,
  | AgentRunner.AgentUnusable
  | CommandRunner.CommandRunnerUnusable
  | DockerUnusable
  | InvalidOptions
  | Config.ConfigError
  | Failed
  | Misused
> => {
  switch (input.runner) {
    case "command":
      return CommandRunner.layer({
        workingDirectory: Option.getOrUndefined(input.directory),
        timeout: Option.getOrUndefined(Option.map(input.timeout, (seconds) => seconds * 1000)),
        logDirectory: Option.getOrUndefined(input.logDirectory)
      })
    case "docker":
      return Layer.unwrap(
        Effect.flatMap(
          Effect.promise(() => import("./docker.ts")),
          (docker) => docker.layerRunner(input)
        )
      )
    case "agent":
      return Layer.unwrap(layerAgents(input))
  }
}

const layerAgents = Effect.fnUntraced(function* (input: RunInput) {
  if (Option.isNone(input.buildPath)) {
    return yield* new Misused({
      message: "Agents need a folder to build in: set --build-path FOLDER, or use --runner command"
    })
  }
  return AgentRunner.layer({
    agentPath: Option.getOrUndefined(input.agentPath),
    buildPath: input.buildPath.value,
    endpoint: yield* Access.endpoint(input),
    tags: agentTags(input),
    reflectExitStatus: input.reflectExitStatus,
    logDirectory: Option.getOrUndefined(input.logDirectory)
  })
})
