import * as ScheduledJobs from "@stacksapi/core/ScheduledJobs"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Flag from "./flag.ts"
import * as JobPrinter from "./jobPrinter.ts"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"
import { flags, withClient } from "./withClient.ts"

export const list = Command.make(
  "list",
  {
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
    ...flags
  },
  Effect.fnUntraced(function* ({ all, json, key, limit, queue }) {
    const printer = yield* JobPrinter.make({ json, key })
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
        isPaused = clusterQueue.dispatchPaused ?? isPaused
        hasMore = pageInfo.hasNextPage
        return printer.print(jobs)
      })
    )
    if (count === 0) yield* Output.say(`The queue ${queue} has no scheduled jobs`)
    if (isPaused) yield* Output.say(`The queue ${queue} is paused: its jobs must not start`)
    if (!all && hasMore) yield* Output.say("More jobs follow: list them with --all, or raise --limit")
  }, withClient)
).pipe(
  Command.withDescription("List the scheduled jobs of a queue, oldest first"),
  Command.withExamples([
    { command: "stacksapi jobs list --key my-stack --queue linux" },
    { command: "stacksapi jobs list --key my-stack --queue linux --all --json | jq -r .id" }
  ])
)
