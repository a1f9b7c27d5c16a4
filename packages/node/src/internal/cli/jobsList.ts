import * as ScheduledJobs from "@stacksapi/core/ScheduledJobs"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Stream from "effect/Stream"
import { jobColumns } from "./jobColumns.ts"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"
import { flags, withClient } from "./withClient.ts"

export const list = Command.make(
  "list",
  {
    key: Settings.key,
    queue: Settings.queue,
    all: Flag.Boolean("all").pipe(Flag.withDescription("All jobs, page after page"), Flag.withDefault(false)),
    limit: Settings.integer("limit", 1, StacksSchema.MaxBatchSize).pipe(
      Flag.withDescription(`How many jobs, without --all: 1 to ${StacksSchema.MaxBatchSize} (default 50)`),
      Flag.withDefault(50)
    ),
    ...flags
  },
  Effect.fnUntraced(function* ({ all, json, key, limit, queue }) {
    const printer = yield* Output.printer({ json, columns: jobColumns(yield* DateTime.now), toJson: identity })
    const pages = ScheduledJobs.pages({
      stackKey: key,
      clusterQueueKey: queue,
      pageSize: all ? StacksSchema.MaxBatchSize : limit
    })
    let count = 0
    let isPaused = false
    let hasMore = false
    yield* (all ? pages : Stream.take(pages, 1)).pipe(
      Stream.runForEach(({ clusterQueue, jobs, pageInfo }) => {
        count += jobs.length
        isPaused = clusterQueue.dispatchPaused
        hasMore = pageInfo.hasNextPage
        return printer.print(jobs)
      })
    )
    if (count === 0) yield* Output.say(`No jobs wait in the queue ${queue}`)
    if (isPaused) yield* Output.say(`The queue ${queue} is paused: its jobs must not be started`)
    if (!all && hasMore) yield* Output.say("More jobs follow: list them with --all, or raise --limit")
  }, withClient)
).pipe(
  Command.withDescription("List the scheduled jobs of a queue, the oldest first"),
  Command.withExamples([
    { command: "stacksapi jobs list --key my-stack --queue linux" },
    { command: "stacksapi jobs list --key my-stack --queue linux --all --json | jq -r .id" }
  ])
)
