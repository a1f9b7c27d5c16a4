/** What becomes of the answers. */
import { assert, describe, it } from "@effect/vitest"
import type { StacksClient, StacksError } from "@stacksapi/core"
import { StacksSchema } from "@stacksapi/core"
import { DateTime, Effect, Redacted, Stream } from "effect"
import { HttpServerResponse } from "effect/http"
import { answers, calls, jobUuid, page, scheduledJob } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

const utc = (text: string) => DateTime.makeUnsafe(text)

const answered = <A>(
  body: unknown,
  call: (client: StacksClient.Service) => Effect.Effect<A, StacksError.StacksError>,
  status = 200
) => Effect.flatMap(Scripted.client(Scripted.make(Scripted.json(status, body))), call)

const list = (body: unknown) =>
  answered(body, (client) => client.listScheduledJobs({ stackKey: "s", clusterQueueKey: "q" }))

const listJob = (job: unknown) => Effect.map(list({ ...page, jobs: [job] }), ({ jobs: [first] }) => first)

describe("getTokenIdentity", () => {
  const identify = (body: unknown) => answered(body, (client) => client.getTokenIdentity())

  it.effect("gives the organization, the cluster and the queue of the token", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* identify(answers.getTokenIdentity.body), {
        uuid: "0193b1a6-6a2c-4f4e-9d1a-0000000000cc",
        description: "Linux machines",
        tokenType: "cluster",
        organizationSlug: "acme",
        organizationUuid: "0193b1a6-6a2c-4f4e-9d1a-0000000000bb",
        clusterUuid: "0193b1a6-6a2c-4f4e-9d1a-0000000000dd",
        clusterName: "Production",
        queueUuid: "0193b1a6-6a2c-4f4e-9d1a-0000000000ee",
        queueKey: "linux"
      })
    })
  )

  it.effect("decodes null and missing values as empty texts", () =>
    Effect.gen(function* () {
      const body: Record<string, unknown> = Object.assign({}, answers.getTokenIdentity.body)
      const { uuid, ...others } = body
      const nulls = Object.fromEntries(Object.keys(others).map((name) => [name, null]))
      for (const sparse of [{ uuid }, { uuid, ...nulls }]) {
        const { uuid: decoded, ...rest } = yield* identify(sparse)
        assert.strictEqual(decoded, String(uuid))
        assert.deepStrictEqual(new Set(Object.values(rest)), new Set([""]))
        assert.strictEqual(Object.keys(rest).length, 8)
      }
    })
  )

  it.effect("fails with a DecodeError if the response is not an identity", () =>
    Effect.gen(function* () {
      for (const body of [{}, null, [], "no", { message: "hello" }]) {
        assert.strictEqual((yield* Effect.flip(identify(body)))._tag, "DecodeError")
      }
    })
  )
})

describe("registerStack", () => {
  it.effect("gives the stack, new or updated", () =>
    Effect.gen(function* () {
      for (const status of [200, 201]) {
        const stack = yield* answered(
          answers.registerStack.body,
          (client) => client.registerStack({ key: "my-stack", type: "custom", queueKey: "default" }),
          status
        )
        assert.deepStrictEqual(stack, {
          id: "0193b1a6-6a2c-4f4e-9d1a-0000000000aa",
          organizationUuid: "0193b1a6-6a2c-4f4e-9d1a-0000000000bb",
          clusterQueueKey: "default",
          key: "my-stack",
          type: "custom",
          metadata: { zone: "a" },
          lastConnectedOn: utc("2026-10-01T12:00:00Z"),
          state: "connected"
        })
      }
    })
  )

  it.effect("decodes a stack that never connected, with unknown state and type", () =>
    Effect.gen(function* () {
      const stack = yield* answered(
        {
          ...Object(answers.registerStack.body),
          last_connected_on: null,
          state: "hibernating",
          type: "mainframe",
          metadata: {}
        },
        (client) => client.registerStack({ key: "my-stack", type: "custom", queueKey: "default" })
      )
      assert.isNull(stack.lastConnectedOn)
      assert.strictEqual(stack.state, "hibernating")
      assert.strictEqual(stack.type, "mainframe")
    })
  )
})

describe("listScheduledJobs", () => {
  it.effect("returns a page", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* list(page), {
        jobs: [
          {
            id: jobUuid,
            priority: -3,
            agentQueryRules: ["queue=default", "os=linux"],
            scheduledAt: utc("2026-10-01T12:34:56.789Z"),
            runnableAt: utc("2026-10-01T12:40:00.000Z"),
            pipeline: { slug: "web", uuid: "0193b1a6-6a2c-4f4e-9d1a-00000000000a" },
            build: { uuid: "0193b1a6-6a2c-4f4e-9d1a-00000000000b", number: 42, branch: "main" },
            step: { key: "test" }
          }
        ],
        clusterQueue: { id: "0193b1a6-6a2c-4f4e-9d1a-00000000000c", dispatchPaused: false },
        pageInfo: { hasNextPage: true, endCursor: "MQ==" }
      })
    })
  )

  it.effect("the last page has no cursor", () =>
    Effect.gen(function* () {
      const last = yield* list({ ...page, jobs: [], page_info: { has_next_page: false, end_cursor: null } })
      assert.deepStrictEqual(last.pageInfo, { hasNextPage: false, endCursor: null })
      assert.deepStrictEqual(last.jobs, [])
    })
  )

  it.effect.each([
    [{ dispatch_paused: true }, true],
    [{ dispatch_paused: false }, false],
    [{ dispatch_paused: null }, undefined],
    [{ paused: true }, true],
    [{ paused: false }, false],
    [{ dispatch_paused: true, paused: false }, true],
    [{ dispatch_paused: false, paused: true }, false],
    [{ dispatch_paused: null, paused: true }, true],
    [{}, undefined]
  ] as const)("a queue with %j is paused: %s", ([flags, expected]) =>
    Effect.gen(function* () {
      const { clusterQueue } = yield* list({ ...page, cluster_queue: { id: "q", ...flags } })
      assert.deepStrictEqual(clusterQueue, { id: "q", dispatchPaused: expected })
    })
  )

  it.effect("accepts null for any value of the nested objects", () =>
    Effect.gen(function* () {
      const job = yield* listJob({
        ...scheduledJob,
        pipeline: { slug: null, uuid: null },
        build: { uuid: null, number: null, branch: null },
        step: { key: null }
      })
      assert.deepStrictEqual(job?.pipeline, { slug: null, uuid: null })
      assert.deepStrictEqual(job?.build, { uuid: null, number: null, branch: null })
      assert.deepStrictEqual(job?.step, { key: null })
      const queue = (yield* list({ ...page, cluster_queue: { id: null, dispatch_paused: true } })).clusterQueue
      assert.deepStrictEqual(queue, { id: null, dispatchPaused: true })
    })
  )

  it.effect("decodes runnableAt as a time, null or missing", () =>
    Effect.gen(function* () {
      const { runnable_at: _, ...without } = scheduledJob
      assert.deepStrictEqual((yield* listJob(scheduledJob))?.runnableAt, utc("2026-10-01T12:40:00Z"))
      assert.isNull((yield* listJob({ ...without, runnable_at: null }))?.runnableAt)
      const unsaid = yield* listJob(without)
      assert(unsaid !== undefined)
      assert.notProperty(unsaid, "runnableAt")
    })
  )

  it.effect.each([
    ["2026-10-01T12:34:56Z", "2026-10-01T12:34:56.000Z"],
    ["2026-10-01T12:34:56.7Z", "2026-10-01T12:34:56.700Z"],
    ["2026-10-01T12:34:56.789123Z", "2026-10-01T12:34:56.789Z"],
    ["2026-10-01T14:34:56+02:00", "2026-10-01T12:34:56.000Z"],
    ["2028-02-29T00:00:00.000Z", "2028-02-29T00:00:00.000Z"],
    ["2026-12-31T23:59:59.999Z", "2026-12-31T23:59:59.999Z"],
    ["1999-01-31T00:00:00Z", "1999-01-31T00:00:00.000Z"]
  ] as const)("reads the time %s", ([text, expected]) =>
    Effect.gen(function* () {
      const job = yield* listJob({ ...scheduledJob, scheduled_at: text })
      assert(job !== undefined)
      assert.strictEqual(DateTime.formatIso(job.scheduledAt), expected)
    })
  )

  const minimal = { id: "j", scheduled_at: "2026-10-01T12:34:56Z" }
  const asMinimal = {
    id: "j",
    priority: 0,
    agentQueryRules: [],
    scheduledAt: utc("2026-10-01T12:34:56Z"),
    pipeline: { slug: null, uuid: null },
    build: { uuid: null, number: null, branch: null },
    step: { key: null }
  }

  it.effect("decodes null and missing values of a job as empty values", () =>
    Effect.gen(function* () {
      const nulls = { priority: null, agent_query_rules: null, pipeline: null, build: null, step: null }
      assert.deepStrictEqual(yield* listJob(minimal), asMinimal)
      assert.deepStrictEqual(yield* listJob({ ...minimal, ...nulls }), asMinimal)
      assert.deepStrictEqual(yield* listJob({ ...minimal, ...nulls, pipeline: {}, build: {}, step: {} }), asMinimal)
      const some = yield* listJob({ ...scheduledJob, step: null, build: { number: 7 } })
      assert.deepStrictEqual(some?.build, { uuid: null, number: 7, branch: null })
      assert.deepStrictEqual(some?.pipeline, scheduledJob.pipeline)
    })
  )

  it.effect.each([
    [{ id: null }, undefined],
    [{ id: 7 }, undefined],
    [{ priority: "high" }, "odd"],
    [{ priority: 1.5 }, "odd"],
    [{ agent_query_rules: "queue=default" }, "odd"],
    [{ agent_query_rules: [7] }, "odd"],
    [{ agent_query_rules: [null] }, "odd"],
    [{ scheduled_at: null }, "odd"],
    [{ scheduled_at: "yesterday" }, "odd"],
    [{ runnable_at: "" }, "odd"],
    [{ runnable_at: 1_790_858_096 }, "odd"],
    [{ build: { uuid: "b", number: "12", branch: "m" } }, "odd"],
    [{ pipeline: "web" }, "odd"],
    [{ step: [] }, "odd"],
    [{ id: "two\nlines", priority: "high" }, "two lines"]
  ] as const)("a job with %j is left out, and told; the others of the page are there", ([odd, id]) =>
    Effect.gen(function* () {
      const jobs = [
        { ...minimal, id: "first" },
        { ...scheduledJob, id: "odd", ...odd },
        { ...scheduledJob, id: "last" }
      ]
      const seen = yield* list({ ...page, jobs })
      assert.deepStrictEqual(
        seen.jobs.map((job) => job.id),
        ["first", "last"]
      )
      assert.lengthOf(seen.undecodable ?? [], 1)
      assert.strictEqual(seen.undecodable?.[0]?.id, id)
      assert.match(seen.undecodable?.[0]?.issue ?? "", /^Expected .+/)
      assert.deepStrictEqual([seen.clusterQueue.dispatchPaused, seen.pageInfo.hasNextPage], [false, true])
    })
  )

  it.effect("leaves out items that are not jobs", () =>
    Effect.gen(function* () {
      const seen = yield* list({ ...page, jobs: [null, "job", 7, [], scheduledJob, {}] })
      assert.lengthOf(seen.jobs, 1)
      assert.lengthOf(seen.undecodable ?? [], 5)
      assert.notProperty(yield* list(page), "undecodable")
      assert.notProperty(yield* list({ ...page, undecodable: [{ issue: "of the service" }] }), "undecodable")
    })
  )

  it.effect("accepts null jobs, a missing queue and a missing pageInfo", () =>
    Effect.gen(function* () {
      const empty = {
        jobs: [],
        clusterQueue: { id: null, dispatchPaused: undefined },
        pageInfo: { hasNextPage: false, endCursor: null }
      }
      assert.deepStrictEqual(yield* list({ jobs: null }), empty)
      assert.deepStrictEqual(yield* list({ jobs: null, cluster_queue: null, page_info: null }), empty)
      assert.deepStrictEqual(yield* list({ jobs: [], cluster_queue: {}, page_info: {} }), empty)
      const paused = yield* list({ jobs: [], cluster_queue: { dispatch_paused: true } })
      assert.deepStrictEqual(paused.clusterQueue, { id: null, dispatchPaused: true })
    })
  )

  it.effect.each([
    [{ has_next_page: true, end_cursor: null }, true, null],
    [{ has_next_page: null, end_cursor: "c" }, false, "c"],
    [{ has_next_page: "true", end_cursor: "c" }, false, "c"],
    [{ has_next_page: true, end_cursor: 7 }, true, null],
    [{ end_cursor: "c" }, false, "c"]
  ] as const)("the place in the list may be odd: %j", ([page_info, hasNextPage, endCursor]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* list({ ...page, page_info })).pageInfo, { hasNextPage, endCursor })
    })
  )

  it.effect("fails if the response is not a page", () =>
    Effect.gen(function* () {
      for (const body of [
        {},
        [],
        null,
        "page",
        { message: "hello" },
        { ...page, jobs: {} },
        { ...page, jobs: "none" },
        { ...page, cluster_queue: "none" },
        { ...page, cluster_queue: { id: null, dispatch_paused: "perhaps" } },
        { ...page, page_info: "last" },
        { cluster_queue: page.cluster_queue, page_info: page.page_info }
      ]) {
        assert.strictEqual((yield* Effect.flip(list(body)))._tag, "DecodeError", JSON.stringify(body))
      }
    })
  )

  it.effect("ignores unknown fields at every depth", () =>
    Effect.gen(function* () {
      const more = { future: { deep: [1, null] } }
      const grown = yield* list({
        ...more,
        jobs: [
          {
            ...more,
            ...scheduledJob,
            pipeline: { ...more, ...scheduledJob.pipeline },
            build: { ...more, ...scheduledJob.build },
            step: { ...more, ...scheduledJob.step }
          }
        ],
        cluster_queue: { ...more, ...page.cluster_queue },
        page_info: { ...more, ...page.page_info }
      })
      assert.deepStrictEqual(grown, yield* list(page))
    })
  )
})

describe("jobs", () => {
  it.effect("getJob gives environment and command", () =>
    Effect.gen(function* () {
      const job = yield* answered(answers.getJob.body, (client) => client.getJob({ stackKey: "s", jobUuid }))
      assert.deepStrictEqual(job, { id: jobUuid, env: { CI: "true" }, command: "make test" })
    })
  )

  it.effect("getJob reads null as the empty text", () =>
    Effect.gen(function* () {
      const job = yield* answered({ id: "j", env: { A: null, B: "" }, command: null }, (client) =>
        client.getJob({ stackKey: "s", jobUuid })
      )
      assert.deepStrictEqual(job, { id: "j", env: { A: "", B: "" }, command: "" })
    })
  )

  it.effect("getJob decodes variables with any name", () =>
    Effect.gen(function* () {
      const body = '{"id":"j","env":{"__proto__":"x","constructor":"y","toString":"z","1":"one"},"command":"c"}'
      const client = yield* Scripted.client(Scripted.make(Scripted.text(200, body)))
      const { env } = yield* client.getJob({ stackKey: "s", jobUuid })
      assert.strictEqual(env["constructor"], "y")
      assert.strictEqual(env["toString"], "z")
      assert.strictEqual(env["1"], "one")
      assert.strictEqual(Object.getPrototypeOf(env), Object.prototype)
      assert.strictEqual(Object.getOwnPropertyDescriptor(env, "__proto__")?.value, "x")
    })
  )

  it.effect("getJobStates gives states, known and unknown; ids without one are missing", () =>
    Effect.gen(function* () {
      const { states } = yield* answered({ states: { a: "running", b: "levitating" } }, (client) =>
        client.getJobStates({ stackKey: "s", jobUuids: ["a", "b", "c"] })
      )
      assert.deepStrictEqual(states, { a: "running", b: "levitating" })
    })
  )

  it("isAgentOwned holds for these states", () => {
    const states = ["accepted", "assigned", "running", "canceling", "timing_out"]
    const others = ["scheduled", "reserved", "finished", "canceled", "levitating", ""]
    assert.isTrue(states.every(StacksSchema.isAgentOwned))
    assert.isFalse(others.some(StacksSchema.isAgentOwned))
  })

  it.effect("batchReserveJobs gives what was reserved and what was not", () =>
    Effect.gen(function* () {
      const result = yield* answered({ reserved: [], not_reserved: ["a", "b"] }, (client) =>
        client.batchReserveJobs({ stackKey: "s", jobUuids: ["a", "b"] })
      )
      assert.deepStrictEqual(result, { reserved: [], notReserved: ["a", "b"] })
    })
  )
})

describe("Lists and maps with invalid items", () => {
  const reserve = (body: unknown) =>
    answered(body, (client) => client.batchReserveJobs({ stackKey: "s", jobUuids: ["a"] }))
  const states = (body: unknown) => answered(body, (client) => client.getJobStates({ stackKey: "s", jobUuids: ["a"] }))
  const tokens = (body: unknown) =>
    answered(body, (client) => client.issueJobAcquisitionTokens({ stackKey: "s", jobUuids: ["a"] }))
  const notify = (body: unknown) =>
    answered(body, (client) =>
      client.createStackNotifications({ stackKey: "s", notifications: [{ jobUuid, detail: "d" }] })
    )

  it.effect("batchReserveJobs decodes null as an empty list, and leaves out invalid ids", () =>
    Effect.gen(function* () {
      const ids = { reserved: ["a"], notReserved: [] }
      assert.deepStrictEqual(yield* reserve({ reserved: ["a"], not_reserved: null }), ids)
      assert.deepStrictEqual(yield* reserve({ reserved: ["a", null, 7], not_reserved: [{}] }), ids)
      assert.deepStrictEqual(yield* reserve({ reserved: null, not_reserved: null }), { reserved: [], notReserved: [] })
      for (const body of [{}, { reserved: ["a"] }, { reserved: "a", not_reserved: [] }, []]) {
        assert.strictEqual((yield* Effect.flip(reserve(body)))._tag, "DecodeError")
      }
    })
  )

  it.effect("getJobStates decodes null as no states, and leaves out invalid states", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* states({ states: null }), { states: {} })
      assert.deepStrictEqual(yield* states({ states: { a: "running", b: null, c: 7, d: {} } }), {
        states: { a: "running" }
      })
      for (const body of [{}, { states: "none" }, { states: ["running"] }]) {
        assert.strictEqual((yield* Effect.flip(states(body)))._tag, "DecodeError")
      }
    })
  )

  it.effect("issueJobAcquisitionTokens decodes null as no tokens, and leaves out invalid tokens", () =>
    Effect.gen(function* () {
      const token = { job_uuid: "a", job_acquisition_token: "bkjat_1", expires_at: "2026-10-01T12:49:56.789Z" }
      const odd = [null, {}, { ...token, job_acquisition_token: null }, { ...token, expires_at: null }, token]
      const result = yield* tokens({ job_acquisition_tokens: odd, not_issued: ["b", null] })
      assert.deepStrictEqual(
        result.tokens.map(({ token }) => Redacted.value(token)),
        ["bkjat_1"]
      )
      assert.deepStrictEqual(result.notIssued, ["b"])
      assert.deepStrictEqual(yield* tokens({ job_acquisition_tokens: null, not_issued: null }), {
        tokens: [],
        notIssued: []
      })
      assert.strictEqual((yield* Effect.flip(tokens({ not_issued: [] })))._tag, "DecodeError")
    })
  )

  it.effect("createStackNotifications decodes null as no errors, and keeps invalid errors", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* notify({ errors: null }), { errors: [] })
      assert.deepStrictEqual(yield* notify({ errors: [{ error: null, indexes: null }, { indexes: [0] }] }), {
        errors: [
          { error: "", indexes: [] },
          { error: "", indexes: [0] }
        ]
      })
      for (const errors of ["no", [null], ["no"], [{ error: "no", indexes: ["first"] }]]) {
        assert.strictEqual((yield* Effect.flip(notify({ errors })))._tag, "DecodeError")
      }
    })
  )

  it.effect("getJob and registerStack accept null values", () =>
    Effect.gen(function* () {
      const job = yield* answered({ id: "j", env: null, command: null }, (client) =>
        client.getJob({ stackKey: "s", jobUuid })
      )
      assert.deepStrictEqual(job, { id: "j", env: {}, command: "" })
      const register = (client: StacksClient.Service) =>
        client.registerStack({ key: "my-stack", type: "custom", queueKey: "default" })
      const stack = yield* answered({ id: "1", key: "my-stack", metadata: null, last_connected_on: "never" }, register)
      assert.deepStrictEqual(stack, {
        id: "1",
        organizationUuid: "",
        clusterQueueKey: "",
        key: "my-stack",
        type: "",
        metadata: {},
        lastConnectedOn: null,
        state: ""
      })
      assert.strictEqual((yield* Effect.flip(answered({ key: "my-stack" }, register)))._tag, "DecodeError")
    })
  )
})

describe("notifications and tokens", () => {
  it.effect("createStackNotifications gives the errors with their positions", () =>
    Effect.gen(function* () {
      const errors = [
        { error: "detail is required", indexes: [0, 2] },
        { error: "job stack notification count exceeded", indexes: [1] }
      ]
      const call = (client: StacksClient.Service) =>
        client.createStackNotifications({ stackKey: "s", notifications: [{ jobUuid, detail: "d" }] })
      assert.deepStrictEqual(yield* answered({ errors }, call), { errors })
      assert.deepStrictEqual(yield* answered({}, call), { errors: [] })
    })
  )

  it.effect("issueJobAcquisitionTokens keeps the tokens redacted", () =>
    Effect.gen(function* () {
      const result = yield* answered(
        {
          job_acquisition_tokens: [
            { job_uuid: "a", job_acquisition_token: "bkjat_1", expires_at: "2026-10-01T12:49:56.789Z" }
          ],
          not_issued: ["b"]
        },
        (client) => client.issueJobAcquisitionTokens({ stackKey: "s", jobUuids: ["a", "b"] }),
        201
      )
      const [token] = result.tokens
      assert(token !== undefined)
      assert.strictEqual(token.jobUuid, "a")
      assert.strictEqual(Redacted.value(token.token), "bkjat_1")
      assert.deepStrictEqual(token.expiresAt, utc("2026-10-01T12:49:56.789Z"))
      assert.deepStrictEqual(result.notIssued, ["b"])
      assert.notInclude(JSON.stringify(result) + String(token.token), "bkjat_1")
    })
  )

  it.effect("not_issued may be missing", () =>
    Effect.gen(function* () {
      const result = yield* answered({ job_acquisition_tokens: [] }, (client) =>
        client.issueJobAcquisitionTokens({ stackKey: "s", jobUuids: ["a"] })
      )
      assert.deepStrictEqual(result, { tokens: [], notIssued: [] })
    })
  )
})

describe("A body that arrives byte by byte, split within characters", () => {
  const bytes = (text: string): ReadonlyArray<Uint8Array> =>
    Array.from(new TextEncoder().encode(text), (byte) => Uint8Array.of(byte))

  const inBytes =
    (status: number, text: string): Scripted.Answer =>
    () =>
      HttpServerResponse.stream(Stream.fromIterable(bytes(text)), { status })

  it.effect("decodes", () =>
    Effect.gen(function* () {
      const body = { id: "j", env: { ä: "😀 €" }, command: "größe" }
      const client = yield* Scripted.client(Scripted.make(inBytes(200, JSON.stringify(body))))
      assert.deepStrictEqual(yield* client.getJob({ stackKey: "s", jobUuid }), body)
    })
  )

  it.effect("decodes to an error's message", () =>
    Effect.gen(function* () {
      const client = yield* Scripted.client(Scripted.make(inBytes(422, '{"message":"größe 😀"}')))
      const error = yield* Effect.flip(client.getJob({ stackKey: "s", jobUuid }))
      assert.match(error.message, /: 422 größe 😀$/u)
    })
  )
})

describe("without a result", () => {
  const bodies: ReadonlyArray<readonly [string, Scripted.Answer]> = [
    ["200 and nothing", Scripted.empty(200)],
    ["204", Scripted.empty(204)],
    ["200 and JSON", Scripted.json(200, { ok: true })],
    ["201 and HTML", Scripted.text(201, "<html>", { "content-type": "text/html" })],
    ["202 and broken JSON", Scripted.text(202, '{"')],
    ["299 and megabytes", Scripted.text(299, "x".repeat(3_000_000))]
  ]

  it.effect.each(bodies)("any 2xx is a success: %s", ([, answer]) =>
    Effect.gen(function* () {
      const client = yield* Scripted.client(Scripted.make(answer))
      for (const operation of ["finishJob", "failJob", "deregisterStack"] as const) {
        assert.isUndefined(yield* calls[operation](client))
      }
    })
  )
})
