import * as ScheduledJobs from "@stacksapi/core/ScheduledJobs"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Flag from "./flag.ts"
import * as JobPrinter from "./jobPrinter.ts"
import { findReader } from "./reader.ts"
import * as Settings from "./settings.ts"
import { flags, withClient } from "./withClient.ts"

export const watch = Command.make(
  "watch",
  {
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
    ...flags
  },
  Effect.fnUntraced(function* ({ interval, json, key, queue, tags }) {
    const printer = yield* JobPrinter.make({ json, key })
    const reader = yield* findReader
    const watching = ScheduledJobs.watch({
      stackKey: key,
      clusterQueueKey: queue,
      interval: interval * 1000,
      tags: Option.getOrUndefined(tags)
    }).pipe(
      Stream.chunks,
      Stream.runForEach((jobs) => printer.print(jobs))
    )
    yield* Effect.raceFirst(watching, reader.gone)
  }, withClient)
).pipe(
  Command.withDescription(
    "Print the jobs of a queue that may start, each once, as they arrive, until it is stopped. Does not print the jobs of a " +
      "paused queue, or jobs before their `runnable_at`"
  ),
  Command.withShortDescription("Print the jobs of a queue as they arrive"),
  Command.withExamples([{ command: "stacksapi jobs watch --key my-stack --queue linux --tag os=linux" }])
)
