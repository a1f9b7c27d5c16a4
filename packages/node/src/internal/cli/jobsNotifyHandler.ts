/** What `stacksapi jobs notify` does. */
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { sanitizeLine } from "../terminal/sanitize.ts"
import { Failed } from "./failure.ts"
import * as Ids from "./ids.ts"
import type { NotifyInput } from "./jobsNotify.ts"
import { printOne, sayOfJob } from "./output.ts"
import { withClient } from "./withClient.ts"

export const handle = Effect.fnUntraced(function* ({ id, json, key, text }: NotifyInput) {
  const client = yield* StacksClient.StacksClient
  let count = 0
  let rejected = 0
  yield* Ids.stream([id]).pipe(
    Stream.grouped(StacksSchema.MaxBatchSize),
    Stream.runForEach(
      Effect.fnUntraced(function* (jobUuids) {
        const { errors } = yield* client.createStackNotifications({
          stackKey: key,
          notifications: jobUuids.map((jobUuid) => ({ jobUuid, detail: text }))
        })
        const errorOf = new Map(errors.flatMap(({ error, indexes }) => indexes.map((index) => [index, error])))
        count += jobUuids.length
        rejected += errorOf.size
        for (const [index, jobUuid] of jobUuids.entries()) {
          const error = errorOf.get(index)
          if (error !== undefined) yield* sayOfJob(jobUuid, sanitizeLine(error))
          else
            yield* printOne(json, {
              text: `${sanitizeLine(jobUuid)} is notified`,
              json: { id: jobUuid, isNotified: true }
            })
        }
      })
    )
  )
  if (rejected > 0) return yield* new Failed({ message: `${rejected} of ${count} notifications were rejected` })
}, withClient)
