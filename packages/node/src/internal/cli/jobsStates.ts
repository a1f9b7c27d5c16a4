import * as Command from "effect/cli/Command"
import { handledBy } from "./handledBy.ts"
import * as Ids from "./ids.ts"
import * as Settings from "./settings.ts"

const flags = { key: Settings.key, ids: Ids.ids, ...Settings.flags }

export type StatesInput = Command.Command.Config.Infer<typeof flags>

export const states = Command.make(
  "states",
  flags,
  handledBy(() => import("./jobsStatesHandler.ts"))
).pipe(
  Command.withDescription(
    "Show the states of jobs. A job that has ended is finished, whether it passed or failed: the Stacks API does not tell. Look at " +
      "the job's page in Buildkite"
  ),
  Command.withShortDescription("Show the states of jobs: finished means ended, whether passed or failed"),
  Command.withExamples([
    { command: "stacksapi jobs states --key my-stack 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10" },
    { command: "stacksapi jobs states --key my-stack - < ids.txt" }
  ])
)
