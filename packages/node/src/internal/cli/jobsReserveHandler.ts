/** What `stacksapi jobs reserve` does. */
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Failed } from "./failure.ts"
import * as Ids from "./ids.ts"
import type { ReserveInput } from "./jobsReserve.ts"
import * as Output from "./output.ts"
import { withClient } from "./withClient.ts"

interface Row {
  readonly id: string
  readonly isReserved: boolean
}

export const lifetimeOf = (seconds: Option.Option<number>): Duration.Duration | undefined =>
  Option.getOrUndefined(Option.map(seconds, Duration.seconds))

export const handle = Effect.fnUntraced(function* ({ expiry, ids, json, key }: ReserveInput) {
  const client = yield* StacksClient.StacksClient
  const printer = yield* Output.printer<Row>({
    json,
    columns: [
      { name: "id", value: ({ id }) => id },
      {
        name: "reservation",
        value: ({ isReserved }) => (isReserved ? "reserved" : "not reserved"),
        style: ({ isReserved }) => (isReserved ? "green" : "yellow")
      }
    ],
    toJson: identity
  })
  let count = 0
  let refused = 0
  yield* Ids.stream(ids).pipe(
    Stream.grouped(StacksSchema.MaxBatchSize),
    Stream.runForEach(
      Effect.fnUntraced(function* (jobUuids) {
        const result = yield* client.batchReserveJobs({
          stackKey: key,
          jobUuids,
          reservationExpiry: lifetimeOf(expiry)
        })
        const reserved = new Set(result.reserved)
        count += jobUuids.length
        refused += jobUuids.filter((id) => !reserved.has(id)).length
        yield* printer.print(jobUuids.map((id) => ({ id, isReserved: reserved.has(id) })))
      })
    )
  )
  if (refused > 0) return yield* new Failed({ message: `${refused} of ${count} jobs were not reserved` })
}, withClient)
