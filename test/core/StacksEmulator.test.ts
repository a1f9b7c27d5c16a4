import { assert, describe, it } from "@effect/vitest"
import * as StacksClient from "@stacksapi/core/StacksClient"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, answer, emulated, list, register, send, status } from "../support/emulated.ts"

describe("authentication", () => {
  it.effect("requires the cluster token as `Authorization: Token`", () =>
    Effect.gen(function* () {
      for (const authorization of [undefined, "Token wrong", "Bearer bkct_emulator", "bkct_emulator", "Token "]) {
        const refused = yield* send("POST", "stacks/s/deregister", { headers: { authorization } })
        assert.strictEqual(refused.status, 401)
        assert.property(refused.body, "message")
      }
      assert.strictEqual(yield* status("POST", "stacks/s/deregister"), 404)
      assert.strictEqual(
        yield* status("POST", "stacks/s/deregister", { headers: { authorization: "token  bkct_emulator" } }),
        404
      )
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("accepts the token that it was given, and no other", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* status("POST", "stacks/s/deregister"), 401)
      const headers = { authorization: "Token bkct_mine" }
      assert.strictEqual(yield* status("POST", "stacks/s/deregister", { headers }), 404)
    }).pipe(Effect.provide(emulated({ token: Redacted.make("bkct_mine") })))
  )

  it.effect("accepts its option token as a plain text", () =>
    Effect.gen(function* () {
      const headers = { authorization: "Token bkct_mine" }
      assert.strictEqual(yield* status("POST", "stacks/s/deregister", { headers }), 404)
    }).pipe(Effect.provide(emulated({ token: "bkct_mine" })))
  )
})

describe("the identity of the token", () => {
  const identity = Effect.flatMap(StacksClient.StacksClient, (client) => client.getTokenIdentity())
  const withClient = (options?: StacksEmulator.Options) =>
    Layer.provideMerge(StacksEmulator.layerClient, emulated(options))

  it.effect("is that of a cluster token, and needs no registered stack", () =>
    Effect.gen(function* () {
      const { clusterUuid, organizationUuid, queueKey, uuid } = yield* identity
      for (const id of [uuid, clusterUuid, organizationUuid]) assert.match(id, /^[0-9a-f-]{36}$/)
      assert.strictEqual(queueKey, "")
      const stack = yield* (yield* StacksClient.StacksClient).registerStack({ key: "s", type: "custom", queueKey: "q" })
      assert.strictEqual(stack.organizationUuid, organizationUuid)
      assert.strictEqual((yield* answer("GET", "token")).status, 200)
    }).pipe(Effect.provide(withClient()))
  )

  it.effect("can be that of a token without a cluster", () =>
    Effect.gen(function* () {
      const { clusterName, clusterUuid } = yield* identity
      assert.deepStrictEqual([clusterUuid, clusterName], ["", ""])
    }).pipe(Effect.provide(withClient({ tokenIdentity: { clusterUuid: "" } })))
  )

  it.effect("is set by the options", () =>
    Effect.gen(function* () {
      const { clusterName, organizationUuid, queueKey, queueUuid } = yield* identity
      assert.deepStrictEqual([clusterName, organizationUuid, queueKey, queueUuid], ["Production", "o", "linux", "q"])
      const stack = yield* (yield* StacksClient.StacksClient).registerStack({ key: "s", type: "custom", queueKey: "q" })
      assert.strictEqual(stack.organizationUuid, "o")
    }).pipe(
      Effect.provide(
        withClient({
          tokenIdentity: { clusterName: "Production", organizationUuid: "o", queueKey: "linux", queueUuid: "q" }
        })
      )
    )
  )

  it.effect("can have faults like any operation", () =>
    Effect.gen(function* () {
      const { setFaults } = yield* StacksEmulator.StacksEmulator
      yield* setFaults([StacksEmulator.Fault.Status({ status: 404, operations: ["getTokenIdentity"], times: 1 })])
      const error = yield* Effect.flip(identity)
      assert.strictEqual(error._tag === "ErrorResponse" && error.reason._tag, "NotFound")
      yield* identity
      const { requests } = yield* StacksEmulator.StacksEmulator
      assert.deepStrictEqual(
        (yield* requests).map(({ operation, status }) => [operation, status]),
        [
          ["getTokenIdentity", 404],
          ["getTokenIdentity", 200]
        ]
      )
    }).pipe(Effect.provide(withClient()))
  )
})

describe("registering a stack", () => {
  it.effect("returns 201 for a new stack, and 200 with the same id for a known one", () =>
    Effect.gen(function* () {
      const body = { key: "s", type: "custom", queue_key: "q", metadata: { region: "eu" } }
      const first = yield* answer("POST", "stacks/register", { body })
      const again = yield* answer("POST", "stacks/register", { body })
      assert.strictEqual(first.status, 201)
      assert.deepStrictEqual(again, { status: 200, body: first.body })
      const { id, organization_uuid, ...rest } = first.body as Record<string, unknown>
      assert.match(String(id), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      assert.isString(organization_uuid)
      assert.deepStrictEqual(rest, {
        cluster_queue_key: "q",
        key: "s",
        type: "custom",
        metadata: { region: "eu" },
        last_connected_on: null,
        state: "connected"
      })
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("moves a stack that registers with another queue", () =>
    Effect.gen(function* () {
      yield* register("s", "q")
      const moved = yield* register("s", "other")
      assert.strictEqual(moved.status, 200)
      assert.propertyVal(moved.body, "cluster_queue_key", "other")
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("shows by the last poll whether a stack is connected", () =>
    Effect.gen(function* () {
      const stackState = Effect.map(register(), ({ body }) => (body as { state: string }).state)
      assert.strictEqual(yield* stackState, "connected")
      yield* TestClock.adjust("6 minutes")
      assert.strictEqual(yield* stackState, "disconnected")
      yield* list()
      const polled = yield* register()
      assert.propertyVal(polled.body, "state", "connected")
      assert.propertyVal(polled.body, "last_connected_on", "1970-01-01T00:06:00.000Z")
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* stackState, "connected")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* stackState, "disconnected")
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("refuses keys, types and metadata that break the rules with 422", () =>
    Effect.gen(function* () {
      const valid = { key: "s", type: "custom", queue_key: "q", metadata: {} }
      const invalid = [
        { ...valid, key: "" },
        { ...valid, key: "a b" },
        { ...valid, key: "a.b" },
        { ...valid, key: "k".repeat(81) },
        { ...valid, type: "other" },
        { ...valid, queue_key: "" },
        { ...valid, metadata: { nested: {} } },
        { ...valid, metadata: { ["k".repeat(65)]: "v" } },
        { ...valid, metadata: { k: "v".repeat(257) } },
        { ...valid, metadata: Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`k${i}`, "v"])) },
        { key: "s", type: "custom", queue_key: "q" },
        { type: "custom", queue_key: "q", metadata: {} },
        []
      ]
      for (const body of invalid) {
        const refused = yield* send("POST", "stacks/register", { body })
        assert.strictEqual(refused.status, 422, JSON.stringify(body))
      }
      const named = yield* send("POST", "stacks/register", { body: { ...valid, key: "a b" } })
      assert.deepStrictEqual(named.body, {
        message: 'Expected a stack key of 1 to 80 letters, digits, _ and - at ["key"]'
      })
      assert.strictEqual(yield* status("POST", "stacks/register", { body: { ...valid, key: "k".repeat(80) } }), 201)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("refuses a new stack above the organization's limit with 403", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* register("a")).status, 201)
      assert.strictEqual((yield* register("b")).status, 201)
      assert.strictEqual((yield* register("c")).status, 403)
      assert.strictEqual((yield* register("b")).status, 200)
      yield* send("POST", "stacks/a/deregister")
      assert.strictEqual((yield* register("c")).status, 201)
    }).pipe(Effect.provide(emulated({ maxStacks: 2 })))
  )
})

describe("deregistering a stack", () => {
  it.effect("returns 204 without a body, and 404 to later requests", () =>
    Effect.gen(function* () {
      yield* register()
      assert.deepStrictEqual(yield* answer("POST", "stacks/s/deregister"), { status: 204, body: undefined })
      assert.strictEqual(yield* status("POST", "stacks/s/deregister"), 404)
      assert.strictEqual(yield* status("GET", "stacks/s/scheduled-jobs?queue_key=q"), 404)
      assert.strictEqual((yield* register()).status, 201)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("returns 404 to every request of a lapsed stack until it registers again", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs("j")
      yield* register()
      yield* emulator.forgetStack("s")
      assert.deepStrictEqual(yield* emulator.stacks, [])
      const body = { job_uuids: ["j"] }
      const detail = "text"
      assert.deepStrictEqual(
        [
          yield* status("POST", "stacks/s/deregister"),
          yield* status("GET", "stacks/s/scheduled-jobs?queue_key=q"),
          yield* status("PUT", "stacks/s/scheduled-jobs/batch-reserve", { body }),
          yield* status("GET", "stacks/s/jobs/j"),
          yield* status("POST", "stacks/s/jobs/get-states", { body }),
          yield* status("POST", "stacks/s/jobs/j/finish", { body: { detail } }),
          yield* status("POST", "stacks/s/notifications", { body: { notifications: [{ job_uuid: "j", detail }] } }),
          yield* status("POST", "stacks/s/job-acquisition-tokens", { body })
        ],
        Array.from({ length: 8 }, () => 404)
      )
      assert.strictEqual((yield* register()).status, 201)
    }).pipe(Effect.provide(emulated()))
  )
})

describe("queues", () => {
  it.effect("exist on first use if the option queues is not set", () =>
    Effect.gen(function* () {
      yield* register("s", "anything")
      assert.deepStrictEqual((yield* list({ queue_key: "never-seen" })).ids, [])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("return 404 if the option queues has other queues", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      assert.strictEqual((yield* register("s", "linux")).status, 201)
      assert.strictEqual((yield* register("s", "windows")).status, 404)
      assert.strictEqual(yield* status("GET", "stacks/s/scheduled-jobs?queue_key=windows"), 404)
      const added = yield* Effect.exit(emulator.addJobs([{ queueKey: "windows" }]))
      assert.include(String(added), "there is no queue windows")
    }).pipe(Effect.provide(emulated({ queues: ["linux"] })))
  )

  it.effect("accept two spellings of the default queue", () =>
    Effect.gen(function* () {
      yield* register("s", "_default")
      yield* addJobs({ id: "a", queueKey: "_default" }, { id: "b", queueKey: "__default__" })
      assert.deepStrictEqual((yield* list({ queue_key: "_default" })).ids, ["a", "b"])
      assert.deepStrictEqual((yield* list({ queue_key: "__default__" })).ids, ["a", "b"])
    }).pipe(Effect.provide(emulated({ queues: ["_default"] })))
  )

  it.effect("are listed with whether they are paused", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      assert.deepStrictEqual(
        (yield* emulator.queues).map(({ key, paused }) => [key, paused]),
        [
          ["linux", false],
          ["mac", false]
        ]
      )
      yield* emulator.pauseQueue("mac", true)
      const [, mac] = yield* emulator.queues
      assert.isTrue(mac?.paused)
      yield* register("s", "mac")
      assert.strictEqual((yield* list({ queue_key: "mac" })).clusterQueue.id, mac?.id)
    }).pipe(Effect.provide(emulated({ queues: ["linux", "mac"] })))
  )
})

describe("invalid requests", () => {
  it.effect("get 404 with a message for unknown paths and methods", () =>
    Effect.gen(function* () {
      for (const [method, path] of [
        ["GET", "nothing"],
        ["GET", "stacks/register"],
        ["DELETE", "stacks/s/jobs/j"],
        ["POST", "stacks/s/jobs/j/fail"],
        ["GET", "stacks/s/jobs/%ZZ"]
      ] as const) {
        assert.deepStrictEqual(yield* answer(method, path), {
          status: 404,
          body: { message: `Not found: ${method} /v3/${path}` }
        })
      }
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("get 400 for a body that is not JSON, and 422 for one that breaks the schema", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("j")
      assert.deepStrictEqual(yield* answer("POST", "stacks/s/jobs/j/finish", { body: '{"detail": "' }), {
        status: 400,
        body: { message: "The body is not valid JSON" }
      })
      assert.deepStrictEqual(yield* answer("POST", "stacks/s/jobs/j/finish", { body: { detail: 1 } }), {
        status: 422,
        body: { message: 'Expected string at ["detail"]' }
      })
      assert.strictEqual(yield* status("POST", "stacks/s/jobs/j/finish"), 422)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("get 400 for an invalid query", () =>
    Effect.gen(function* () {
      yield* register()
      for (const query of ["", "queue_key=", "queue_key=q&limit=0", "queue_key=q&limit=1001", "queue_key=q&limit=x"]) {
        const refused = yield* send("GET", `stacks/s/scheduled-jobs?${query}`)
        assert.strictEqual(refused.status, 400, query)
        assert.property(refused.body, "message")
      }
    }).pipe(Effect.provide(emulated()))
  )
})

describe("valid requests in unusual forms", () => {
  it.effect("may have encoded path parameters and any content type", () =>
    Effect.gen(function* () {
      yield* addJobs("a.b/c d", "j")
      yield* register()
      const found = yield* send("GET", "stacks/%73/jobs/a%2Eb%2Fc%20d")
      assert.deepStrictEqual(found.body, { id: "a.b/c d", env: {}, command: "" })
      for (const type of ["application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain"]) {
        const headers = { "content-type": type }
        const body = JSON.stringify({ job_uuids: ["j"] })
        assert.strictEqual(yield* status("POST", "stacks/s/jobs/get-states", { body, headers }), 200)
      }
      const headers = { "content-type": "application/json" }
      assert.strictEqual(yield* status("POST", "stacks/s/deregister", { headers }), 204)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("may have unknown fields and parameters", () =>
    Effect.gen(function* () {
      yield* register()
      assert.strictEqual(yield* status("GET", "stacks/s/scheduled-jobs?queue_key=q&colour=red"), 200)
      assert.strictEqual(
        yield* status("POST", "stacks/s/jobs/get-states", { body: { job_uuids: [], colour: "red" } }),
        200
      )
    }).pipe(Effect.provide(emulated()))
  )
})

describe("the log of requests", () => {
  it.effect("keeps requests as they arrived, without the token", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* TestClock.adjust("3 seconds")
      yield* register()
      yield* send("GET", "stacks/s/scheduled-jobs?queue_key=a%20b", { headers: { "x-extra": "1" } })
      yield* send("GET", "stacks/s/jobs/a%2Eb")
      yield* send("POST", "nowhere", { body: "no JSON" })
      const requests = yield* emulator.requests
      assert.deepStrictEqual(
        requests.map(({ body, method, operation, path, status }) => ({ operation, method, path, body, status })),
        [
          {
            operation: "registerStack",
            method: "POST",
            path: "/v3/stacks/register",
            body: { key: "s", type: "custom", queue_key: "q", metadata: {} },
            status: 201
          },
          {
            operation: "listScheduledJobs",
            method: "GET",
            path: "/v3/stacks/s/scheduled-jobs",
            body: undefined,
            status: 200
          },
          { operation: "getJob", method: "GET", path: "/v3/stacks/s/jobs/a%2Eb", body: undefined, status: 404 },
          { operation: undefined, method: "POST", path: "/v3/nowhere", body: "no JSON", status: 404 }
        ]
      )
      assert.deepStrictEqual(requests[1]?.query, { queue_key: "a b" })
      assert.propertyVal(requests[1]?.headers, "x-extra", "1")
      assert.strictEqual(requests[1]?.time.epochMilliseconds, 3000)
      assert.notInclude(JSON.stringify(requests), "bkct_emulator")
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("hides the values of secrets, of jobs' environments and of tokens in the bodies of requests", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* send("POST", "nowhere", { body: { key: "s", metadata: { note: "it is hunter2" } } })
      yield* send("POST", "nowhere", { body: { env: { NAME: "value-1" }, access_token: "token-1", text: "plain" } })
      const bodies = (yield* emulator.requests).map(({ body }) => body)
      assert.containsSubset(bodies, [
        { key: "s", metadata: { note: "it is [secret]" } },
        { env: { NAME: "[value]" }, access_token: "[token]", text: "plain" }
      ])
      assert.notMatch(JSON.stringify(yield* emulator.requests), /hunter2|value-1|token-1/)
    }).pipe(Effect.provide(emulated({ secrets: { PASSWORD: Redacted.make("hunter2") } })))
  )

  it.effect("keeps the last 10,000 requests", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* Effect.forEach(Array.from({ length: 10_010 }), (_, i) => send("GET", `n${i}`), { discard: true })
      const requests = yield* emulator.requests
      assert.strictEqual(requests.length, 10_000)
      assert.strictEqual(requests[0]?.path, "/v3/n10")
      assert.strictEqual(requests.at(-1)?.path, "/v3/n10009")
    }).pipe(Effect.provide(emulated()))
  )
})

describe("runs", () => {
  const ids = (seed?: number) =>
    Effect.gen(function* () {
      const jobs = yield* addJobs({}, {})
      const { body } = yield* register()
      return { jobs: jobs.map((job) => job.id), body }
    }).pipe(Effect.provide(emulated({ seed })))

  it.effect("are the same with the same seed", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ids(), yield* ids())
      assert.notDeepEqual(yield* ids(1), yield* ids(2))
    })
  )
})

describe("layerClient", () => {
  const client = StacksEmulator.layerClient.pipe(Layer.provideMerge(StacksEmulator.layer()))

  it.effect("is a client of the emulator", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const client = yield* StacksClient.StacksClient
      const [job] = yield* emulator.addJobs([{ queueKey: "q", command: "make", env: { A: "1" } }])
      assert.isDefined(job)
      const stack = yield* client.registerStack({ key: "s", type: "custom", queueKey: "q" })
      const { jobs } = yield* client.listScheduledJobs({ stackKey: "s", clusterQueueKey: "q" })
      assert.deepStrictEqual(
        jobs.map(({ id }) => id),
        [job.id]
      )
      const jobUuids = [job.id, "unknown"]
      assert.deepStrictEqual(yield* client.batchReserveJobs({ stackKey: "s", jobUuids }), {
        reserved: [job.id],
        notReserved: ["unknown"]
      })
      assert.deepStrictEqual(yield* client.getJob({ stackKey: "s", jobUuid: job.id }), {
        id: job.id,
        env: { A: "1" },
        command: "make"
      })
      const issued = yield* client.issueJobAcquisitionTokens({ stackKey: "s", jobUuids })
      assert.strictEqual((yield* emulator.acquireJob(issued.tokens[0]?.token ?? "")).state, "running")
      assert.deepStrictEqual(yield* client.getJobStates({ stackKey: "s", jobUuids }), {
        states: { [job.id]: "running" }
      })
      const error = yield* Effect.flip(client.finishJob({ stackKey: "s", jobUuid: job.id, detail: "no" }))
      assert.propertyVal(error, "status", 422)
      yield* client.deregisterStack({ stackKey: "s" })
      assert.deepStrictEqual(yield* emulator.stacks, [])
      assert.strictEqual(stack.clusterQueueKey, "q")
    }).pipe(Effect.provide(client))
  )
})
