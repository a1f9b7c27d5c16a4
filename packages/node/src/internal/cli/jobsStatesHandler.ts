/** What `stacksapi jobs states` does. */
import * as StacksClient from "@stacksapi/core/StacksClient"
import type { JobState } from "@stacksapi/core/StacksSchema"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Stream from "effect/Stream"
import type { Style } from "../terminal/style.ts"
import * as Ids from "./ids.ts"
import type { StatesInput } from "./jobsStates.ts"
import * as Output from "./output.ts"
import { withClient } from "./withClient.ts"

interface Row {
  readonly id: string
  /** Null where the service does not know the job. */
  readonly state: JobState | null
}

export const handle = Effect.fnUntraced(function* ({ ids, json, key }: StatesInput) {
  const client = yield* StacksClient.StacksClient
  const printer = yield* Output.printer<Row>({
    json,
    columns: [
      { name: "id", value: ({ id }) => id },
      { name: "state", value: ({ state }) => state ?? "not known", style: ({ state }) => styleOf(state) }
    ],
    toJson: identity
  })
  yield* Ids.stream(ids).pipe(
    Stream.grouped(StacksSchema.MaxBatchSize),
    Stream.runForEach((jobUuids) =>
      Effect.flatMap(client.getJobStates({ stackKey: key, jobUuids }), ({ states }) =>
        printer.print(jobUuids.map((id) => ({ id, state: Object.hasOwn(states, id) ? (states[id] ?? null) : null })))
      )
    )
  )
}, withClient)

const styleOf = (state: JobState | null): Style | undefined => {
  if (state === null) return "dim"
  if (state === "finished") return "green"
  if (StacksSchema.isAgentOwned(state)) return "cyan"
  return state === "scheduled" || state === "reserved" ? undefined : "yellow"
}
