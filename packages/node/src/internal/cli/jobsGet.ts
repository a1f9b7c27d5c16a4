import * as Command from "effect/cli/Command"
import * as Flag from "./flag.ts"
import { handledBy } from "./handledBy.ts"
import * as Ids from "./ids.ts"
import * as Settings from "./settings.ts"

const flags = {
  key: Settings.key,
  show: Flag.toggle("show", { description: "Also show the values of variables that are named like secrets" }),
  ids: Ids.ids,
  ...Settings.flags
}

export type GetInput = Command.Command.Config.Infer<typeof flags>

export const get = Command.make(
  "get",
  flags,
  handledBy(() => import("./jobsGetHandler.ts"))
).pipe(
  Command.withDescription(
    "Show the command and environment of jobs. Hides the values of variables that are named like secrets (TOKEN, PASSWORD …), " +
      "unless --show is given"
  ),
  Command.withShortDescription("Show the command and environment of jobs"),
  Command.withExamples([{ command: "stacksapi jobs get --key my-stack 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10" }])
)
