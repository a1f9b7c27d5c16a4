/** `stacksapi emulator unblock`: unblocks steps of an emulator's pipelines. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "./flag.ts"
import { handledBy } from "./handledBy.ts"
import * as Output from "./output.ts"

const flags = {
  step: Argument.optional(
    Argument.String("step").pipe(
      Argument.withDescription("The key, the label or the id of a step; without it, shows the steps that wait for you")
    )
  ),
  fields: Flag.optional(
    Flag.repeatedPairs("field", {
      description: "The value of one of the step's fields; may be repeated, also for several options of one field",
      metavar: "NAME=VALUE"
    })
  ),
  endpoint: Flag.optional(
    Flag.text("endpoint", {
      description: "The URL of the emulator",
      metavar: "URL",
      otherVariables: "BUILDKITE_AGENT_ENDPOINT"
    })
  ),
  json: Output.json
}

export type UnblockInput = Command.Command.Config.Infer<typeof flags>

export const unblock = Command.make(
  "unblock",
  flags,
  handledBy(() => import("./unblockHandler.ts"))
).pipe(
  Command.withDescription("Unblock a step of an emulator's pipeline that is blocked, waits for input, or is held"),
  Command.withExamples([
    { command: "stacksapi emulator unblock" },
    { command: "stacksapi emulator unblock approve --field release-name=Dolphin" }
  ])
)
