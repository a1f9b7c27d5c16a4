import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "./flag.ts"
import { handledBy } from "./handledBy.ts"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"

const flags = {
  id: Argument.String("id").pipe(Argument.withDescription("The id of a job")),
  follow: Flag.toggle("follow", {
    description: "Keep printing new output until the job ends; with --log-directory, until Ctrl-C",
    alias: "f"
  }),
  logDirectory: Flag.optional(
    Flag.path("log-directory", "directory", {
      description: "The folder in which `stacksapi run` keeps the output of jobs",
      metavar: "FOLDER",
      variable: true
    })
  ),
  endpoint: Settings.connection.endpoint,
  json: Output.json
}

export type LogInput = Command.Command.Config.Infer<typeof flags>

export const log = Command.make(
  "log",
  flags,
  handledBy(() => import("./jobsLogHandler.ts"))
).pipe(
  Command.withDescription(
    "Print what a job has printed: from the folder in which `stacksapi run --log-directory` keeps it, or else from an emulator. " +
      "The Stacks API has no logs; Buildkite shows them on the page of the job"
  ),
  Command.withShortDescription("Print what a job has printed, and follow it"),
  Command.withExamples([
    { command: "stacksapi jobs log --follow 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10" },
    { command: "stacksapi jobs log --log-directory /var/log/my-stack 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10" }
  ])
)
