import * as Command from "effect/cli/Command"
import { handledBy } from "./handledBy.ts"
import * as Settings from "./settings.ts"

const flags = { key: Settings.key, ...Settings.flags }

export type DeregisterInput = Command.Command.Config.Infer<typeof flags>

export const deregister = Command.make(
  "deregister",
  flags,
  handledBy(() => import("./deregisterHandler.ts"))
).pipe(
  Command.withDescription("Deregister a stack: the service forgets it"),
  Command.withExamples([{ command: "stacksapi deregister --key my-stack" }])
)
