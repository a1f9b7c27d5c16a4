/**
 * The values that travel over the Stacks API: schemas, types, limits and constants.
 *
 * Every schema's decoded side is what users of this library see (camelCase, `DateTime.Utc`, `Redacted`); its encoded side is
 * the JSON on the wire (snake_case, ISO 8601 strings). Fields that the service adds are ignored.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { constTrue } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { Direct, giveUp, WireKeys } from "./internal/schema/decoder.ts"
import { cropBytes, cropCharacters } from "./internal/schema/text.ts"
import { decodeTime } from "./internal/schema/time.ts"

// -----------------------------------------------------------------------------
// Constants
// -----------------------------------------------------------------------------

/**
 * The key of a cluster's default queue: `_default`, as the reference client spells it. Buildkite's documentation writes
 * `__default__` for the same queue; this library sends the key exactly as the caller gives it.
 *
 * @since 0.1.0
 * @category constants
 */
export const DefaultQueue = "_default"

/**
 * The most jobs or notifications that one request may carry: 1000.
 *
 * @since 0.1.0
 * @category constants
 */
export const MaxBatchSize = 1000

/**
 * The longest reservation and the longest token lifetime that the service grants: one hour.
 *
 * @since 0.1.0
 * @category constants
 */
export const MaxLifetime: Duration.Duration = Duration.seconds(3600)

/**
 * The longest `detail` of `finishJob` and `failJob`, in bytes of UTF-8: 4096. Longer texts are cropped.
 *
 * @since 0.1.0
 * @category constants
 */
export const MaxFinishDetailBytes = 4096

/**
 * The longest `detail` of a stack notification, in characters (Unicode code points): 256. Longer texts are cropped.
 *
 * @since 0.1.0
 * @category constants
 */
export const MaxNotificationDetailLength = 256

/**
 * The most notifications that the service keeps for one job: 100.
 *
 * @since 0.1.0
 * @category constants
 */
export const MaxNotificationsPerJob = 100

// -----------------------------------------------------------------------------
// Building blocks
// -----------------------------------------------------------------------------

const isPathSegment = Schema.makeFilter<string>(
  (text) => text !== "" && text !== "." && text !== ".." && text.isWellFormed(),
  { expected: `a non-empty text of valid Unicode, other than "." and ".."` }
)

/** Gives keys their names on the wire. */
const wireKeys =
  <
    S extends Schema.Constraint & { readonly fields: Schema.Struct.Fields },
    const M extends { readonly [K in keyof S["fields"]]?: string }
  >(
    keys: M
  ) =>
  (self: S) =>
    Schema.encodeKeys<S, M>(keys)(self).pipe(Schema.annotate({ [WireKeys]: keys }))

/** An instant, as ISO 8601 on the wire. */
const Time = Schema.DateTimeUtcFromString.pipe(
  Schema.annotateEncoded({ format: "date-time" }),
  Schema.annotate({ [Direct]: decodeTime })
)

/** A text that can stand as one segment of a URL's path. */
const PathSegment = Schema.String.check(isPathSegment)

const jobUuids = Schema.Array(PathSegment).check(Schema.isMaxLength(MaxBatchSize))

const isDurationInput = (input: unknown): input is Duration.Input =>
  Option.isSome(Duration.fromInput(input as Duration.Input))

/** A duration that travels as whole seconds, 1 to 3600; fractions of a second are rounded up. */
const LifetimeSeconds = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3600 })).pipe(
  Schema.decodeTo(
    Schema.declare<Duration.Input>(isDurationInput, { expected: "a duration between 1 second and 1 hour" }),
    SchemaTransformation.transform({
      decode: (seconds: number): Duration.Input => Duration.seconds(seconds),
      encode: (input: Duration.Input) => Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(input)) / 1000)
    })
  )
)

const redacting = SchemaTransformation.transform({
  decode: (text: string) => Redacted.make(text),
  encode: (secret: Redacted.Redacted) => Redacted.value(secret)
})

/** A text that is only shown to who asks for it. `Schema.RedactedFromValue` does more than is needed, and weighs it. */
const Secret = Schema.String.pipe(
  Schema.decodeTo(
    Schema.declare((u): u is Redacted.Redacted => Redacted.isRedacted(u), {
      expected: "a redacted text",
      toCodecJson: () => Schema.link<Redacted.Redacted>()(Schema.String, redacting)
    }),
    redacting
  )
)

/** A text in which the wire's `null`, or its absence, reads as the empty text. */
const StringOrNull = Schema.NullOr(Schema.String).pipe(
  Schema.decodeTo(
    Schema.String,
    SchemaTransformation.transform<string, string | null>({ decode: (text) => text ?? "", encode: (text) => text })
  ),
  Schema.annotate({
    [Direct]: (input: unknown) => (input === null ? "" : Predicate.isString(input) ? input : giveUp)
  })
)

/** A field that may be left out or undefined, and is then left out of the JSON (it would be null otherwise). */
const omittable = <S extends Schema.Top>(schema: S) =>
  Schema.optionalKey(schema).pipe(
    Schema.decodeTo(Schema.optional(Schema.toType(schema)), {
      decode: SchemaGetter.passthrough({ strict: false }),
      encode: SchemaGetter.transformOptional((field) => Option.filter(field, Predicate.isNotUndefined))
    })
  )

const NullableString = Schema.NullOr(Schema.String)

/** An array that may be left out on the wire, and is then empty. */
const arrayOrAbsent = <S extends Schema.Top>(item: S) =>
  Schema.Array(item).pipe(Schema.withDecodingDefaultKey(Effect.succeed([])))

/** Texts that may be null or left out on the wire, and are then none. */
const stringsOrNone = Schema.NullOr(Schema.Array(Schema.String)).pipe(
  Schema.decodeTo(
    Schema.Array(Schema.String),
    SchemaTransformation.transform<ReadonlyArray<string>, ReadonlyArray<string> | null>({
      decode: (texts) => texts ?? [],
      encode: (texts) => texts
    })
  ),
  Schema.withDecodingDefaultKey(Effect.succeed([]))
)

// -----------------------------------------------------------------------------
// Stacks
// -----------------------------------------------------------------------------

/**
 * What kind of stack it is. `kubernetes` and `elastic` are reserved for Buildkite's own stacks; `custom` is everybody else's.
 *
 * @since 0.1.0
 * @category stacks
 */
export const StackType = Schema.Literals(["kubernetes", "elastic", "custom"])

/**
 * What kind of stack it is.
 *
 * @since 0.1.0
 * @category stacks
 */
export type StackType = typeof StackType.Type

/**
 * Whether the service hears from the stack: `connected`, `disconnected`, `lost`, or a state that did not exist when this
 * version was written.
 *
 * @since 0.1.0
 * @category stacks
 */
export type StackState = "connected" | "disconnected" | "lost" | (string & {})

/**
 * The schema of {@link StackState}. Unknown states decode as they are.
 *
 * @since 0.1.0
 * @category stacks
 */
export const StackState: Schema.Codec<StackState, string> = Schema.String

/**
 * The key by which a stack registers: 1 to 80 letters, digits, `_` and `-`.
 *
 * @since 0.1.0
 * @category stacks
 */
export const StackKey = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9_-]{1,80}$/u, { expected: "a stack key of 1 to 80 letters, digits, _ and -" })
)

/**
 * What a stack says about itself: at most 100 flat strings, keys of at most 64 characters, values of at most 256.
 *
 * @since 0.1.0
 * @category stacks
 */
export const StackMetadata = Schema.Record(Schema.String, Schema.String.check(Schema.isMaxCodePoints(256))).check(
  Schema.isMaxProperties(100),
  // Not as the record's own key: that would drop what doesn't fit instead of refusing it.
  Schema.isPropertyNames(Schema.String.check(Schema.isMaxCodePoints(64)))
)

/** A type that the service answers: it may know more of them than we do. */
const AnyStackType: Schema.Codec<StackType | (string & {}), string> = Schema.String

/**
 * A registered stack.
 *
 * @since 0.1.0
 * @category stacks
 */
export const RegisteredStack = Schema.Struct({
  id: Schema.String,
  organizationUuid: Schema.String,
  clusterQueueKey: Schema.String,
  key: Schema.String,
  type: AnyStackType,
  metadata: Schema.Record(Schema.String, StringOrNull),
  lastConnectedOn: Schema.NullOr(Time),
  state: StackState
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
 * @category stacks
 */
export type RegisteredStack = typeof RegisteredStack.Type

/**
 * The body of `registerStack`. `metadata` is optional here and always sent.
 *
 * @since 0.1.0
 * @category stacks
 */
export const RegisterStackPayload = Schema.Struct({
  key: StackKey,
  type: StackType,
  queueKey: Schema.NonEmptyString,
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
 * @category stacks
 */
export const StackParams = Schema.Struct({ stackKey: PathSegment })

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

/**
 * The state of a job. Unknown states are passed through: the service may know more than this list.
 *
 * @since 0.1.0
 * @category jobs
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
 * The schema of {@link JobState}. Unknown states decode as they are.
 *
 * @since 0.1.0
 * @category jobs
 */
export const JobState: Schema.Codec<JobState, string> = Schema.String

/**
 * Whether an agent owns a job in this state: `accepted`, `assigned`, `running`, `canceling`, `timing_out`. A stack leaves
 * such a job alone.
 *
 * @since 0.1.0
 * @category jobs
 */
export const isAgentOwned = (state: JobState): boolean => agentOwnedStates.has(state)

const agentOwnedStates: ReadonlySet<JobState> = new Set(["accepted", "assigned", "running", "canceling", "timing_out"])

/**
 * Whether no job leaves this state any more: `finished`, `canceled`, `expired`, `skipped`, `timed_out`, `broken`,
 * `blocked_failed`, `unblocked_failed`, `waiting_failed`.
 *
 * @since 0.1.0
 * @category jobs
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
 * A job that waits to be taken by a stack.
 *
 * The nested objects are always present, and any value in them may be null. `runnableAt` in the future: not to be started
 * before then.
 *
 * @since 0.1.0
 * @category jobs
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
 * A job that waits to be taken by a stack.
 *
 * @since 0.1.0
 * @category jobs
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
 * The queue that a page was listed from. `dispatchPaused`: its jobs are listed, and must not be started.
 *
 * The service sends `dispatch_paused`; `paused` is read where only that is sent, and neither means not paused.
 *
 * @since 0.1.0
 * @category jobs
 */
export const ClusterQueue = Schema.Struct({
  id: NullableString,
  dispatch_paused: Schema.optional(Schema.NullOr(Schema.Boolean)),
  paused: Schema.optional(Schema.NullOr(Schema.Boolean))
}).pipe(
  Schema.decodeTo(
    Schema.Struct({ id: NullableString, dispatchPaused: Schema.Boolean }),
    SchemaTransformation.transform({
      decode: ({ dispatch_paused, id, paused }) => ({ id, dispatchPaused: dispatch_paused ?? paused ?? false }),
      encode: ({ dispatchPaused, id }) => ({ id, dispatch_paused: dispatchPaused })
    })
  )
)

/**
 * The queue that a page was listed from.
 *
 * @since 0.1.0
 * @category jobs
 */
export type ClusterQueue = typeof ClusterQueue.Type

/**
 * Where a page stands in the list: whether another one follows, and the cursor to ask for it.
 *
 * @since 0.1.0
 * @category jobs
 */
export const PageInfo = Schema.Struct({
  hasNextPage: Schema.Boolean,
  endCursor: NullableString.pipe(Schema.withDecodingDefaultKey(Effect.succeed(null)))
}).pipe(wireKeys({ hasNextPage: "has_next_page", endCursor: "end_cursor" }))

/**
 * Where a page stands in the list.
 *
 * @since 0.1.0
 * @category jobs
 */
export type PageInfo = typeof PageInfo.Type

/**
 * One page of scheduled jobs, the oldest first.
 *
 * @since 0.1.0
 * @category jobs
 */
export const ScheduledJobsPage = Schema.Struct({
  jobs: Schema.Array(ScheduledJob),
  clusterQueue: ClusterQueue,
  pageInfo: PageInfo
}).pipe(wireKeys({ clusterQueue: "cluster_queue", pageInfo: "page_info" }))

/**
 * One page of scheduled jobs.
 *
 * @since 0.1.0
 * @category jobs
 */
export interface ScheduledJobsPage {
  readonly jobs: ReadonlyArray<ScheduledJob>
  readonly clusterQueue: ClusterQueue
  readonly pageInfo: PageInfo
}

/**
 * The query of `listScheduledJobs`: the queue, the page's size (1 to 1000; the service decides where it is left out) and
 * the cursor to start after.
 *
 * @since 0.1.0
 * @category jobs
 */
export const ListScheduledJobsQuery = Schema.Struct({
  clusterQueueKey: Schema.NonEmptyString,
  pageSize: omittable(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: MaxBatchSize }))),
  startCursor: omittable(Schema.NonEmptyString)
}).pipe(wireKeys({ clusterQueueKey: "queue_key", pageSize: "limit", startCursor: "after" }))

/**
 * The body of `batchReserveJobs`. The expiry is rounded up to whole seconds, at most one hour; the service's default is
 * 15 minutes.
 *
 * @since 0.1.0
 * @category jobs
 */
export const BatchReserveJobsPayload = Schema.Struct({
  jobUuids: jobUuids.check(Schema.isMinLength(1)),
  reservationExpiry: omittable(LifetimeSeconds)
}).pipe(wireKeys({ jobUuids: "job_uuids", reservationExpiry: "reservation_expiry_seconds" }))

/**
 * Which jobs were reserved and which could not be. Neither is a failure.
 *
 * @since 0.1.0
 * @category jobs
 */
export const BatchReserveJobsResult = Schema.Struct({
  reserved: stringsOrNone,
  notReserved: stringsOrNone
}).pipe(wireKeys({ notReserved: "not_reserved" }))

/**
 * Which jobs were reserved and which could not be.
 *
 * @since 0.1.0
 * @category jobs
 */
export type BatchReserveJobsResult = typeof BatchReserveJobsResult.Type

/**
 * The path parameters that name a job.
 *
 * @since 0.1.0
 * @category jobs
 */
export const JobParams = Schema.Struct({ stackKey: PathSegment, jobUuid: PathSegment })

/**
 * What a job runs: its environment and its command (empty where a step has none). Can exceed 100 KB.
 *
 * @since 0.1.0
 * @category jobs
 */
export const JobDetails = Schema.Struct({
  id: Schema.String,
  env: Schema.Record(Schema.String, StringOrNull),
  command: StringOrNull
})

/**
 * What a job runs: its environment and its command.
 *
 * @since 0.1.0
 * @category jobs
 */
export type JobDetails = typeof JobDetails.Type

/**
 * The body of `getJobStates`.
 *
 * @since 0.1.0
 * @category jobs
 */
export const GetJobStatesPayload = Schema.Struct({ jobUuids }).pipe(wireKeys({ jobUuids: "job_uuids" }))

/**
 * The states of jobs by id. Ids that the service does not know are missing.
 *
 * @since 0.1.0
 * @category jobs
 */
export const JobStatesResult = Schema.Struct({ states: Schema.Record(Schema.String, JobState) })

/**
 * The states of jobs by id.
 *
 * @since 0.1.0
 * @category jobs
 */
export type JobStatesResult = typeof JobStatesResult.Type

/**
 * Why a job ended without its command deciding it. Pipelines' retry rules match on it; other texts are passed through.
 *
 * @since 0.1.0
 * @category jobs
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
 * @category jobs
 */
export const SignalReason: Schema.Codec<SignalReason, string> = Schema.NonEmptyString

/** The text of `finishJob`: cropped when it is sent, held to its limit when it is received. */
const FinishDetail = Schema.String.check(
  Schema.makeFilter<string>((detail) => utf8.encode(detail).byteLength <= MaxFinishDetailBytes, {
    expected: "a detail of at most 4096 bytes",
    // As near as JSON Schema gets: it counts characters.
    toJsonSchema: () => [{ minLength: 1, maxLength: MaxFinishDetailBytes }, true]
  })
).pipe(
  Schema.decodeTo(
    Schema.NonEmptyString,
    SchemaTransformation.transform({
      decode: (detail: string) => detail,
      encode: (detail: string) => cropBytes(detail, MaxFinishDetailBytes)
    })
  )
)

const utf8 = new TextEncoder()

/**
 * The body of `finishJob`. The service takes -1 for a missing exit status; 0 is sent. `detail` is required.
 *
 * @since 0.1.0
 * @category jobs
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
 * The text of a notification: cropped when it is sent. When it is received any text passes, because the service judges each
 * notification of a batch on its own: a bad one must not spoil the reading of the others.
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
 * One notification about a job: a text of 1 to 256 characters and, unless it is now, when it happened.
 *
 * @since 0.1.0
 * @category notifications
 */
export const StackNotification = Schema.Struct({
  jobUuid: PathSegment,
  detail: NotificationDetail,
  timestamp: omittable(Time)
}).pipe(wireKeys({ jobUuid: "job_uuid" }))

/**
 * One notification about a job.
 *
 * @since 0.1.0
 * @category notifications
 */
export type StackNotification = typeof StackNotification.Type

/**
 * The body of `createStackNotifications`: 1 to 1000 notifications.
 *
 * @since 0.1.0
 * @category notifications
 */
export const CreateStackNotificationsPayload = Schema.Struct({
  notifications: Schema.Array(StackNotification).check(Schema.isMinLength(1), Schema.isMaxLength(MaxBatchSize))
})

/**
 * What the service did not store, and why: each error with the positions, from 0, of the notifications that it is about. The
 * others are stored.
 *
 * @since 0.1.0
 * @category notifications
 */
export const CreateStackNotificationsResult = Schema.Struct({
  errors: arrayOrAbsent(Schema.Struct({ error: Schema.String, indexes: Schema.Array(Schema.Int) }))
})

/**
 * What the service did not store, and why.
 *
 * @since 0.1.0
 * @category notifications
 */
export type CreateStackNotificationsResult = typeof CreateStackNotificationsResult.Type

// -----------------------------------------------------------------------------
// Job acquisition tokens
// -----------------------------------------------------------------------------

/**
 * The body of `issueJobAcquisitionTokens`. The lifetime is rounded up to whole seconds, at most one hour; the service's
 * default is 15 minutes.
 *
 * @since 0.1.0
 * @category tokens
 */
export const IssueJobAcquisitionTokensPayload = Schema.Struct({
  jobUuids: jobUuids.check(Schema.isMinLength(1)),
  tokenLifetime: omittable(LifetimeSeconds)
}).pipe(wireKeys({ jobUuids: "job_uuids", tokenLifetime: "token_lifetime_seconds" }))

/**
 * A token that lets one agent register and acquire one reserved job. It ends with the reservation. Never log or store it.
 *
 * @since 0.1.0
 * @category tokens
 */
export const JobAcquisitionToken = Schema.Struct({
  jobUuid: Schema.String,
  token: Secret,
  expiresAt: Time
}).pipe(wireKeys({ jobUuid: "job_uuid", token: "job_acquisition_token", expiresAt: "expires_at" }))

/**
 * A token that lets one agent register and acquire one reserved job.
 *
 * @since 0.1.0
 * @category tokens
 */
export interface JobAcquisitionToken {
  readonly jobUuid: string
  readonly token: Redacted.Redacted
  readonly expiresAt: DateTime.Utc
}

/**
 * The tokens that were issued, and the jobs that got none. Never start a job in `notIssued`.
 *
 * @since 0.1.0
 * @category tokens
 */
export const IssueJobAcquisitionTokensResult = Schema.Struct({
  tokens: Schema.Array(JobAcquisitionToken),
  notIssued: stringsOrNone
}).pipe(wireKeys({ tokens: "job_acquisition_tokens", notIssued: "not_issued" }))

/**
 * The tokens that were issued, and the jobs that got none.
 *
 * @since 0.1.0
 * @category tokens
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
 * @category errors
 */
export const ErrorBody = /*#__PURE__*/ Schema.Struct({ message: Schema.String })

/**
 * The body of a 429: which limit was hit, how high it is, how many requests were counted, and in how many seconds it resets.
 *
 * @since 0.1.0
 * @category errors
 */
export const RateLimitedBody = /*#__PURE__*/ Schema.Struct({
  message: Schema.String,
  scope: Schema.String,
  limit: Schema.Finite,
  current: Schema.Finite,
  reset: Schema.Finite
})
