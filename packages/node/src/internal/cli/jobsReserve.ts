import * as StacksClient from "@stacksapi/core/StacksClient"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Command from "effect/cli/Command"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Failed } from "./failure.ts"
import * as Flag from "./flag.ts"
import * as Ids from "./ids.ts"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"
import { flags, withClient } from "./withClient.ts"

interface Row {
  readonly id: string
  readonly isReserved: boolean
}

export const lifetimeOf = (seconds: Option.Option<number>): Duration.Duration | undefined =>
  Option.getOrUndefined(Option.map(seconds, Duration.seconds))

export const reserve = Command.make(
  "reserve",
  {
    key: Settings.key,
    expiry: Flag.optional(
      Flag.integer("expiry", {
        description: "How long the reservations last, 1 to 3600 seconds",
        metavar: "SECONDS",
        otherwise: "900",
        min: 1,
        max: 3600
      })
    ),
    ids: Ids.ids,
    ...flags
  },
  Effect.fnUntraced(function* ({ expiry, ids, json, key }) {
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
).pipe(
  Command.withDescription(
    "Reserve jobs, or extend reservations. A reservation can't be undone: it lapses by itself. Exits with 1 if a job was not reserved"
  ),
  Command.withShortDescription("Reserve jobs, or extend reservations"),
  Command.withExamples([
    { command: "stacksapi jobs reserve --key my-stack --expiry 300 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10" }
  ])
)
