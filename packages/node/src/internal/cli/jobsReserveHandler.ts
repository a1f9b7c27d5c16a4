/** What `stacksapi jobs reserve` does. */
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import { durationOf, eachBatch } from "./eachJob.ts"
import type { ReserveInput } from "./jobsReserve.ts"
import * as Output from "./output.ts"
import { withClient } from "./withClient.ts"

interface Row {
  readonly id: string
  readonly isReserved: boolean
}

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
  yield* eachBatch(
    ids,
    "were not reserved",
    Effect.fnUntraced(function* (jobUuids) {
      const result = yield* client.batchReserveJobs({
        stackKey: key,
        jobUuids,
        reservationExpiry: durationOf(expiry)
      })
      const reserved = new Set(result.reserved)
      yield* printer.print(jobUuids.map((id) => ({ id, isReserved: reserved.has(id) })))
      return jobUuids.filter((id) => !reserved.has(id)).length
    })
  )
}, withClient)
