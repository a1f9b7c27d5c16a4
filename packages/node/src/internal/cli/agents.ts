import * as Command from "effect/cli/Command"
import { engineFlags } from "./dockerFlags.ts"
import * as Flag from "./flag.ts"
import { handledBy } from "./handledBy.ts"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"

const flags = {
  key: Settings.key,
  runner: Flag.withDefault(
    Flag.choice("runner", ["docker"], { description: "Where the agents run", variable: true }),
    "docker"
  ),
  ...engineFlags
}

const listFlags = { ...flags, json: Output.json }

export type DeleteInput = Command.Command.Config.Infer<typeof flags>

export type ListInput = Command.Command.Config.Infer<typeof listFlags>

const list = Command.make(
  "list",
  listFlags,
  handledBy(() => import("./agentsListHandler.ts"))
).pipe(
  Command.withDescription("List the agents of a stack, including those that have ended and are not deleted yet"),
  Command.withExamples([{ command: "stacksapi agents list --key my-stack" }])
)

const remove = Command.make(
  "delete",
  flags,
  handledBy(() => import("./agentsDeleteHandler.ts"))
).pipe(
  Command.withDescription(
    "Delete all agents of a stack, including those that run jobs, and wait until they are gone. Stop the stack first: it would " +
      "create agents again"
  ),
  Command.withShortDescription("Delete all agents of a stack"),
  Command.withExamples([{ command: "stacksapi agents delete --key my-stack" }])
)

export const agents = Command.make("agents").pipe(
  Command.withDescription("Look at the agents of a stack that run elsewhere, and delete them"),
  Command.withSubcommands([list, remove])
)
