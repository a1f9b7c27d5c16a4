/** A job as an entity of Effect's cluster: the protocol between the leader and the member that runs the job. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as ClusterSchema from "effect/cluster/ClusterSchema"
import * as Entity from "effect/cluster/Entity"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { maxMembers } from "./members.ts"
import type { JobKey } from "./ownership.ts"

export const entityType = "StacksapiJob"

/** The id contains the member's, so that the cluster routes the job to it. */
export const entityIdOf = ({ jobUuid, stackKey }: JobKey, memberId: number): string =>
  `${memberId}/${stackKey}/${jobUuid}`

/** How a run ended. Failures are answers too: the cluster stores them until the leader has read them. */
export const Answer = Schema.Union([
  Schema.TaggedStruct("AgentOwned", {}),
  Schema.TaggedStruct("Finished", {
    exitStatus: Schema.Int,
    detail: Schema.String,
    signalReason: Schema.optional(Schema.String)
  }),
  Schema.TaggedStruct("Released", { reason: Schema.String }),
  Schema.TaggedStruct("Failed", { message: Schema.String, isRetryable: Schema.Boolean }),
  /** The member does not own the job: it was dispatched again, or is over. */
  Schema.TaggedStruct("NotOwned", {})
])

export type Answer = typeof Answer.Type

const AnswerJson = Schema.fromJsonString(Answer)
export const encodeAnswer = Schema.encodeSync(AnswerJson)
export const decodeAnswer = Schema.decodeUnknownEffect(AnswerJson)

/**
 * The database stores the request until it is answered, and the primary key makes a repeated request the same one. Interrupting
 * the client does not interrupt the job: the leader removes the job from the ownership table, and the member checks that.
 */
const Run = Rpc.make("Run", {
  payload: { stackKey: Schema.String, job: StacksSchema.ScheduledJob, dispatchId: Schema.Int },
  success: Answer,
  primaryKey: ({ dispatchId, job, stackKey }) => `${stackKey}/${job.id}/${dispatchId}`
})
  .annotate(ClusterSchema.Persisted, true)
  .annotate(ClusterSchema.Uninterruptible, "client")

/** The shard group of the queues' leaders, and of Effect's own singletons. */
export const queueGroup = "default"

/** Each member has a shard group of its own, so that jobs stay where they are when members join or leave. */
export const memberGroup = (memberId: number | string): string => `member-${memberId}`

export const allGroups = [queueGroup, ...Array.from({ length: maxMembers }, (_, memberId) => memberGroup(memberId))]

export const JobEntity = Entity.make(entityType, [Run]).annotate(ClusterSchema.ShardGroup, (entityId) =>
  memberGroup(entityId.slice(0, entityId.indexOf("/")))
)

export const toAnswer = (run: Effect.Effect<JobRunner.JobOutcome, JobRunner.JobRunnerError>): Effect.Effect<Answer> =>
  Effect.match(run, {
    onFailure: ({ message, isRetryable }): Answer => ({ _tag: "Failed", message, isRetryable: isRetryable === true }),
    onSuccess: (outcome): Answer => outcome
  })

export const fromAnswer = (
  answer: Exclude<Answer, { readonly _tag: "NotOwned" }>
): Effect.Effect<JobRunner.JobOutcome, JobRunner.JobRunnerError> =>
  answer._tag === "Failed"
    ? Effect.fail(new JobRunner.JobRunnerError({ message: answer.message, isRetryable: answer.isRetryable }))
    : Effect.succeed(answer)
