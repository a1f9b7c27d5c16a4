import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import { handledBy } from "./handledBy.ts"
import * as Settings from "./settings.ts"

const flags = {
  key: Settings.key,
  id: Argument.String("id").pipe(
    Argument.withDescription("The id of a job; - reads ids from standard input, one per line")
  ),
  text: Argument.String("text").pipe(
    Argument.withDescription("Cropped to 256 characters"),
    Argument.filter(
      (text) => text !== "",
      () => "Expected a text that is not empty"
    )
  ),
  ...Settings.flags
}

export type NotifyInput = Command.Command.Config.Infer<typeof flags>

export const notify = Command.make(
  "notify",
  flags,
  handledBy(() => import("./jobsNotifyHandler.ts"))
).pipe(
  Command.withDescription("Show a text on the page of a job, at most 100 texts per job"),
  Command.withExamples([
    { command: 'stacksapi jobs notify --key my-stack 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10 "Waiting for a machine"' }
  ])
)
