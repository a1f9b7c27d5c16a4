import * as StacksClient from "@stacksapi/core/StacksClient"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { sanitizeLine } from "../terminal/sanitize.ts"
import { Failed } from "./failure.ts"
import * as Ids from "./ids.ts"
import { printOne, sayOfJob } from "./output.ts"
import * as Settings from "./settings.ts"
import { flags, withClient } from "./withClient.ts"

export const notify = Command.make(
  "notify",
  {
    key: Settings.key,
    id: Argument.String("id").pipe(
      Argument.withDescription("The id of a job; - reads ids from standard input, one per line")
    ),
    text: Argument.String("text").pipe(
      Argument.withDescription("Cropped to 256 characters"),
      Argument.filter(
        (text) => text !== "",
        () => "Expected a text that is not empty"
      )
    ),
    ...flags
  },
  Effect.fnUntraced(function* ({ id, json, key, text }) {
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
).pipe(
  Command.withDescription("Show a text on the page of a job, at most 100 texts per job"),
  Command.withExamples([
    { command: 'stacksapi jobs notify --key my-stack 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10 "Waiting for a machine"' }
  ])
)
