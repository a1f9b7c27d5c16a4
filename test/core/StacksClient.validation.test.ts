/** What the service would refuse fails with InvalidRequest, and nothing is sent. */
import { assert, describe, it } from "@effect/vitest"
import { StacksClient, type StacksError } from "@stacksapi/core"
import { Duration, Effect } from "effect"
import { answers, jobUuid } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

type Call = (
  client: StacksClient.Service
) => Effect.Effect<unknown, StacksError.StacksError | StacksError.NotificationRejected>

const uuids = (count: number) => Array.from({ length: count }, (_, index) => `job-${index}`)

const stackKey = "my-stack"

const refused: ReadonlyArray<readonly [what: string, call: Call, says: RegExp]> = [
  ...["", ".", ".."].flatMap((id) => [
    [
      `getJob of the stack "${id}"`,
      (c: StacksClient.Service) => c.getJob({ stackKey: id, jobUuid }),
      /stackKey/
    ] as const,
    [`getJob of the job "${id}"`, (c: StacksClient.Service) => c.getJob({ stackKey, jobUuid: id }), /jobUuid/] as const,
    [
      `finishJob of the job "${id}"`,
      (c: StacksClient.Service) => c.finishJob({ stackKey, jobUuid: id, detail: "d" }),
      /jobUuid/
    ] as const,
    [
      `deregisterStack of "${id}"`,
      (c: StacksClient.Service) => c.deregisterStack({ stackKey: id }),
      /stackKey/
    ] as const,
    [
      `getJobStates of the job "${id}"`,
      (c: StacksClient.Service) => c.getJobStates({ stackKey, jobUuids: ["a", id] }),
      /jobUuids/
    ] as const
  ]),
  ["an id with half a character", (c) => c.getJob({ stackKey, jobUuid: "a\ud83d" }), /jobUuid/],

  ["registerStack with an empty key", (c) => c.registerStack({ key: "", type: "custom", queueKey: "q" }), /key/],
  ["a key with a dot", (c) => c.registerStack({ key: "a.b", type: "custom", queueKey: "q" }), /key/],
  ["a key with a line break at its end", (c) => c.registerStack({ key: "a\n", type: "custom", queueKey: "q" }), /key/],
  ["a key with an accent", (c) => c.registerStack({ key: "ä", type: "custom", queueKey: "q" }), /key/],
  ["a key of 81 bytes", (c) => c.registerStack({ key: "k".repeat(81), type: "custom", queueKey: "q" }), /key/],
  ["an empty queue", (c) => c.registerStack({ key: "k", type: "custom", queueKey: "" }), /queueKey/],
  [
    "101 keys of metadata",
    (c) =>
      c.registerStack({
        key: "k",
        type: "custom",
        queueKey: "q",
        metadata: Object.fromEntries(uuids(101).map((key) => [key, ""]))
      }),
    /metadata/
  ],
  [
    "a metadata key of 65 characters",
    (c) => c.registerStack({ key: "k", type: "custom", queueKey: "q", metadata: { ["k".repeat(65)]: "" } }),
    /metadata/
  ],
  [
    "a metadata value of 257 characters",
    (c) => c.registerStack({ key: "k", type: "custom", queueKey: "q", metadata: { k: "v".repeat(257) } }),
    /metadata/
  ],

  ["listing an empty queue key", (c) => c.listScheduledJobs({ stackKey, clusterQueueKey: "" }), /clusterQueueKey/],
  ...[0, -1, 1001, 1.5, Number.NaN, Number.POSITIVE_INFINITY].map(
    (pageSize) =>
      [
        `a page size of ${pageSize}`,
        (c: StacksClient.Service) => c.listScheduledJobs({ stackKey, clusterQueueKey: "q", pageSize }),
        /pageSize/
      ] as const
  ),
  ["an empty cursor", (c) => c.listScheduledJobs({ stackKey, clusterQueueKey: "q", startCursor: "" }), /startCursor/],

  ["reserving no job", (c) => c.batchReserveJobs({ stackKey, jobUuids: [] }), /jobUuids/],
  ["reserving 1001 jobs", (c) => c.batchReserveJobs({ stackKey, jobUuids: uuids(1001) }), /jobUuids/],
  ["reserving an empty id", (c) => c.batchReserveJobs({ stackKey, jobUuids: [""] }), /jobUuids/],
  ...(["3600001 millis", "2 hours", 0, 300, "999 millis", -5, Duration.infinity, Number.NaN, "soon"] as const).map(
    (reservationExpiry) =>
      [
        `an expiry of ${String(reservationExpiry)}`,
        (c: StacksClient.Service) =>
          c.batchReserveJobs({
            stackKey,
            jobUuids: ["a"],
            // "soon" is what a caller without types may give.
            reservationExpiry: reservationExpiry as Duration.Input
          }),
        /reservationExpiry/
      ] as const
  ),

  ["the states of 1001 jobs", (c) => c.getJobStates({ stackKey, jobUuids: uuids(1001) }), /jobUuids/],

  ["an empty detail", (c) => c.finishJob({ stackKey, jobUuid, detail: "" }), /detail/],
  ["an empty detail of failJob", (c) => c.failJob({ stackKey, jobUuid, detail: "" }), /detail/],
  ["half an exit status", (c) => c.finishJob({ stackKey, jobUuid, detail: "d", exitStatus: 0.5 }), /exitStatus/],
  ["an empty signal reason", (c) => c.finishJob({ stackKey, jobUuid, detail: "d", signalReason: "" }), /signalReason/],

  ["no notifications", (c) => c.createStackNotifications({ stackKey, notifications: [] }), /notifications/],
  [
    "1001 notifications",
    (c) =>
      c.createStackNotifications({
        stackKey,
        notifications: uuids(1001).map((id) => ({ jobUuid: id, detail: "d" }))
      }),
    /notifications/
  ],
  [
    "an empty notification among others",
    (c) =>
      c.createStackNotifications({
        stackKey,
        notifications: [
          { jobUuid: "a", detail: "d" },
          { jobUuid: "b", detail: "" }
        ]
      }),
    /notifications.*1.*detail/
  ],
  ["one empty notification", (c) => c.createStackNotification({ stackKey, jobUuid, detail: "" }), /detail/],
  ["a notification of no job", (c) => c.createStackNotification({ stackKey, jobUuid: "", detail: "d" }), /jobUuid/],

  ["tokens for no job", (c) => c.issueJobAcquisitionTokens({ stackKey, jobUuids: [] }), /jobUuids/],
  ["tokens for 1001 jobs", (c) => c.issueJobAcquisitionTokens({ stackKey, jobUuids: uuids(1001) }), /jobUuids/],
  [
    "a token for 61 minutes",
    (c) => c.issueJobAcquisitionTokens({ stackKey, jobUuids: ["a"], tokenLifetime: "61 minutes" }),
    /tokenLifetime/
  ],
  [
    "a token for no time",
    (c) => c.issueJobAcquisitionTokens({ stackKey, jobUuids: ["a"], tokenLifetime: 0 }),
    /tokenLifetime/
  ]
]

describe("An invalid request", () => {
  it.effect.each(refused)("%s", ([, call, says]) =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(200))
      const client = yield* Scripted.client(service)
      const error = yield* Effect.flip(call(client))
      assert(error._tag === "InvalidRequest", String(error))
      assert.isFalse(error.isRetryable)
      assert.match(error.issue.replaceAll("\n", " "), says)
      assert.strictEqual(error.message, `${error.operation}: ${error.issue}`)
      assert.strictEqual(service.requests.length, 0)
    })
  )

  it.effect("fails with its operation, method and path", () =>
    Effect.gen(function* () {
      const client = yield* Scripted.client(Scripted.make(Scripted.empty(200)))
      const failed = yield* Effect.flip(client.failJob({ stackKey, jobUuid: "", detail: "d" }))
      const notified = yield* Effect.flip(client.createStackNotification({ stackKey, jobUuid, detail: "" }))
      assert(failed._tag === "InvalidRequest" && notified._tag === "InvalidRequest")
      assert.strictEqual(failed.operation, "failJob")
      assert.strictEqual(failed.method, "POST")
      assert.strictEqual(failed.url, "http://stacks.test/v3/stacks/:stackKey/jobs/:jobUuid/finish")
      assert.strictEqual(notified.operation, "createStackNotification")
    })
  )

  it.effect("fails before it waits for a rate limit or is recorded", () =>
    Effect.gen(function* () {
      const client = yield* Scripted.client(Scripted.make(Scripted.empty(200)))
      const seen = yield* StacksClient.withResponse(Effect.result(client.getJob({ stackKey: "", jobUuid })))
      assert.strictEqual(seen.status, 0)
      assert.strictEqual(seen.attempts, 0)
    })
  )
})

describe("The client sends values within the limits", () => {
  const accepted: ReadonlyArray<readonly [what: string, call: Call, answer: unknown]> = [
    [
      "a key of 80 bytes of every kind, and as much metadata as there may be",
      (c) =>
        c.registerStack({
          key: `aZ09_-${"k".repeat(74)}`,
          type: "custom",
          queueKey: "q",
          metadata: Object.fromEntries(
            uuids(100).map((id) => [`${"😀".repeat(58)}${id.padStart(6)}`.slice(-122), "😀".repeat(256)])
          )
        }),
      answers.registerStack.body
    ],
    [
      "a page of 1000",
      (c) => c.listScheduledJobs({ stackKey, clusterQueueKey: "q", pageSize: 1000 }),
      answers.listScheduledJobs.body
    ],
    [
      "1000 jobs for an hour",
      (c) => c.batchReserveJobs({ stackKey, jobUuids: uuids(1000), reservationExpiry: "1 hour" }),
      answers.batchReserveJobs.body
    ],
    ["the states of 1000 jobs", (c) => c.getJobStates({ stackKey, jobUuids: uuids(1000) }), answers.getJobStates.body],
    ["the states of no job", (c) => c.getJobStates({ stackKey, jobUuids: [] }), { states: {} }],
    [
      "1000 notifications",
      (c) =>
        c.createStackNotifications({
          stackKey,
          notifications: uuids(1000).map((id) => ({ jobUuid: id, detail: "d" }))
        }),
      { errors: [] }
    ],
    [
      "tokens for 1000 jobs for a second",
      (c) => c.issueJobAcquisitionTokens({ stackKey, jobUuids: uuids(1000), tokenLifetime: "1 second" }),
      answers.issueJobAcquisitionTokens.body
    ]
  ]

  it.effect.each(accepted)("%s", ([, call, answer]) =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.json(200, answer))
      yield* call(yield* Scripted.client(service))
      assert.strictEqual(service.requests.length, 1)
    })
  )

  it.effect("negative and huge exit statuses", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(200))
      const client = yield* Scripted.client(service)
      for (const exitStatus of [-1, 255, -2_147_483_648, 4_294_967_295]) {
        yield* client.finishJob({ stackKey, jobUuid, detail: "d", exitStatus })
      }
      assert.deepStrictEqual(
        service.requests.map(({ body }) => JSON.parse(body ?? "").exit_status),
        [-1, 255, -2_147_483_648, 4_294_967_295]
      )
    })
  )
})

describe("The service validates", () => {
  it.effect("queue keys", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.json(200, answers.listScheduledJobs.body))
      const client = yield* Scripted.client(service)
      for (const clusterQueueKey of ["_default", "__default__", "what ever", ".."]) {
        yield* client.listScheduledJobs({ stackKey, clusterQueueKey })
      }
      assert.deepStrictEqual(
        service.requests.map(({ url }) => new URL(url).searchParams.get("queue_key")),
        ["_default", "__default__", "what ever", ".."]
      )
    })
  )

  it.effect("reserved stack types", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.json(200, answers.registerStack.body))
      const client = yield* Scripted.client(service)
      for (const type of ["kubernetes", "elastic", "custom"] as const) {
        yield* client.registerStack({ key: "k", type, queueKey: "q" })
      }
      assert.strictEqual(service.requests.length, 3)
    })
  )
})
