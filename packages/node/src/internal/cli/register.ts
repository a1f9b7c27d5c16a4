import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Command from "effect/cli/Command"
import * as Flag from "./flag.ts"
import { handledBy } from "./handledBy.ts"
import * as Settings from "./settings.ts"

const flags = {
  key: Settings.key,
  queue: Settings.queue,
  type: Flag.withDefault(
    Flag.choice("type", StacksSchema.StackType.literals, {
      description: "The type of the stack; kubernetes and elastic are reserved for Buildkite's own stacks"
    }),
    "custom"
  ),
  metadata: Flag.optional(
    Flag.pairs("metadata", { description: "Metadata of the stack; may be repeated", metavar: "NAME=TEXT" })
  ),
  ...Settings.flags
}

export type RegisterInput = Command.Command.Config.Infer<typeof flags>

export const register = Command.make(
  "register",
  flags,
  handledBy(() => import("./registerHandler.ts"))
).pipe(
  Command.withDescription("Register a stack for a queue, or move a registered one to another queue"),
  Command.withExamples([{ command: "stacksapi register --key my-stack --queue linux" }])
)
