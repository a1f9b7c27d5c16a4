/** What goes over the wire, byte for byte. */
import { createRequire } from "node:module"
import { assert, describe, it } from "@effect/vitest"
import type { StacksApi, StacksClient } from "@stacksapi/core"
import { DateTime, Effect, Tracer } from "effect"
import * as RawServer from "../support/rawServer.ts"
import { answers, answerTo, calls, jobUuid, operations } from "../support/samples.ts"
import * as Undici from "../support/undici.ts"

const version: string = createRequire(import.meta.url)("../../packages/core/package.json").version

/** A server that has a valid answer for every request, and a client of it. */
const setUp = Effect.fnUntraced(function* (
  operation: StacksApi.Operation,
  options: Partial<StacksClient.Options> & { readonly path?: string } = {}
) {
  const { status, body } = answerTo(operation)
  const server = yield* RawServer.make(
    RawServer.always({ status, body: body === undefined ? "" : JSON.stringify(body) })
  )
  const client = yield* Undici.client({ ...options, baseUrl: `${server.origin}${options.path ?? "/v3/"}` })
  return { client, server }
})

/** The one request that a call sends. */
const requestOf = Effect.fnUntraced(function* (
  operation: StacksApi.Operation,
  call: (client: StacksClient.Service) => Effect.Effect<unknown, unknown> = calls[operation],
  options: Partial<StacksClient.Options> & { readonly path?: string } = {}
) {
  const { client, server } = yield* setUp(operation, options)
  yield* call(client)
  assert.strictEqual(server.requests.length, 1)
  return yield* server.firstRequest
})

const startLineOf = ({ method, target }: RawServer.RawRequest) => `${method} ${target}`

describe("method, path and body", () => {
  const key = "my-stack"

  it.effect("getTokenIdentity", () =>
    Effect.gen(function* () {
      const request = yield* requestOf("getTokenIdentity")
      assert.strictEqual(startLineOf(request), "GET /v3/token")
      assert.strictEqual(request.body, "")
    })
  )

  it.effect("registerStack", () =>
    Effect.gen(function* () {
      const request = yield* requestOf("registerStack", (client) =>
        client.registerStack({ key, type: "custom", queueKey: "linux", metadata: { zone: "a", ä: "ö" } })
      )
      assert.strictEqual(startLineOf(request), "POST /v3/stacks/register")
      assert.strictEqual(
        request.body,
        '{"key":"my-stack","type":"custom","queue_key":"linux","metadata":{"zone":"a","ä":"ö"}}'
      )
    })
  )

  it.effect("registerStack sends empty metadata by default", () =>
    Effect.gen(function* () {
      const expected = '{"key":"my-stack","type":"custom","queue_key":"default","metadata":{}}'
      assert.strictEqual((yield* requestOf("registerStack")).body, expected)
      const withUndefined = yield* requestOf("registerStack", (client) =>
        client.registerStack({ key, type: "custom", queueKey: "default", metadata: undefined })
      )
      assert.strictEqual(withUndefined.body, expected)
    })
  )

  it.effect("deregisterStack", () =>
    Effect.gen(function* () {
      const request = yield* requestOf("deregisterStack")
      assert.strictEqual(startLineOf(request), "POST /v3/stacks/my-stack/deregister")
      assert.strictEqual(request.body, "")
    })
  )

  it.effect("listScheduledJobs", () =>
    Effect.gen(function* () {
      const all = yield* requestOf("listScheduledJobs", (client) =>
        client.listScheduledJobs({
          stackKey: key,
          clusterQueueKey: "linux & co",
          pageSize: 1000,
          startCursor: "a+b/c=="
        })
      )
      assert.strictEqual(
        startLineOf(all),
        "GET /v3/stacks/my-stack/scheduled-jobs?queue_key=linux%20%26%20co&limit=1000&after=a%2Bb%2Fc%3D%3D"
      )
      assert.strictEqual(all.body, "")
      const least = yield* requestOf("listScheduledJobs", (client) =>
        client.listScheduledJobs({
          stackKey: key,
          clusterQueueKey: "_default",
          pageSize: undefined,
          startCursor: undefined
        })
      )
      assert.strictEqual(startLineOf(least), "GET /v3/stacks/my-stack/scheduled-jobs?queue_key=_default")
    })
  )

  it.effect("batchReserveJobs", () =>
    Effect.gen(function* () {
      const request = yield* requestOf("batchReserveJobs", (client) =>
        client.batchReserveJobs({ stackKey: key, jobUuids: [jobUuid, "b"], reservationExpiry: "5 minutes" })
      )
      assert.strictEqual(startLineOf(request), "PUT /v3/stacks/my-stack/scheduled-jobs/batch-reserve")
      assert.strictEqual(request.body, `{"job_uuids":["${jobUuid}","b"],"reservation_expiry_seconds":300}`)
      const least = yield* requestOf("batchReserveJobs", (client) =>
        client.batchReserveJobs({ stackKey: key, jobUuids: [jobUuid], reservationExpiry: undefined })
      )
      assert.strictEqual(least.body, `{"job_uuids":["${jobUuid}"]}`)
    })
  )

  it.effect("getJob", () =>
    Effect.gen(function* () {
      const request = yield* requestOf("getJob")
      assert.strictEqual(startLineOf(request), `GET /v3/stacks/my-stack/jobs/${jobUuid}`)
      assert.strictEqual(request.body, "")
    })
  )

  it.effect("getJobStates", () =>
    Effect.gen(function* () {
      const request = yield* requestOf("getJobStates")
      assert.strictEqual(startLineOf(request), "POST /v3/stacks/my-stack/jobs/get-states")
      assert.strictEqual(request.body, `{"job_uuids":["${jobUuid}"]}`)
    })
  )

  it.effect("finishJob sends exit status 0", () =>
    Effect.gen(function* () {
      const request = yield* requestOf("finishJob", (client) =>
        client.finishJob({ stackKey: key, jobUuid, exitStatus: 0, detail: "ok", signalReason: "cancel" })
      )
      assert.strictEqual(startLineOf(request), `POST /v3/stacks/my-stack/jobs/${jobUuid}/finish`)
      assert.strictEqual(request.body, '{"exit_status":0,"detail":"ok","signal_reason":"cancel"}')
    })
  )

  it.effect("finishJob omits optional values, so that the service decides the exit status", () =>
    Effect.gen(function* () {
      const least = yield* requestOf("finishJob", (client) =>
        client.finishJob({ stackKey: key, jobUuid, detail: "ok" })
      )
      assert.strictEqual(least.body, '{"detail":"ok"}')
      const withUndefined = yield* requestOf("finishJob", (client) =>
        client.finishJob({ stackKey: key, jobUuid, detail: "ok", exitStatus: undefined, signalReason: undefined })
      )
      assert.strictEqual(withUndefined.body, '{"detail":"ok"}')
    })
  )

  it.effect("failJob finishes with a failing status, by default -1", () =>
    Effect.gen(function* () {
      const request = yield* requestOf("failJob")
      assert.strictEqual(startLineOf(request), `POST /v3/stacks/my-stack/jobs/${jobUuid}/finish`)
      assert.strictEqual(request.body, '{"exit_status":-1,"detail":"no image"}')
      const given = yield* requestOf("failJob", (client) =>
        client.failJob({ stackKey: key, jobUuid, detail: "no image", exitStatus: 7, signalReason: "stack_error" })
      )
      assert.strictEqual(given.body, '{"exit_status":7,"detail":"no image","signal_reason":"stack_error"}')
      const zero = yield* requestOf("failJob", (client) =>
        client.failJob({ stackKey: key, jobUuid, detail: "odd, but asked for", exitStatus: 0 })
      )
      assert.strictEqual(zero.body, '{"exit_status":0,"detail":"odd, but asked for"}')
    })
  )

  it.effect("createStackNotifications", () =>
    Effect.gen(function* () {
      const request = yield* requestOf("createStackNotifications", (client) =>
        client.createStackNotifications({
          stackKey: key,
          notifications: [
            { jobUuid: "a", detail: "pulling", timestamp: DateTime.makeUnsafe("2026-10-01T12:34:56.789Z") },
            { jobUuid: "b", detail: "starting", timestamp: undefined }
          ]
        })
      )
      assert.strictEqual(startLineOf(request), "POST /v3/stacks/my-stack/notifications")
      assert.strictEqual(
        request.body,
        '{"notifications":[{"job_uuid":"a","detail":"pulling","timestamp":"2026-10-01T12:34:56.789Z"},' +
          '{"job_uuid":"b","detail":"starting"}]}'
      )
    })
  )

  it.effect("createStackNotification is a batch of one", () =>
    Effect.gen(function* () {
      const request = yield* requestOf("createStackNotification")
      assert.strictEqual(startLineOf(request), "POST /v3/stacks/my-stack/notifications")
      assert.strictEqual(request.body, `{"notifications":[{"job_uuid":"${jobUuid}","detail":"pulling"}]}`)
    })
  )

  it.effect("issueJobAcquisitionTokens", () =>
    Effect.gen(function* () {
      const request = yield* requestOf("issueJobAcquisitionTokens", (client) =>
        client.issueJobAcquisitionTokens({ stackKey: key, jobUuids: [jobUuid], tokenLifetime: "1 hour" })
      )
      assert.strictEqual(startLineOf(request), "POST /v3/stacks/my-stack/job-acquisition-tokens")
      assert.strictEqual(request.body, `{"job_uuids":["${jobUuid}"],"token_lifetime_seconds":3600}`)
      const least = yield* requestOf("issueJobAcquisitionTokens")
      assert.strictEqual(least.body, `{"job_uuids":["${jobUuid}"]}`)
    })
  )

  it.effect("durations are sent as whole seconds, rounded up", () =>
    Effect.gen(function* () {
      const seconds = (reservationExpiry: NonNullable<StacksClient.BatchReserveJobsRequest["reservationExpiry"]>) =>
        Effect.map(
          requestOf("batchReserveJobs", (client) =>
            client.batchReserveJobs({ stackKey: key, jobUuids: ["a"], reservationExpiry })
          ),
          ({ body }) => JSON.parse(body).reservation_expiry_seconds
        )
      assert.strictEqual(yield* seconds("1 second"), 1)
      assert.strictEqual(yield* seconds(1001), 2)
      assert.strictEqual(yield* seconds("3599500 millis"), 3600)
    })
  )
})

describe("headers", () => {
  const withoutBody: ReadonlyArray<StacksApi.Operation> = [
    "getTokenIdentity",
    "deregisterStack",
    "listScheduledJobs",
    "getJob"
  ]

  it.effect.each(operations)("%s sends these headers and no others, also with a tracer installed", (operation) =>
    Effect.gen(function* () {
      const request = yield* requestOf(operation, (client) =>
        calls[operation](client).pipe(
          Effect.withSpan("the caller"),
          Effect.provideService(Tracer.Tracer, Tracer.nativeTracer)
        )
      )
      const { host, "content-length": length = "0", connection, ...rest } = Object.fromEntries(request.headers)
      assert.deepStrictEqual(rest, {
        accept: "application/json",
        authorization: `Token ${Undici.token}`,
        "content-type": "application/json",
        "user-agent": `stacksapi-effect/${version}`
      })
      assert.match(host ?? "", /^127\.0\.0\.1:\d+$/)
      assert.strictEqual(connection, "keep-alive")
      assert.strictEqual(Number(length), Buffer.byteLength(request.body))
      assert.strictEqual(request.body === "", withoutBody.includes(operation))
      // Each name once.
      assert.strictEqual(new Set(request.headers.map(([name]) => name)).size, request.headers.length)
    })
  )

  it.effect("the user agent begins with the caller's prefix", () =>
    Effect.gen(function* () {
      const request = yield* requestOf("getJob", calls.getJob, { userAgentPrefix: "my-stack/1.2" })
      assert.strictEqual(RawServer.header(request, "user-agent"), `my-stack/1.2 stacksapi-effect/${version}`)
    })
  )

  it.effect("the token is in the Authorization header and nowhere else", () =>
    Effect.gen(function* () {
      for (const operation of operations) {
        const request = yield* requestOf(operation)
        const others = request.headers.filter(([name]) => name !== "authorization")
        assert.strictEqual(RawServer.header(request, "authorization"), "Token bkct_test")
        assert.notInclude(JSON.stringify([request.target, others, request.body]), "bkct_test")
      }
    })
  )
})

describe("path parameters", () => {
  const targetOf = (stackKey: string, uuid: string) =>
    Effect.map(
      requestOf("getJob", (client) => client.getJob({ stackKey, jobUuid: uuid })),
      ({ target }) => target
    )

  it.effect.each([
    ["a dot", "a.b", "a%2Eb"],
    ["only dots, but more than two", "...", "%2E%2E%2E"],
    ["a leading dot", ".hidden", "%2Ehidden"],
    ["a slash", "a/b", "a%2Fb"],
    ["a backslash", "a\\b", "a%5Cb"],
    ["a space", "a b", "a%20b"],
    ["a percent sign", "100%", "100%25"],
    ["what looks encoded", "%2E%2e", "%252E%252e"],
    ["a question mark and a hash", "a?b#c", "a%3Fb%23c"],
    ["a plus sign and an ampersand", "a+b&c", "a%2Bb%26c"],
    ["line breaks and tabs", "a\r\n\tb", "a%0D%0A%09b"],
    ["Unicode", "ä😀", "%C3%A4%F0%9F%98%80"]
  ] as const)("encodes %s", ([, id, encoded]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* targetOf("s", id), `/v3/stacks/s/jobs/${encoded}`)
      assert.strictEqual(yield* targetOf(id, "j"), `/v3/stacks/${encoded}/jobs/j`)
    })
  )
})

describe("the base URL", () => {
  it.effect.each([
    ["/v3", "/v3/stacks/my-stack/jobs"],
    ["/v3/", "/v3/stacks/my-stack/jobs"],
    ["/v3//", "/v3/stacks/my-stack/jobs"],
    ["", "/stacks/my-stack/jobs"],
    ["/", "/stacks/my-stack/jobs"],
    ["/proxy/buildkite/v3", "/proxy/buildkite/v3/stacks/my-stack/jobs"],
    ["/proxy/buildkite/v3/", "/proxy/buildkite/v3/stacks/my-stack/jobs"]
  ] as const)("keeps the path of http://host%s", ([path, expected]) =>
    Effect.gen(function* () {
      const request = yield* requestOf("getJob", calls.getJob, { path })
      assert.strictEqual(request.target, `${expected}/${jobUuid}`)
    })
  )

  it.effect("may be a URL object", () =>
    Effect.gen(function* () {
      const server = yield* RawServer.make(RawServer.always({ body: JSON.stringify(answers.getJob.body) }))
      const client = yield* Undici.client({ baseUrl: new URL(`${server.origin}/deep/v3`) })
      yield* calls.getJob(client)
      assert.strictEqual((yield* server.firstRequest).target, `/deep/v3/stacks/my-stack/jobs/${jobUuid}`)
    })
  )
})
