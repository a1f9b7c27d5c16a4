/** A job as an entity of the cluster: who sends it, and who gets it, agree on this. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as ClusterSchema from "effect/cluster/ClusterSchema"
import * as Entity from "effect/cluster/Entity"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"

/** How a job ended where it ran. Failures too are answers: they are kept until whoever sent the job has read them. */
export const Answer = Schema.Union([
  Schema.TaggedStruct("AgentOwned", {}),
  Schema.TaggedStruct("Finished", {
    exitStatus: Schema.Int,
    detail: Schema.String,
    signalReason: Schema.optional(Schema.String)
  }),
  Schema.TaggedStruct("Failed", { message: Schema.String, tryAgain: Schema.Boolean })
])

export type Answer = typeof Answer.Type

/** Kept in the database until it is answered: sent twice, it is run once. */
const Run = Rpc.make("Run", {
  payload: { stackKey: Schema.String, job: StacksSchema.ScheduledJob, attempt: Schema.Int },
  success: Answer,
  primaryKey: ({ attempt, job, stackKey }) => `${stackKey}/${job.id}/${attempt}`
}).annotate(ClusterSchema.Persisted, true)

export const JobEntity = Entity.make("StacksapiJob", [Run])

export const toAnswer = (run: Effect.Effect<JobRunner.JobOutcome, JobRunner.JobRunnerError>): Effect.Effect<Answer> =>
  Effect.match(run, {
    onFailure: ({ message, tryAgain }): Answer => ({ _tag: "Failed", message, tryAgain: tryAgain === true }),
    onSuccess: (outcome): Answer => outcome
  })

export const fromAnswer = (answer: Answer): Effect.Effect<JobRunner.JobOutcome, JobRunner.JobRunnerError> =>
  answer._tag === "Failed"
    ? Effect.fail(new JobRunner.JobRunnerError({ message: answer.message, tryAgain: answer.tryAgain }))
    : Effect.succeed(answer)
