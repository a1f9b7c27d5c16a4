/** All methods of the client, against a service that works. */
import { StacksClient, StacksSchema } from "@stacksapi/core"
import { DateTime, Effect, Redacted } from "effect"
import { CurrentPlatform } from "../support/platform.ts"
import { Emulator, jobOf, rawServer } from "../support/remote.ts"
import { type Cases, clientWith, jobs, must, queueKey, reservedJobs, same, stackKey } from "../support/scene.ts"

export const methods: Cases = {
  "getTokenIdentity tells the token's cluster, without a stack": Effect.gen(function* () {
    const { clusterUuid, uuid } = yield* (yield* StacksClient.StacksClient).getTokenIdentity()
    must(clusterUuid.length === 36 && uuid.length === 36, "ids of the token and its cluster")
  }),

  "registerStack registers a stack, and moves it when it is called again": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const metadata = { zone: "Zürich 🏔" }
    const first = yield* client.registerStack({ key: stackKey, type: "custom", queueKey, metadata })
    const { clusterQueueKey, key, metadata: stored, state, type } = first
    same(
      { clusterQueueKey, key, stored, state, type },
      {
        clusterQueueKey: queueKey,
        key: stackKey,
        stored: metadata,
        state: "connected",
        type: "custom"
      }
    )
    const second = yield* client.registerStack({ key: stackKey, type: "custom", queueKey: "other" })
    same([second.id, second.clusterQueueKey], [first.id, "other"])
  }),

  "deregisterStack leaves, and the stack is gone": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    yield* jobs(0)
    same(yield* client.deregisterStack({ stackKey }), undefined)
    const error = yield* Effect.flip(client.listScheduledJobs({ stackKey, clusterQueueKey: queueKey }))
    must(error._tag === "ErrorResponse" && error.reason._tag === "NotFound", "the stack is not found")
  }),

  "listScheduledJobs gives a page in camelCase, with times": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const { addJobs, pauseQueue } = yield* Emulator
    yield* jobs(0)
    yield* addJobs([
      {
        queueKey,
        id: "early",
        priority: -3,
        agentQueryRules: ["os=linux", "arch=*"],
        scheduledAt: "2026-10-01T12:34:56.789Z",
        runnableAt: "2026-10-01T12:40:00.000Z",
        pipeline: { slug: "web", uuid: null },
        build: { uuid: "b", number: 42, branch: "main" },
        step: { key: "test" }
      },
      { queueKey, id: "late", scheduledAt: "2026-10-02T00:00:00.000Z" }
    ])
    yield* pauseQueue(queueKey, true)
    const page = yield* client.listScheduledJobs({ stackKey, clusterQueueKey: queueKey, pageSize: 1 })
    same(page.jobs, [
      {
        id: "early",
        priority: -3,
        agentQueryRules: ["os=linux", "arch=*"],
        scheduledAt: DateTime.makeUnsafe("2026-10-01T12:34:56.789Z"),
        runnableAt: DateTime.makeUnsafe("2026-10-01T12:40:00.000Z"),
        pipeline: { slug: "web", uuid: null },
        build: { uuid: "b", number: 42, branch: "main" },
        step: { key: "test" }
      }
    ])
    same([page.clusterQueue.dispatchPaused, page.pageInfo.hasNextPage], [true, true])
    must(page.pageInfo.endCursor !== null, "there is a cursor")
    const next = { stackKey, clusterQueueKey: queueKey, startCursor: page.pageInfo.endCursor }
    const { jobs: rest, pageInfo } = yield* client.listScheduledJobs(next)
    same([rest.map(({ id }) => id), pageInfo.hasNextPage], [["late"], false])
  }),

  "batchReserveJobs says which jobs are reserved and which are not": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const [id = ""] = yield* jobs(1)
    const request = { stackKey, jobUuids: [id, "nobody"], reservationExpiry: "10 minutes" } as const
    same(yield* client.batchReserveJobs(request), { reserved: [id], notReserved: ["nobody"] })
    same((yield* jobOf(id)).state, "reserved")
  }),

  "getJob gives a large environment as it is": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const { addJobs } = yield* Emulator
    yield* jobs(0)
    const env = { CI: "true", LARGE: "ünï🚀".repeat(40_000), __proto__x: "", EMPTY: "" }
    yield* addJobs([{ queueKey, id: "large", command: "make test\nmake 'docs'", env }])
    same(yield* client.getJob({ stackKey, jobUuid: "large" }), { id: "large", env, command: "make test\nmake 'docs'" })
  }),

  "getJobStates leaves out what the service does not know": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const [a = "", b = ""] = yield* jobs(2)
    yield* client.batchReserveJobs({ stackKey, jobUuids: [b] })
    const { states } = yield* client.getJobStates({ stackKey, jobUuids: [a, b, "nobody"] })
    same(states, { [a]: "scheduled", [b]: "reserved" })
  }),

  "finishJob sends the exit status 0": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const [id = ""] = yield* reservedJobs(1)
    same(yield* client.finishJob({ stackKey, jobUuid: id, exitStatus: 0, detail: "done" }), undefined)
    const { detail, exitStatus, state } = yield* jobOf(id)
    same([state, exitStatus, detail], ["finished", 0, "done"])
  }),

  "finishJob crops a long detail between two characters": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const [id = ""] = yield* reservedJobs(1)
    yield* client.finishJob({ stackKey, jobUuid: id, detail: "🚀".repeat(2000) })
    const { detail = "" } = yield* jobOf(id)
    must(new TextEncoder().encode(detail).length <= StacksSchema.MaxFinishDetailBytes, "it fits")
    must(detail.startsWith("🚀".repeat(1000)) && !detail.includes("\uFFFD"), "no character is cut")
  }),

  "failJob finishes with -1 and a reason": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const [id = ""] = yield* reservedJobs(1)
    yield* client.failJob({ stackKey, jobUuid: id, detail: "no image", signalReason: "stack_error" })
    const { exitStatus, signalReason } = yield* jobOf(id)
    same([exitStatus, signalReason], [-1, "stack_error"])
  }),

  "createStackNotifications stores the valid ones and reports the others": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const emulator = yield* Emulator
    const [id = ""] = yield* jobs(1)
    const { errors } = yield* client.createStackNotifications({
      stackKey,
      notifications: [
        { jobUuid: id, detail: "pulling" },
        { jobUuid: "nobody", detail: "pulling" }
      ]
    })
    same(
      errors.map(({ indexes }) => indexes),
      [[1]]
    )
    same(
      (yield* emulator.notifications).map(({ detail, jobUuid }) => [jobUuid, detail]),
      [[id, "pulling"]]
    )
  }),

  "createStackNotification fails where it was not stored": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const [id = ""] = yield* jobs(1)
    same(yield* client.createStackNotification({ stackKey, jobUuid: id, detail: "pulling" }), undefined)
    const error = yield* Effect.flip(client.createStackNotification({ stackKey, jobUuid: "nobody", detail: "pulling" }))
    same(error._tag, "NotificationRejected")
  }),

  "issueJobAcquisitionTokens keeps the tokens redacted": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const [id = ""] = yield* reservedJobs(1)
    const { notIssued, tokens } = yield* client.issueJobAcquisitionTokens({ stackKey, jobUuids: [id, "nobody"] })
    same([tokens.map(({ jobUuid }) => jobUuid), notIssued], [[id], ["nobody"]])
    const [issued] = tokens
    must(issued !== undefined && Redacted.value(issued.token).startsWith("bkjat_"), "there is a token")
    must(!JSON.stringify(tokens).includes(Redacted.value(issued.token)), "it does not show")
  }),

  "withResponse gives headers, rate limit and attempts": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const [id = ""] = yield* jobs(1)
    const response = yield* StacksClient.withResponse(client.getJob({ stackKey, jobUuid: id }))
    same([response.value.id, response.status, response.attempts], [id, 200, 1])
    same([response.rateLimit.scope, response.rateLimit.limit], ["show-job", 1000])
    same(response.headers["content-type"]?.includes("json"), true)
  }),

  "requests say who sends them and what they take": Effect.gen(function* () {
    const { isBrowser } = yield* CurrentPlatform
    const server = yield* rawServer({ body: JSON.stringify({ id: "a", env: {}, command: "" }) })
    const client = yield* clientWith({ baseUrl: server.baseUrl, userAgentPrefix: "mine/1" })
    yield* client.getJob({ stackKey, jobUuid: "a" })
    const { headers } = yield* server.request
    same([headers["authorization"], headers["accept"]], ["Token bkct_emulator", "application/json"])
    must(isBrowser || headers["user-agent"]?.startsWith("mine/1 stacksapi-effect/") === true, "there is a user agent")
  }),

  "ids stay encoded, and a dot goes out as %2E": Effect.gen(function* () {
    const server = yield* rawServer({ status: 404 })
    const client = yield* clientWith({ baseUrl: `${server.baseUrl}base` })
    yield* Effect.exit(client.getJob({ stackKey: "a.b/c", jobUuid: "%2E ä" }))
    const { target } = yield* server.request
    must(target.endsWith("/v3/base/stacks/a%2Eb%2Fc/jobs/%252E%20%C3%A4"), `${target} is encoded`)
  })
}
