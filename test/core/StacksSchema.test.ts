/** Every schema says the same in both directions. */
import { assert, describe, it } from "@effect/vitest"
import { StacksSchema } from "@stacksapi/core"
import { Arbitrary, DateTime, Duration, Equal, Option, Predicate, Redacted, Schema } from "effect"

type AnySchema = Schema.Codec<unknown, unknown>

const id = StacksSchema.StackKey
const seconds = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3600 }))

/** Values that can be sent as they are: the schemas take more, and make it fit. */
const notification = Arbitrary.schema(
  Schema.Struct({
    jobUuid: id,
    detail: Schema.NonEmptyString,
    timestamp: Schema.optionalKey(Schema.DateTimeUtc)
  })
).pipe(Arbitrary.filter(({ detail }) => detail.isWellFormed()))

const batch = (name: string) =>
  Arbitrary.schema(
    Schema.Struct({
      jobUuids: Schema.Array(id).check(Schema.isMinLength(1)),
      seconds: Schema.optionalKey(seconds)
    })
  ).pipe(
    Arbitrary.map(({ jobUuids, seconds }) => ({
      jobUuids,
      ...(seconds !== undefined && { [name]: Duration.seconds(seconds) })
    }))
  )

const segment = Arbitrary.filter(
  Arbitrary.schema(Schema.NonEmptyString),
  (text) => text.isWellFormed() && text !== "." && text !== ".."
)

const special: Record<string, Arbitrary.Arbitrary<unknown>> = {
  StackParams: Arbitrary.all({ stackKey: segment }),
  JobParams: Arbitrary.all({ stackKey: segment, jobUuid: segment }),
  StackNotification: notification,
  CreateStackNotificationsPayload: Arbitrary.map(Arbitrary.array(notification, { minLength: 1 }), (notifications) => ({
    notifications
  })),
  BatchReserveJobsPayload: batch("reservationExpiry"),
  IssueJobAcquisitionTokensPayload: batch("tokenLifetime"),
  FinishJobPayload: Arbitrary.schema(StacksSchema.FinishJobPayload).pipe(
    Arbitrary.filter(({ detail }) => detail.isWellFormed())
  ),
  RegisterStackPayload: Arbitrary.schema(StacksSchema.RegisterStackPayload).pipe(
    Arbitrary.map((payload) => ({ ...payload, metadata: payload.metadata ?? {} }))
  )
}

const exported: Record<string, unknown> = StacksSchema

const schemas = Object.entries(exported).filter((entry): entry is [string, AnySchema] => Schema.isSchema(entry[1]))

/** Undefined and missing are the same to their users. */
const withoutUndefined = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutUndefined)
  if (
    !Predicate.isObject(value) ||
    DateTime.isDateTime(value) ||
    Redacted.isRedacted(value) ||
    Duration.isDuration(value)
  ) {
    return value
  }
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .map(([key, field]) => [key, withoutUndefined(field)])
  )
}

describe("A value that is encoded to JSON and decoded", () => {
  it("is the same value, for every schema", () => {
    assert.isAbove(schemas.length, 20)
  })

  for (const [name, schema] of schemas) {
    it.prop(
      name,
      [special[name] ?? Arbitrary.schema(schema)],
      ([value]) => {
        const wire: unknown = JSON.parse(JSON.stringify(Schema.encodeUnknownSync(schema)(value)))
        const back = Schema.decodeUnknownSync(schema)(wire)
        assert.isTrue(Equal.equals(withoutUndefined(back), withoutUndefined(value)), JSON.stringify([wire, back]))
        // And once more: nothing is lost on the way.
        assert.deepStrictEqual(JSON.parse(JSON.stringify(Schema.encodeUnknownSync(schema)(back))), wire)
      },
      { arbitrary: { runs: 150, seed: "stacks" } }
    )
  }
})

describe("The names on the wire", () => {
  it("are snake_case in a page", () => {
    const at = DateTime.makeUnsafe("2026-10-01T12:34:56.789Z")
    const job = {
      id: "j",
      priority: 1,
      agentQueryRules: ["a=b"],
      scheduledAt: at,
      runnableAt: null,
      pipeline: { slug: "p", uuid: null },
      build: { uuid: null, number: 1, branch: null },
      step: { key: null }
    }
    const page = {
      jobs: [job],
      clusterQueue: { id: "q", dispatchPaused: true },
      pageInfo: { hasNextPage: true, endCursor: "c" }
    }
    assert.deepStrictEqual(Schema.encodeSync(StacksSchema.ScheduledJobsPage)(page), {
      jobs: [
        {
          id: "j",
          priority: 1,
          agent_query_rules: ["a=b"],
          scheduled_at: "2026-10-01T12:34:56.789Z",
          runnable_at: null,
          pipeline: { slug: "p", uuid: null },
          build: { uuid: null, number: 1, branch: null },
          step: { key: null }
        }
      ],
      cluster_queue: { id: "q", dispatch_paused: true },
      page_info: { has_next_page: true, end_cursor: "c" }
    })
  })
})

describe("The schemas reject", () => {
  const refuses = <S extends Schema.Codec<unknown, unknown>>(schema: S, wire: unknown) =>
    assert.isTrue(Option.isNone(Schema.decodeUnknownOption(schema)(wire)), JSON.stringify(wire).slice(0, 100))

  it("details of more than 4096 bytes and empty details", () => {
    const { FinishJobPayload } = StacksSchema
    refuses(FinishJobPayload, { detail: "" })
    refuses(FinishJobPayload, { detail: "a".repeat(4097) })
    refuses(FinishJobPayload, { detail: "€".repeat(1366) })
    refuses(FinishJobPayload, { detail: "d", exit_status: 1.5 })
    refuses(FinishJobPayload, { exit_status: 0 })
    assert.deepStrictEqual(Schema.decodeUnknownSync(FinishJobPayload)({ detail: "a".repeat(4096) }), {
      detail: "a".repeat(4096)
    })
  })

  it("batches of 0 or more than 1000 items, and lifetimes of more than an hour", () => {
    const { BatchReserveJobsPayload } = StacksSchema
    refuses(BatchReserveJobsPayload, { job_uuids: [] })
    refuses(BatchReserveJobsPayload, { job_uuids: Array.from({ length: 1001 }, String) })
    refuses(BatchReserveJobsPayload, { job_uuids: ["a"], reservation_expiry_seconds: 3601 })
    refuses(BatchReserveJobsPayload, { job_uuids: ["a"], reservation_expiry_seconds: 0 })
    refuses(BatchReserveJobsPayload, { job_uuids: ["a"], reservation_expiry_seconds: null })
  })

  it("invalid keys and metadata", () => {
    const { RegisterStackPayload } = StacksSchema
    const payload = { key: "k", type: "custom", queue_key: "q", metadata: {} }
    refuses(RegisterStackPayload, { ...payload, key: "a b" })
    refuses(RegisterStackPayload, { ...payload, type: "mainframe" })
    refuses(RegisterStackPayload, { ...payload, metadata: undefined })
    refuses(RegisterStackPayload, { ...payload, metadata: { a: 1 } })
    refuses(RegisterStackPayload, { ...payload, metadata: { ["k".repeat(65)]: "" } })
    assert.isTrue(Option.isSome(Schema.decodeUnknownOption(RegisterStackPayload)(payload)))
  })

  it("only the invalid notification of a batch", () => {
    const decoded = Schema.decodeUnknownSync(StacksSchema.CreateStackNotificationsPayload)({
      notifications: [
        { job_uuid: "a", detail: "" },
        { job_uuid: "b", detail: "x".repeat(1000) },
        { job_uuid: "c", detail: "fine" }
      ]
    })
    assert.deepStrictEqual(
      decoded.notifications.map(({ detail }) => detail.length),
      [0, 1000, 4]
    )
  })
})
