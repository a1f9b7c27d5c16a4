/** Jobs, and how their runs ended, as they are written to the database. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import type { SavedOutcome } from "@stacksapi/core/JobStore"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
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
    /** The request to the service whose failure made the runner fail. */
    failedRequest: Schema.optional(Schema.Literals(["details", "token"]))
  })
])

export type Outcome = typeof Outcome.Type

export type FailedRequest = Extract<Outcome, { readonly _tag: "Failed" }>["failedRequest"]

/** The outcome of a run that died. */
export const failedWith = (cause: Cause.Cause<unknown>): Outcome => {
  const error = Cause.squash(cause)
  return { _tag: "Failed", message: Predicate.isError(error) ? error.message : String(error), isRetryable: false }
}

const OutcomeJson = Schema.fromJsonString(Outcome)
export const encodeOutcome = Schema.encodeSync(OutcomeJson)

const SavedOutcomeJson = Schema.fromJsonString(
  Schema.Struct({ exitStatus: Schema.Int, detail: Schema.String, signalReason: Schema.optional(Schema.String) })
)
export const encodeFinish = Schema.encodeSync(SavedOutcomeJson)

const JobJson = Schema.fromJsonString(StacksSchema.ScheduledJob)
export const encodeJob = Schema.encodeSync(JobJson)

// Another version of this package may have written what this one can't read. One such row must not end the process.

const unreadable = "The outcome of the job can't be read by this version of the package"

/** What a process wrote about the end of a job. A job whose outcome can't be read has failed. */
export const decodeOutcome = (text: string): Effect.Effect<Outcome> =>
  Effect.catch(Schema.decodeUnknownEffect(OutcomeJson)(text), () =>
    Effect.succeed<Outcome>({ _tag: "Failed", message: unreadable, isRetryable: false })
  )

/** What a leader was about to tell the service. */
export const decodeFinish = (text: string): Effect.Effect<SavedOutcome> =>
  Effect.catch(Schema.decodeUnknownEffect(SavedOutcomeJson)(text), () =>
    Effect.succeed<SavedOutcome>({ exitStatus: -1, detail: unreadable, signalReason: "stack_error" })
  )

/** Undefined if the job can't be read: it is left to processes that can. */
export const decodeJob = (text: string): Effect.Effect<StacksSchema.ScheduledJob | undefined> =>
  Effect.catch(Schema.decodeUnknownEffect(JobJson)(text), ({ message }) =>
    Effect.as(Effect.logWarning(`A job in the cluster's database can't be read, and is skipped: ${message}`), undefined)
  )

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
