/**
 * The data of the Stacks API: schemas, types, limits and constants.
 *
 * The type of each schema has camelCase keys, `DateTime.Utc` and `Redacted`. The encoded side is the JSON on the wire, with snake_case
 * keys and ISO 8601 strings. Unknown fields are ignored.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { constTrue } from "effect/Function"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import {
  AnyText,
  arrayOrAbsent,
  hasCodePoints,
  hasItems,
  holds,
  isBetween,
  LifetimeSeconds,
  NonEmptyString,
  NullableString,
  omittable,
  oneByOne,
  PathSegment,
  Secret,
  StringOrNull,
  TextOrAbsent,
  Time,
  wireKeys,
  withFallback
} from "./internal/schema/fields.ts"
import { cropBytes, cropCharacters } from "./internal/schema/text.ts"

// -----------------------------------------------------------------------------
// Constants
// -----------------------------------------------------------------------------

/**
 * The key of a cluster's default queue: `_default`, the same as in the reference client. Buildkite's documentation calls this queue
 * `__default__`. The client sends either key unchanged.
 *
 * @since 0.1.0
 * @category constants
 */
export const DefaultQueue = "_default"

/**
 * The maximum number of jobs or notifications in a request: 1000.
 *
 * @since 0.1.0
 * @category constants
 */
export const MaxBatchSize = 1000

/**
 * The maximum duration of reservations and of acquisition tokens: one hour.
 *
 * @since 0.1.0
 * @category constants
 */
export const MaxLifetime: Duration.Duration = Duration.seconds(3600)

/**
 * The maximum length of `detail` in `finishJob` and `failJob`, in bytes of UTF-8: 4096. Longer texts are cropped.
 *
 * @since 0.1.0
 * @category constants
 */
export const MaxFinishDetailBytes = 4096

/**
 * The maximum length of `detail` in a stack notification, in characters (Unicode code points): 256. Longer texts are cropped.
 *
 * @since 0.1.0
 * @category constants
 */
export const MaxNotificationDetailLength = 256

/**
 * The maximum number of notifications of a job: 100.
 *
 * @since 0.1.0
 * @category constants
 */
export const MaxNotificationsPerJob = 100

const fitsBatch = holds<ReadonlyArray<unknown>>(
  ({ length }) => length <= MaxBatchSize,
  `a value with a length of at most ${MaxBatchSize}`,
  { maxItems: MaxBatchSize }
)

const jobUuids = Schema.Array(PathSegment).check(fitsBatch)

// -----------------------------------------------------------------------------
// Tokens
// -----------------------------------------------------------------------------

/**
 * The identity of a client's token: its organization, its cluster, and its queue if it is limited to one. Fields that are missing or
 * null are empty texts.
 *
 * If `clusterUuid` is empty, the token belongs to no cluster and can't be used for stacks.
 *
 * @since 0.2.0
 * @category schemas
 */
export const TokenIdentity = Schema.Struct({
  uuid: Schema.String,
  description: TextOrAbsent,
  tokenType: TextOrAbsent,
  organizationSlug: TextOrAbsent,
  organizationUuid: TextOrAbsent,
  clusterUuid: TextOrAbsent,
  clusterName: TextOrAbsent,
  queueUuid: TextOrAbsent,
  queueKey: TextOrAbsent
}).pipe(
  wireKeys({
    tokenType: "token_type",
    organizationSlug: "organization_slug",
    organizationUuid: "organization_uuid",
    clusterUuid: "cluster_uuid",
    clusterName: "cluster_name",
    queueUuid: "organization_queue_uuid",
    queueKey: "organization_queue_key"
  })
)

/**
 * The identity of a client's token.
 *
 * @since 0.2.0
 * @category models
 */
export type TokenIdentity = typeof TokenIdentity.Type

// -----------------------------------------------------------------------------
// Stacks
// -----------------------------------------------------------------------------

/**
 * The type of a stack. `kubernetes` and `elastic` are reserved for Buildkite's own stacks; use `custom` for others.
 *
 * @since 0.1.0
 * @category schemas
 */
export const StackType = Schema.Literals(["kubernetes", "elastic", "custom"])

/**
 * The type of a stack.
 *
 * @since 0.1.0
 * @category models
 */
export type StackType = typeof StackType.Type

/**
 * The state of a stack: `connected`, `disconnected`, `lost`, or a state that this version does not know.
 *
 * @since 0.1.0
 * @category models
 */
export type StackState = "connected" | "disconnected" | "lost" | (string & {})

/**
 * The schema of {@link StackState}. Unknown states decode unchanged.
 *
 * @since 0.1.0
 * @category schemas
 */
export const StackState: Schema.Codec<StackState, string> = Schema.String

const stackKey = /^[A-Za-z0-9_-]{1,80}$/

/**
 * The key of a stack: 1 to 80 letters, digits, `_` and `-`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const StackKey = Schema.String.check(
  holds(
    (key) => stackKey.test(key),
    "a stack key of 1 to 80 letters, digits, _ and -",
    { pattern: stackKey.source },
    { patterns: [{ source: stackKey.source, flags: "" }] }
  )
)

/**
 * The metadata of a stack: at most 100 strings, with keys of at most 64 characters and values of at most 256.
 *
 * @since 0.1.0
 * @category schemas
 */
export const StackMetadata = Schema.Record(
  Schema.String,
  Schema.String.check(
    holds((value) => hasCodePoints(value, 256), "a value of at most 256 characters", { maxLength: 256 })
  )
).check(
  // The names are not checked by the record's key schema, which would drop invalid names.
  holds(
    (metadata) => {
      const names = Object.keys(metadata)
      return names.length <= 100 && names.every((name) => hasCodePoints(name, 64))
    },
    "at most 100 values, with names of at most 64 characters",
    { maxProperties: 100, propertyNames: { type: "string", maxLength: 64 } }
  )
)

/** A type in a response, which may be one that this version does not know. */
const AnyStackType: Schema.Codec<StackType | (string & {}), string> = Schema.String

/**
 * A registered stack.
 *
 * @since 0.1.0
 * @category schemas
 */
export const RegisteredStack = Schema.Struct({
  id: Schema.String,
  organizationUuid: AnyText,
  clusterQueueKey: AnyText,
  key: Schema.String,
  type: AnyStackType.pipe(withFallback("")),
  metadata: Schema.Record(Schema.String, StringOrNull).pipe(withFallback({})),
  lastConnectedOn: Schema.NullOr(Time).pipe(withFallback(null)),
  state: StackState.pipe(withFallback(""))
}).pipe(
  wireKeys({
    organizationUuid: "organization_uuid",
    clusterQueueKey: "cluster_queue_key",
    lastConnectedOn: "last_connected_on"
  })
)

/**
 * A registered stack.
 *
 * @since 0.1.0
 * @category models
 */
export type RegisteredStack = typeof RegisteredStack.Type

/**
 * The body of `registerStack`. `metadata` is optional, and always sent.
 *
 * @since 0.1.0
 * @category schemas
 */
export const RegisterStackPayload = Schema.Struct({
  key: StackKey,
  type: StackType,
  queueKey: NonEmptyString,
  metadata: StackMetadata.pipe(
    Schema.decodeTo(Schema.optional(StackMetadata), {
      decode: SchemaGetter.passthrough(),
      encode: SchemaGetter.withDefault(Effect.succeed({}))
    })
  )
}).pipe(wireKeys({ queueKey: "queue_key" }))

/**
 * The path parameter that names a stack.
 *
 * @since 0.1.0
 * @category schemas
 */
export const StackParams = Schema.Struct({ stackKey: PathSegment })

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

/**
 * The state of a job. The service may have states that are not in this list.
 *
 * @since 0.1.0
 * @category models
 */
export type JobState =
  | "accepted"
  | "assigned"
  | "blocked"
  | "blocked_failed"
  | "broken"
  | "canceled"
  | "canceling"
  | "expired"
  | "finished"
  | "limited"
  | "limiting"
  | "pending"
  | "platform_limited"
  | "platform_limiting"
  | "running"
  | "scheduled"
  | "reserved"
  | "skipped"
  | "timed_out"
  | "timing_out"
  | "unblocked"
  | "unblocked_failed"
  | "waiting"
  | "waiting_failed"
  | (string & {})

/**
 * The schema of {@link JobState}. Unknown states decode unchanged.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JobState: Schema.Codec<JobState, string> = Schema.String

/**
 * Whether an agent owns a job in this state: `accepted`, `assigned`, `running`, `canceling`, `timing_out`. A stack must not act on such
 * a job.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isAgentOwned = (state: JobState): boolean => agentOwnedStates.has(state)

const agentOwnedStates: ReadonlySet<JobState> = new Set(["accepted", "assigned", "running", "canceling", "timing_out"])

/**
 * Whether a state is final: `finished`, `canceled`, `expired`, `skipped`, `timed_out`, `broken`, `blocked_failed`,
 * `unblocked_failed`, `waiting_failed`.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isFinal = (state: JobState): boolean => finalStates.has(state)

const finalStates: ReadonlySet<JobState> = new Set([
  "finished",
  "canceled",
  "expired",
  "skipped",
  "timed_out",
  "broken",
  "blocked_failed",
  "unblocked_failed",
  "waiting_failed"
])

/**
 * A scheduled job, which a stack may reserve.
 *
 * The nested objects are always present. Any value in them may be null. The job must not be started before `runnableAt`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ScheduledJob = Schema.Struct({
  id: Schema.String,
  priority: Schema.Int,
  agentQueryRules: Schema.Array(Schema.String),
  scheduledAt: Time,
  runnableAt: Schema.optional(Schema.NullOr(Time)),
  pipeline: Schema.Struct({ slug: NullableString, uuid: NullableString }),
  build: Schema.Struct({ uuid: NullableString, number: Schema.NullOr(Schema.Int), branch: NullableString }),
  step: Schema.Struct({ key: NullableString })
}).pipe(
  wireKeys({
    agentQueryRules: "agent_query_rules",
    scheduledAt: "scheduled_at",
    runnableAt: "runnable_at"
  })
)

/**
 * A scheduled job, which a stack may reserve.
 *
 * @since 0.1.0
 * @category models
 */
export interface ScheduledJob {
  readonly id: string
  readonly priority: number
  readonly agentQueryRules: ReadonlyArray<string>
  readonly scheduledAt: DateTime.Utc
  readonly runnableAt?: DateTime.Utc | null | undefined
  readonly pipeline: { readonly slug: string | null; readonly uuid: string | null }
  readonly build: { readonly uuid: string | null; readonly number: number | null; readonly branch: string | null }
  readonly step: { readonly key: string | null }
}

/**
 * The queue of a page. If `dispatchPaused` is true, its jobs are listed but must not be started.
 *
 * On the wire it is `dispatch_paused`, or `paused` if that is missing. Without both, it is undefined: what the service said last still
 * holds.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ClusterQueue = Schema.Struct({
  id: NullableString,
  dispatch_paused: Schema.optional(Schema.NullOr(Schema.Boolean)),
  paused: Schema.optional(Schema.NullOr(Schema.Boolean))
}).pipe(
  Schema.decodeTo(
    Schema.Struct({ id: NullableString, dispatchPaused: Schema.UndefinedOr(Schema.Boolean) }),
    SchemaTransformation.transform({
      decode: ({ dispatch_paused, id, paused }) => ({ id, dispatchPaused: dispatch_paused ?? paused ?? undefined }),
      encode: ({ dispatchPaused, id }) => ({ id, dispatch_paused: dispatchPaused })
    })
  )
)

/**
 * The queue of a page.
 *
 * @since 0.1.0
 * @category models
 */
export type ClusterQueue = typeof ClusterQueue.Type

/**
 * The position of a page: whether another one follows, and its cursor.
 *
 * @since 0.1.0
 * @category schemas
 */
export const PageInfo = Schema.Struct({
  hasNextPage: Schema.Boolean.pipe(withFallback(false)),
  endCursor: NullableString.pipe(Schema.withDecodingDefaultKey(Effect.succeed(null)), withFallback(null))
}).pipe(wireKeys({ hasNextPage: "has_next_page", endCursor: "end_cursor" }))

/**
 * The position of a page.
 *
 * @since 0.1.0
 * @category models
 */
export type PageInfo = typeof PageInfo.Type

/**
 * A listed job that could not be decoded.
 *
 * @since 0.2.0
 * @category models
 */
export interface UndecodableJob {
  /** The id, if it is a text. */
  readonly id?: string
  /** What is wrong, in one line. */
  readonly issue: string
}

/**
 * A page of scheduled jobs, oldest first. The client decodes each job alone: see `undecodable`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ScheduledJobsPage = Schema.Struct({
  jobs: oneByOne(Schema.Array(ScheduledJob), "undecodable"),
  clusterQueue: ClusterQueue,
  pageInfo: PageInfo
}).pipe(wireKeys({ clusterQueue: "cluster_queue", pageInfo: "page_info" }))

/**
 * A page of scheduled jobs.
 *
 * @since 0.1.0
 * @category models
 */
export interface ScheduledJobsPage {
  readonly jobs: ReadonlyArray<ScheduledJob>
  /**
   * The listed jobs that could not be decoded and are not in `jobs`. Omitted if there are none. A null or missing value does not make
   * a job undecodable: `priority` becomes 0, `agentQueryRules` becomes empty, and values of `pipeline`, `build` and `step` become
   * null.
   */
  readonly undecodable?: ReadonlyArray<UndecodableJob> | undefined
  readonly clusterQueue: ClusterQueue
  readonly pageInfo: PageInfo
}

/**
 * The query of `listScheduledJobs`: the queue, the page size (1 to 1000; by default the service decides) and the cursor to start
 * after.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ListScheduledJobsQuery = Schema.Struct({
  clusterQueueKey: NonEmptyString,
  pageSize: omittable(Schema.Int.check(isBetween(1, MaxBatchSize))),
  startCursor: omittable(NonEmptyString)
}).pipe(wireKeys({ clusterQueueKey: "queue_key", pageSize: "limit", startCursor: "after" }))

/**
 * The body of `batchReserveJobs`. The expiry is one second to one hour, and rounded up to whole seconds. The service's default is 15
 * minutes.
 *
 * @since 0.1.0
 * @category schemas
 */
export const BatchReserveJobsPayload = Schema.Struct({
  jobUuids: jobUuids.check(hasItems),
  reservationExpiry: omittable(LifetimeSeconds)
}).pipe(wireKeys({ jobUuids: "job_uuids", reservationExpiry: "reservation_expiry_seconds" }))

/**
 * The jobs that were reserved, and those that could not be, which is not a failure.
 *
 * @since 0.1.0
 * @category schemas
 */
export const BatchReserveJobsResult = Schema.Struct({
  reserved: oneByOne(Schema.Array(Schema.String)),
  notReserved: oneByOne(Schema.Array(Schema.String))
}).pipe(wireKeys({ notReserved: "not_reserved" }))

/**
 * The jobs that were reserved, and those that could not be.
 *
 * @since 0.1.0
 * @category models
 */
export type BatchReserveJobsResult = typeof BatchReserveJobsResult.Type

/**
 * The path parameters that name a job.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JobParams = Schema.Struct({ stackKey: PathSegment, jobUuid: PathSegment })

/**
 * The environment and command of a job. The command is empty if the step has none. They can exceed 100 KB.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JobDetails = Schema.Struct({
  id: Schema.String,
  env: Schema.Record(Schema.String, StringOrNull),
  command: StringOrNull
})

/**
 * The environment and command of a job.
 *
 * @since 0.1.0
 * @category models
 */
export type JobDetails = typeof JobDetails.Type

/**
 * The body of `getJobStates`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const GetJobStatesPayload = Schema.Struct({ jobUuids }).pipe(wireKeys({ jobUuids: "job_uuids" }))

/**
 * The states of jobs by id. Unknown ids are missing.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JobStatesResult = Schema.Struct({ states: oneByOne(Schema.Record(Schema.String, JobState)) })

/**
 * The states of jobs by id.
 *
 * @since 0.1.0
 * @category models
 */
export type JobStatesResult = typeof JobStatesResult.Type

/**
 * Why a job ended, other than by its command. Retry rules of pipelines can match it. Other texts are possible.
 *
 * @since 0.1.0
 * @category models
 */
export type SignalReason =
  | "stack_error"
  | "agent_refused"
  | "agent_stop"
  | "cancel"
  | "signature_rejected"
  | "process_run_error"
  | "agent_incompatible"
  | (string & {})

/**
 * The schema of {@link SignalReason}.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SignalReason: Schema.Codec<SignalReason, string> = NonEmptyString

/** The text of `finishJob`. Encoding crops it; decoding refuses a longer text. */
const FinishDetail = Schema.String.check(
  Schema.makeFilter<string>((detail) => utf8.encode(detail).byteLength <= MaxFinishDetailBytes, {
    expected: "a detail of at most 4096 bytes",
    // JSON Schema can only count characters.
    toJsonSchema: () => [{ minLength: 1, maxLength: MaxFinishDetailBytes }, true]
  })
).pipe(
  Schema.decodeTo(
    NonEmptyString,
    SchemaTransformation.transform({
      decode: (detail: string) => detail,
      encode: (detail: string) => cropBytes(detail, MaxFinishDetailBytes)
    })
  )
)

const utf8 = new TextEncoder()

/**
 * The body of `finishJob`. `detail` is required. The service's default for the exit status is -1.
 *
 * @since 0.1.0
 * @category schemas
 */
export const FinishJobPayload = Schema.Struct({
  exitStatus: omittable(Schema.Int),
  detail: FinishDetail,
  signalReason: omittable(SignalReason)
}).pipe(wireKeys({ exitStatus: "exit_status", signalReason: "signal_reason" }))

// -----------------------------------------------------------------------------
// Notifications
// -----------------------------------------------------------------------------

/**
 * The text of a notification. Encoding crops it. Decoding accepts any text, because the service validates each notification of a batch
 * alone.
 */
const NotificationDetail = Schema.String.check(
  Schema.makeFilter<string>(constTrue, {
    toJsonSchema: () => ({ minLength: 1, maxLength: MaxNotificationDetailLength })
  })
).pipe(
  Schema.decodeTo(
    Schema.String,
    SchemaTransformation.transformEffect({
      decode: (detail: string) => Effect.succeed(detail),
      encode: (detail: string, options) =>
        detail === ""
          ? Effect.fail(
              new SchemaIssue.InvalidValue({ message: "Expected a detail of 1 to 256 characters" }, detail, options)
            )
          : Effect.succeed(cropCharacters(detail, MaxNotificationDetailLength))
    })
  )
)

/**
 * A notification about a job: a text of 1 to 256 characters, and its time, which is now by default.
 *
 * @since 0.1.0
 * @category schemas
 */
export const StackNotification = Schema.Struct({
  jobUuid: PathSegment,
  detail: NotificationDetail,
  timestamp: omittable(Time)
}).pipe(wireKeys({ jobUuid: "job_uuid" }))

/**
 * A notification about a job.
 *
 * @since 0.1.0
 * @category models
 */
export type StackNotification = typeof StackNotification.Type

/**
 * The body of `createStackNotifications`: 1 to 1000 notifications.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CreateStackNotificationsPayload = Schema.Struct({
  notifications: Schema.Array(StackNotification).check(hasItems, fitsBatch)
})

/**
 * The notifications that were not stored: each error with the indexes of its notifications. The others are stored.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CreateStackNotificationsResult = Schema.Struct({
  errors: arrayOrAbsent(Schema.Struct({ error: AnyText, indexes: Schema.Array(Schema.Int) }))
})

/**
 * The notifications that were not stored.
 *
 * @since 0.1.0
 * @category models
 */
export type CreateStackNotificationsResult = typeof CreateStackNotificationsResult.Type

// -----------------------------------------------------------------------------
// Job acquisition tokens
// -----------------------------------------------------------------------------

/**
 * The body of `issueJobAcquisitionTokens`. The lifetime is one second to one hour, and rounded up to whole seconds. The service's default is
 * 15 minutes.
 *
 * @since 0.1.0
 * @category schemas
 */
export const IssueJobAcquisitionTokensPayload = Schema.Struct({
  jobUuids: jobUuids.check(hasItems),
  tokenLifetime: omittable(LifetimeSeconds)
}).pipe(wireKeys({ jobUuids: "job_uuids", tokenLifetime: "token_lifetime_seconds" }))

/**
 * A token with which one agent can register and acquire one reserved job. It ends with the reservation. Do not log or store it.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JobAcquisitionToken = Schema.Struct({
  jobUuid: Schema.String,
  token: Secret,
  expiresAt: Time
}).pipe(wireKeys({ jobUuid: "job_uuid", token: "job_acquisition_token", expiresAt: "expires_at" }))

/**
 * A token with which one agent can register and acquire one reserved job.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobAcquisitionToken {
  readonly jobUuid: string
  readonly token: Redacted.Redacted
  readonly expiresAt: DateTime.Utc
}

/**
 * The issued tokens, and the jobs without one. Do not start jobs in `notIssued`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const IssueJobAcquisitionTokensResult = Schema.Struct({
  tokens: oneByOne(Schema.Array(JobAcquisitionToken)),
  notIssued: oneByOne(arrayOrAbsent(Schema.String))
}).pipe(wireKeys({ tokens: "job_acquisition_tokens", notIssued: "not_issued" }))

/**
 * The issued tokens, and the jobs without one.
 *
 * @since 0.1.0
 * @category models
 */
export interface IssueJobAcquisitionTokensResult {
  readonly tokens: ReadonlyArray<JobAcquisitionToken>
  readonly notIssued: ReadonlyArray<string>
}

// -----------------------------------------------------------------------------
// Errors on the wire
// -----------------------------------------------------------------------------

/**
 * The body of an error response: a message.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ErrorBody = /*#__PURE__*/ Schema.Struct({ message: Schema.String })

/**
 * The body of a 429: the scope, its limit, the number of counted requests, and the seconds until the reset.
 *
 * @since 0.1.0
 * @category schemas
 */
export const RateLimitedBody = /*#__PURE__*/ Schema.Struct({
  message: Schema.String,
  scope: Schema.String,
  limit: Schema.Finite,
  current: Schema.Finite,
  reset: Schema.Finite
})
