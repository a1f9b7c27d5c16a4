/** A saved job as JSON. The job is written as the service sends it. Only declared fields are written: nothing else gets in. */
import type { SavedJob, SavedOutcome } from "@stacksapi/core/JobStore"
import { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Schema from "effect/Schema"

/** One for each field of the type: a field that is added there is missing here, which the compiler reports. */
type FieldsOf<A> = { readonly [K in keyof Required<A>]: Schema.Top }

const Outcome = Schema.Struct({
  // JSON has no NaN: this writes it as a text.
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
