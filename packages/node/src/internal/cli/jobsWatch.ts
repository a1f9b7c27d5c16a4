import * as Command from "effect/cli/Command"
import * as Flag from "./flag.ts"
import { handledBy } from "./handledBy.ts"
import * as Settings from "./settings.ts"

const flags = {
  key: Settings.key,
  queue: Settings.queue,
  tags: Settings.tags,
  interval: Flag.withDefault(
    Flag.seconds("interval", {
      description: "The time between polls of the queue, 1 to 300 seconds",
      min: 1,
      max: 300
    }),
    1
  ),
  ...Settings.flags
}

export type WatchInput = Command.Command.Config.Infer<typeof flags>

export const watch = Command.make(
  "watch",
  flags,
  handledBy(() => import("./jobsWatchHandler.ts"))
).pipe(
  Command.withDescription(
    "Print the jobs of a queue that may start, each once, as they arrive, until it is stopped. Does not print the jobs of a " +
      "paused queue, or jobs before their `runnable_at`"
  ),
  Command.withShortDescription("Print the jobs of a queue as they arrive"),
  Command.withExamples([{ command: "stacksapi jobs watch --key my-stack --queue linux --tag os=linux" }])
)
