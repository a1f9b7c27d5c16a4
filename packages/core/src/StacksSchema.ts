/**
 * The values that travel over the Stacks API: schemas, types, limits and constants.
 *
 * Every schema's decoded side is what users of this library see (camelCase, `DateTime.Utc`, `Redacted`); its encoded side is
 * the JSON on the wire (snake_case, ISO 8601 strings). Fields that the service adds are ignored.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
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
import { OneByOne, Otherwise } from "./internal/schema/lenience.ts"
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

/** A check, and what JSON Schema says of it. `Schema`'s own checks do more than is needed here, and weigh a kilobyte. */
const holds = <T>(
  test: (value: T) => boolean,
  expected: string,
  json: { readonly [keyword: string]: Schema.Json },
  arbitraryConstraint?: Schema.Annotations.ToArbitrary.FilterConstraint
) => Schema.makeFilter<T>(test, { expected, toJsonSchema: () => json, arbitraryConstraint })

const isBetween = (minimum: number, maximum: number) =>
  holds<number>((value) => value >= minimum && value <= maximum, `a value between ${minimum} and ${maximum}`, {
    minimum,
    maximum
  })

const hasItems = holds<ReadonlyArray<unknown>>(
  ({ length }) => length > 0,
  "a value with a length of at least 1",
  { minItems: 1 },
  { minLength: 1 }
)

const fitsBatch = holds<ReadonlyArray<unknown>>(
  ({ length }) => length <= MaxBatchSize,
  `a value with a length of at most ${MaxBatchSize}`,
  { maxItems: MaxBatchSize }
)

const hasCodePoints = (text: string, max: number): boolean => text.length <= max || Array.from(text).length <= max

const NonEmptyString = Schema.String.check(
  holds((text) => text !== "", "a value with a length of at least 1", { minLength: 1 }, { minLength: 1 })
)

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

const timeFromText = SchemaTransformation.transformEffect({
  decode: (text: string, options) =>
    Option.match(DateTime.make(text), {
      onNone: () =>
        Effect.fail(new SchemaIssue.InvalidValue({ expected: "a valid UTC DateTime string" }, text, options)),
      onSome: (time) => Effect.succeed(DateTime.toUtc(time))
    }),
  encode: (time: DateTime.Utc) => Effect.succeed(DateTime.formatIso(time))
})

/** An instant, as ISO 8601 on the wire. `Schema.DateTimeUtcFromString` does more than is needed, and weighs it. */
const Time = Schema.String.annotate({ format: "date-time" }).pipe(
  Schema.decodeTo(
    Schema.declare((u): u is DateTime.Utc => DateTime.isDateTime(u) && DateTime.isUtc(u), {
      expected: "DateTime.Utc",
      toCodecJson: () => Schema.link<DateTime.Utc>()(Schema.String, timeFromText),
      toCodecArbitrary: () =>
        Schema.link<DateTime.Utc>()(
          Schema.Int.check(isBetween(0, 1e13)),
          SchemaTransformation.transform({ decode: DateTime.makeUnsafe, encode: DateTime.toEpochMillis })
        )
    }),
    timeFromText
  ),
  Schema.annotate({ [Direct]: decodeTime })
)

/** A text that can stand as one segment of a URL's path. */
const PathSegment = Schema.String.check(isPathSegment)

const jobUuids = Schema.Array(PathSegment).check(fitsBatch)

const isDurationInput = (input: unknown): input is Duration.Input =>
  Option.isSome(Duration.fromInput(input as Duration.Input))

/** A duration that travels as whole seconds, 1 to 3600; fractions of a second are rounded up. */
const LifetimeSeconds = Schema.Int.check(isBetween(1, 3600)).pipe(
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

/** The same, also where the wire leaves the field out. */
const TextOrAbsent = StringOrNull.pipe(Schema.withDecodingDefaultKey(Effect.succeed("")))

/** A field that may be left out or undefined, and is then left out of the JSON (it would be null otherwise). */
const omittable = <S extends Schema.Top>(schema: S) =>
  Schema.optionalKey(schema).pipe(
    Schema.decodeTo(Schema.optional(Schema.toType(schema)), {
      decode: SchemaGetter.passthrough({ strict: false }),
      encode: SchemaGetter.transformOptional((field) => Option.filter(field, Predicate.isNotUndefined))
    })
  )

const NullableString = Schema.NullOr(Schema.String)

/** What is read as this value where it does not decode, or is not there. */
const otherwise =
  (value: unknown) =>
  <S extends Schema.Top>(self: S) =>
    self.annotate({ [Otherwise]: value })

/** An array or a record whose items are decoded one by one: those that don't decode are left out. */
const oneByOne = <S extends Schema.Top>(self: S, tellAs = "") => self.annotate({ [OneByOne]: tellAs })

const AnyText = Schema.String.pipe(otherwise(""))

/** An array that may be left out on the wire, and is then empty. */
const arrayOrAbsent = <S extends Schema.Top>(item: S) =>
  Schema.Array(item).pipe(Schema.withDecodingDefaultKey(Effect.succeed([])))

// -----------------------------------------------------------------------------
// Tokens
// -----------------------------------------------------------------------------

/**
 * What the service knows of the token that a client uses: its organization, its cluster and, where it is limited to one, its
 * queue. What the service leaves out or sends as null is the empty text.
 *
 * An empty `clusterUuid` means that the token belongs to no cluster: stacks do not work with such a token.
 *
 * @since 0.2.0
 * @category tokens
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
 * What the service knows of the token that a client uses.
 *
 * @since 0.2.0
 * @category tokens
 */
export type TokenIdentity = typeof TokenIdentity.Type

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

const stackKey = /^[A-Za-z0-9_-]{1,80}$/

/**
 * The key by which a stack registers: 1 to 80 letters, digits, `_` and `-`.
 *
 * @since 0.1.0
 * @category stacks
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
 * What a stack says about itself: at most 100 flat strings, keys of at most 64 characters, values of at most 256.
 *
 * @since 0.1.0
 * @category stacks
 */
export const StackMetadata = Schema.Record(
  Schema.String,
  Schema.String.check(
    holds((value) => hasCodePoints(value, 256), "a value of at most 256 characters", { maxLength: 256 })
  )
).check(
  // The names are not checked as the record's own keys: that would drop what doesn't fit instead of refusing it.
  holds(
    (metadata) => {
      const names = Object.keys(metadata)
      return names.length <= 100 && names.every((name) => hasCodePoints(name, 64))
    },
    "at most 100 values, with names of at most 64 characters",
    { maxProperties: 100, propertyNames: { type: "string", maxLength: 64 } }
  )
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
  organizationUuid: AnyText,
  clusterQueueKey: AnyText,
  key: Schema.String,
  type: AnyStackType.pipe(otherwise("")),
  metadata: Schema.Record(Schema.String, StringOrNull).pipe(otherwise({})),
  lastConnectedOn: Schema.NullOr(Time).pipe(otherwise(null)),
  state: StackState.pipe(otherwise(""))
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
  hasNextPage: Schema.Boolean.pipe(otherwise(false)),
  endCursor: NullableString.pipe(Schema.withDecodingDefaultKey(Effect.succeed(null)), otherwise(null))
}).pipe(wireKeys({ hasNextPage: "has_next_page", endCursor: "end_cursor" }))

/**
 * Where a page stands in the list.
 *
 * @since 0.1.0
 * @category jobs
 */
export type PageInfo = typeof PageInfo.Type

/**
 * A listed job that could not be decoded.
 *
 * @since 0.2.0
 * @category jobs
 */
export interface UndecodableJob {
  /** Its id, if that is a text. */
  readonly id?: string
  /** What is wrong with it, in one line. */
  readonly issue: string
}

/**
 * One page of scheduled jobs, the oldest first.
 *
 * The client decodes each job by itself: see `undecodable` of the type.
 *
 * @since 0.1.0
 * @category jobs
 */
export const ScheduledJobsPage = Schema.Struct({
  jobs: oneByOne(Schema.Array(ScheduledJob), "undecodable"),
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
  /**
   * The listed jobs that could not be decoded, which are not among `jobs`; left out where there are none. A null, or what is
   * missing in a job, is no reason: a `priority` is then 0, `agentQueryRules` empty, and the values of `pipeline`, `build` and
   * `step` null.
   */
  readonly undecodable?: ReadonlyArray<UndecodableJob> | undefined
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
  clusterQueueKey: NonEmptyString,
  pageSize: omittable(Schema.Int.check(isBetween(1, MaxBatchSize))),
  startCursor: omittable(NonEmptyString)
}).pipe(wireKeys({ clusterQueueKey: "queue_key", pageSize: "limit", startCursor: "after" }))

/**
 * The body of `batchReserveJobs`. The expiry is rounded up to whole seconds, at most one hour; the service's default is
 * 15 minutes.
 *
 * @since 0.1.0
 * @category jobs
 */
export const BatchReserveJobsPayload = Schema.Struct({
  jobUuids: jobUuids.check(hasItems),
  reservationExpiry: omittable(LifetimeSeconds)
}).pipe(wireKeys({ jobUuids: "job_uuids", reservationExpiry: "reservation_expiry_seconds" }))

/**
 * Which jobs were reserved and which could not be. Neither is a failure.
 *
 * @since 0.1.0
 * @category jobs
 */
export const BatchReserveJobsResult = Schema.Struct({
  reserved: oneByOne(Schema.Array(Schema.String)),
  notReserved: oneByOne(Schema.Array(Schema.String))
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
export const JobStatesResult = Schema.Struct({ states: oneByOne(Schema.Record(Schema.String, JobState)) })

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
export const SignalReason: Schema.Codec<SignalReason, string> = NonEmptyString

/** The text of `finishJob`: cropped when it is sent, held to its limit when it is received. */
const FinishDetail = Schema.String.check(
  Schema.makeFilter<string>((detail) => utf8.encode(detail).byteLength <= MaxFinishDetailBytes, {
    expected: "a detail of at most 4096 bytes",
    // As near as JSON Schema gets: it counts characters.
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
  notifications: Schema.Array(StackNotification).check(hasItems, fitsBatch)
})

/**
 * What the service did not store, and why: each error with the positions, from 0, of the notifications that it is about. The
 * others are stored.
 *
 * @since 0.1.0
 * @category notifications
 */
export const CreateStackNotificationsResult = Schema.Struct({
  errors: arrayOrAbsent(Schema.Struct({ error: AnyText, indexes: Schema.Array(Schema.Int) }))
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
  jobUuids: jobUuids.check(hasItems),
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
  tokens: oneByOne(Schema.Array(JobAcquisitionToken)),
  notIssued: oneByOne(arrayOrAbsent(Schema.String))
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
