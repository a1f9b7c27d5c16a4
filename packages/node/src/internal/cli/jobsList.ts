import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Command from "effect/cli/Command"
import * as Flag from "./flag.ts"
import { handledBy } from "./handledBy.ts"
import * as Settings from "./settings.ts"

const flags = {
  key: Settings.key,
  queue: Settings.queue,
  all: Flag.toggle("all", { description: "List all jobs, page by page" }),
  limit: Flag.withDefault(
    Flag.integer("limit", {
      description: `The maximum number of jobs without --all, 1 to ${StacksSchema.MaxBatchSize}`,
      min: 1,
      max: StacksSchema.MaxBatchSize
    }),
    50
  ),
  ...Settings.flags
}

export type ListInput = Command.Command.Config.Infer<typeof flags>

export const list = Command.make(
  "list",
  flags,
  handledBy(() => import("./jobsListHandler.ts"))
).pipe(
  Command.withDescription("List the scheduled jobs of a queue, oldest first"),
  Command.withExamples([
    { command: "stacksapi jobs list --key my-stack --queue linux" },
    { command: "stacksapi jobs list --key my-stack --queue linux --all --json | jq -r .id" }
  ])
)
