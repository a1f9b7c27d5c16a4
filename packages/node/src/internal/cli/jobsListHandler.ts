/** What `stacksapi jobs list` does. */
import * as ScheduledJobs from "@stacksapi/core/ScheduledJobs"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as JobPrinter from "./jobPrinter.ts"
import type { ListInput } from "./jobsList.ts"
import * as Output from "./output.ts"
import { withClient } from "./withClient.ts"

export const handle = Effect.fnUntraced(function* ({ all, json, key, limit, queue }: ListInput) {
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
