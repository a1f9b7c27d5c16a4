/** A saved job as JSON, with the job in the service's format. Only declared fields are written. */
import type { SavedJob, SavedOutcome } from "@stacksapi/core/JobStore"
import { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Schema from "effect/Schema"

/** Requires a schema for each field of a type: the compiler reports a field that is missing here. */
type FieldsOf<A> = { readonly [K in keyof Required<A>]: Schema.Top }

const Outcome = Schema.Struct({
  // JSON has no NaN: the codec writes it as a text.
  // @effect-diagnostics-next-line schemaNumber:off
  exitStatus: Schema.toCodecJson(Schema.Number),
  detail: Schema.String,
  signalReason: Schema.optional(Schema.String)
} satisfies FieldsOf<SavedOutcome>).pipe(
  Schema.encodeKeys({ exitStatus: "exit_status", signalReason: "signal_reason" })
)

const Json = Schema.fromJsonString(
  Schema.Struct({ job: ScheduledJob, outcome: Schema.optional(Outcome) } satisfies FieldsOf<SavedJob>)
)

export const encode = Schema.encodeEffect(Json)

export const decode = Schema.decodeUnknownEffect(Json)
