import * as StacksClient from "@stacksapi/core/StacksClient"
import type { JobState } from "@stacksapi/core/StacksSchema"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Stream from "effect/Stream"
import type { Style } from "../terminal/style.ts"
import * as Ids from "./ids.ts"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"
import { flags, withClient } from "./withClient.ts"

interface Row {
  readonly id: string
  /** Null where the service does not know the job. */
  readonly state: JobState | null
}

export const states = Command.make(
  "states",
  { key: Settings.key, ids: Ids.ids, ...flags },
  Effect.fnUntraced(function* ({ ids, json, key }) {
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
).pipe(
  Command.withDescription("Show the states of jobs"),
  Command.withExamples([
    { command: "stacksapi jobs states --key my-stack 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10" },
    { command: "stacksapi jobs states --key my-stack - < ids.txt" }
  ])
)

const styleOf = (state: JobState | null): Style | undefined => {
  if (state === null) return "dim"
  if (state === "finished") return "green"
  if (StacksSchema.isAgentOwned(state)) return "cyan"
  return state === "scheduled" || state === "reserved" ? undefined : "yellow"
}
