/** A job as an entity of the cluster: who sends it, and who gets it, agree on this. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as ClusterSchema from "effect/cluster/ClusterSchema"
import * as Entity from "effect/cluster/Entity"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type { JobKey } from "./book.ts"
import { maxSeats } from "./roster.ts"

export const entityType = "StacksapiJob"

/** The cluster sends it to the process that has the seat. */
export const entityIdOf = ({ jobUuid, stackKey }: JobKey, seat: number): string => `${seat}/${stackKey}/${jobUuid}`

/** How a job ended where it ran. Failures too are answers: they are kept until whoever sent the job has read them. */
export const Answer = Schema.Union([
  Schema.TaggedStruct("AgentOwned", {}),
  Schema.TaggedStruct("Finished", {
    exitStatus: Schema.Int,
    detail: Schema.String,
    signalReason: Schema.optional(Schema.String)
  }),
  Schema.TaggedStruct("Released", { reason: Schema.String }),
  Schema.TaggedStruct("Failed", { message: Schema.String, isRetryable: Schema.Boolean }),
  /** Not here: it was sent elsewhere meanwhile, or is over. */
  Schema.TaggedStruct("Elsewhere", {})
])

export type Answer = typeof Answer.Type

const AnswerJson = Schema.fromJsonString(Answer)
export const encodeAnswer = Schema.encodeSync(AnswerJson)
export const decodeAnswer = Schema.decodeUnknownEffect(AnswerJson)

/**
 * Kept in the database until it is answered: sent twice, it is run once. Whoever waits for the answer may stop waiting without
 * harm to the job; one that is over for its leader is taken out of the book, and whoever runs it looks there.
 */
const Run = Rpc.make("Run", {
  payload: { stackKey: Schema.String, job: StacksSchema.ScheduledJob, ticket: Schema.Int },
  success: Answer,
  primaryKey: ({ ticket, job, stackKey }) => `${stackKey}/${job.id}/${ticket}`
})
  .annotate(ClusterSchema.Persisted, true)
  .annotate(ClusterSchema.Uninterruptible, "client")

/** The shards of the queues. Effect's own singletons are there too. */
export const queueGroup = "default"

/** The shards of a seat are its process's own: where processes come or go, jobs stay where they are. */
export const seatGroup = (seat: number | string): string => `seat-${seat}`

export const allGroups = [queueGroup, ...Array.from({ length: maxSeats }, (_, seat) => seatGroup(seat))]

export const JobEntity = Entity.make(entityType, [Run]).annotate(ClusterSchema.ShardGroup, (entityId) =>
  seatGroup(entityId.slice(0, entityId.indexOf("/")))
)

export const toAnswer = (run: Effect.Effect<JobRunner.JobOutcome, JobRunner.JobRunnerError>): Effect.Effect<Answer> =>
  Effect.match(run, {
    onFailure: ({ message, isRetryable }): Answer => ({ _tag: "Failed", message, isRetryable: isRetryable === true }),
    onSuccess: (outcome): Answer => outcome
  })

export const fromAnswer = (
  answer: Exclude<Answer, { readonly _tag: "Elsewhere" }>
): Effect.Effect<JobRunner.JobOutcome, JobRunner.JobRunnerError> =>
  answer._tag === "Failed"
    ? Effect.fail(new JobRunner.JobRunnerError({ message: answer.message, isRetryable: answer.isRetryable }))
    : Effect.succeed(answer)
