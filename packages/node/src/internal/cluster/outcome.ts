/** How the run of a job ended, as it is written to the database. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export const Outcome = Schema.Union([
  Schema.TaggedStruct("AgentOwned", {}),
  Schema.TaggedStruct("Finished", {
    exitStatus: Schema.Int,
    detail: Schema.String,
    signalReason: Schema.optional(Schema.String)
  }),
  Schema.TaggedStruct("Released", { reason: Schema.String }),
  Schema.TaggedStruct("Failed", {
    message: Schema.String,
    isRetryable: Schema.Boolean,
    waitsForCapacity: Schema.optional(Schema.Boolean),
    /** The request to the service whose failure it is, if it is one. */
    trouble: Schema.optional(Schema.Literals(["details", "token"]))
  })
])

export type Outcome = typeof Outcome.Type

const OutcomeJson = Schema.fromJsonString(Outcome)
export const encodeOutcome = Schema.encodeSync(OutcomeJson)
export const decodeOutcome = Schema.decodeUnknownEffect(OutcomeJson)

const JobJson = Schema.fromJsonString(StacksSchema.ScheduledJob)
export const encodeJob = Schema.encodeSync(JobJson)
export const decodeJob = Schema.decodeUnknownEffect(JobJson)

/** What a runner returns for an outcome. */
export const toRunnerResult = (outcome: Outcome): Effect.Effect<JobRunner.JobOutcome, JobRunner.JobRunnerError> =>
  outcome._tag === "Failed"
    ? Effect.fail(
        new JobRunner.JobRunnerError({
          message: outcome.message,
          isRetryable: outcome.isRetryable,
          waitsForCapacity: outcome.waitsForCapacity
        })
      )
    : Effect.succeed(outcome)
