/** What `stacksapi jobs watch` does. */
import * as ScheduledJobs from "@stacksapi/core/ScheduledJobs"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as JobPrinter from "./jobPrinter.ts"
import type { WatchInput } from "./jobsWatch.ts"
import { findReader } from "./reader.ts"
import { withClient } from "./withClient.ts"

export const handle = Effect.fnUntraced(function* ({ interval, json, key, queue, tags }: WatchInput) {
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
