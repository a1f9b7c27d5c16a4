/** Every way to fail, and the typed failure for it. */
import { RetryPolicy, StacksClient, StacksError } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Duration, Effect, Redacted } from "effect"
import { CurrentPlatform } from "../support/platform.ts"
import { countOf, Emulator, nowhere, rawServer } from "../support/remote.ts"
import { type Case, type Cases, clientWith, jobs, must, same, stackKey } from "../support/scene.ts"

const { Fault } = StacksEmulator

const ask = (client: StacksClient.Service) =>
  client.getJob({ stackKey, jobUuid: "a" }).pipe(RetryPolicy.withPolicy(RetryPolicy.none), Effect.flip)

/** What a single call fails with, where the service has such a fault. */
const failureOf = Effect.fnUntraced(function* (fault: StacksEmulator.Fault) {
  const client = yield* StacksClient.StacksClient
  const emulator = yield* Emulator
  yield* emulator.addJobs([{ queueKey: "default", id: "a" }])
  yield* client.registerStack({ key: stackKey, type: "custom", queueKey: "default" })
  yield* emulator.setFaults([fault])
  return yield* ask(client)
})

const reasons = {
  400: "BadRequest",
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  418: "UnexpectedStatus",
  422: "Unprocessable",
  429: "RateLimited",
  500: "ServerError",
  503: "ServerError"
} as const

const statuses: Cases = Object.fromEntries(
  Object.entries(reasons).map(([status, reason]): [string, Case] => [
    `the status ${status} is ${reason}`,
    Effect.gen(function* () {
      const error = yield* failureOf(Fault.Status({ status: Number(status), body: { message: "because" } }))
      must(error._tag === "ErrorResponse", `${error} is a response`)
      same([error.status, error.reason._tag, error.reason.message], [Number(status), reason, "because"])
      same([error.isRetryable, StacksError.isFatal(error)], [Number(status) >= 429, Number(status) < 429])
    })
  ])
)

export const failures: Cases = {
  ...statuses,

  "a wrong token is Unauthorized, and is not shown": Effect.gen(function* () {
    const token = "bkct_wrong_and_secret"
    const client = yield* clientWith({ token: Redacted.make(token) })
    const error = yield* ask(client)
    must(error._tag === "ErrorResponse" && error.reason._tag === "Unauthorized", "the service refuses")
    const shown = `${error} ${error.stack} ${JSON.stringify(error)} ${JSON.stringify(error.headers)} ${error.rawBody}`
    must(!shown.includes(token), "the token is not shown")
  }),

  "a proxy's page is told by its status": Effect.gen(function* () {
    const error = yield* failureOf(Fault.Html({ status: 502 }))
    must(error._tag === "ErrorResponse" && error.reason._tag === "ServerError", "it is a ServerError")
    same([error.reason.message, error.rawBody.startsWith("<!DOCTYPE html>")], ["Bad Gateway", true])
  }),

  "Retry-After is read": Effect.gen(function* () {
    const error = yield* failureOf(Fault.Status({ status: 503, retryAfter: "7 seconds" }))
    must(error._tag === "ErrorResponse", "it is a response")
    same(error.retryAfter, Duration.seconds(7))
  }),

  "broken JSON is a DecodeError": Effect.gen(function* () {
    const error = yield* failureOf(Fault.Malformed({}))
    must(error._tag === "DecodeError", `${error} is a DecodeError`)
    same([error.status, error.rawBody], [200, '{"unfinished": '])
  }),

  "another shape than declared is a DecodeError that says where": Effect.gen(function* () {
    const error = yield* failureOf(Fault.Malformed({ body: '{"id": "a", "env": {"A": 1}, "command": ""}' }))
    must(error._tag === "DecodeError" && error.issue.includes('["env"]["A"]'), `${error} says where`)
  }),

  "a connection that breaks before the answer is a TransportError": Effect.gen(function* () {
    const error = yield* failureOf(Fault.Reset({}))
    must(error._tag === "TransportError", `${error} is a TransportError`)
    same([error.kind, error.mayHaveBeenProcessed], ["Reset", true])
  }),

  "a connection that breaks within the answer is a TransportError": Effect.gen(function* () {
    const error = yield* failureOf(Fault.Truncate({}))
    must(error._tag === "TransportError", `${error} is a TransportError`)
    same([error.kind, error.mayHaveBeenProcessed], ["CutShort", true])
  }),

  "an answer that never ends is a TransportError in time": Effect.gen(function* () {
    const server = yield* rawServer({ body: `{"id": "a", "env": {}}`, half: true })
    const client = yield* clientWith({ baseUrl: server.baseUrl, timeout: "300 millis" })
    const error = yield* ask(client)
    must(error._tag === "TransportError", `${error} is a TransportError`)
    same(error.kind, "Timeout")
    yield* server.closed
  }),

  "nobody who listens is a TransportError": Effect.gen(function* () {
    const { tellsRefusal } = yield* CurrentPlatform
    const error = yield* ask(yield* clientWith({ baseUrl: yield* nowhere }))
    must(error._tag === "TransportError", `${error} is a TransportError`)
    same([error.kind, error.mayHaveBeenProcessed], tellsRefusal ? ["NotConnected", false] : ["Reset", true])
  }),

  "a redirect is not followed": Effect.gen(function* () {
    const { isBrowser } = yield* CurrentPlatform
    const there = yield* rawServer({ body: JSON.stringify({ id: "a", env: {}, command: "" }) })
    const here = yield* rawServer({ status: 302, headers: { location: `${there.baseUrl}anything` } })
    const error = yield* ask(yield* clientWith({ baseUrl: here.baseUrl }))
    must(error._tag === "ErrorResponse" && error.reason._tag === "UnexpectedStatus", `${error} is a response`)
    // A browser says that there was one, and no more.
    same(error.status, isBrowser ? 0 : 302)
  }),

  "what the service would refuse is not sent": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    yield* jobs(0)
    for (const call of [
      client.batchReserveJobs({ stackKey, jobUuids: [] }),
      client.batchReserveJobs({ stackKey, jobUuids: Array.from({ length: 1001 }, String) }),
      client.batchReserveJobs({ stackKey, jobUuids: ["a"], reservationExpiry: "2 hours" })
    ]) {
      same((yield* Effect.flip(call))._tag, "InvalidRequest")
    }
    same(yield* countOf("batchReserveJobs"), 0)
  }),

  "settings that can't work are told by the first call": Effect.gen(function* () {
    for (const options of [
      { baseUrl: "nonsense" },
      { baseUrl: "https://user:pass@host/" },
      { token: Redacted.make("") }
    ]) {
      same((yield* ask(yield* clientWith(options)))._tag, "InvalidRequest")
    }
  }),

  "failures can be caught by their tag, their reason, and whether they are retryable": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const { setFaults } = yield* Emulator
    yield* jobs(0)
    yield* setFaults([Fault.Status({ status: 503 })])
    const down = client.getJob({ stackKey, jobUuid: "a" }).pipe(
      Effect.as("there"),
      Effect.catchIf(StacksError.isRetryable, () => Effect.succeed("later"))
    )
    same(yield* down, "later")
    yield* setFaults([])
    const gone = client.getJob({ stackKey, jobUuid: "a" }).pipe(
      Effect.as("there"),
      Effect.catchReason("ErrorResponse", "NotFound", () => Effect.succeed("gone"))
    )
    same(yield* gone, "gone")
  })
}
