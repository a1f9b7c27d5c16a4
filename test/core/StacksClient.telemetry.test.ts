/** What can be seen of a call: spans, and debug log lines. */
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy } from "@stacksapi/core"
import { Effect, Exit, Option, References, Schedule, type Tracer } from "effect"
import { type Recording, record } from "../support/recording.ts"
import { answers, calls, jobUuid, operations } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"
import { runToEnd } from "../support/testClock.ts"

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

const retries = RetryPolicy.make(Schedule.recurs(4))

/** A getJob that fails twice, then succeeds. */
const thirdTime = Effect.gen(function* () {
  const client = yield* Scripted.client(
    Scripted.make(Scripted.inTurn(Scripted.empty(503), Scripted.broken(), Scripted.json(200, answers.getJob.body)))
  )
  return yield* client.getJob({ stackKey: "my-stack", jobUuid }).pipe(RetryPolicy.withPolicy(retries))
})

const attributesOf = (span: Tracer.NativeSpan) => Object.fromEntries(span.attributes)
const hasEnded = (span: Tracer.NativeSpan) => span.status._tag === "Ended"
const succeeded = (span: Tracer.NativeSpan) => span.status._tag === "Ended" && Exit.isSuccess(span.status.exit)
const parentOf = (span: Tracer.NativeSpan) => Option.getOrUndefined(span.parent)

describe("spans", () => {
  it.effect("are one for the call, and one for each attempt within it", () =>
    Effect.gen(function* () {
      const { recording } = yield* record(Effect.withSpan(thirdTime, "caller"))
      const [caller, call, ...attempts] = recording.spans
      assert(caller !== undefined && call !== undefined)
      assert.strictEqual(call.name, "StacksClient.getJob")
      assert.strictEqual(parentOf(call), caller)
      assert.deepStrictEqual(attributesOf(call), {
        "stacksapi.operation": "getJob",
        "stacksapi.stack_key": "my-stack"
      })
      assert.strictEqual(attempts.length, 3)
      for (const [index, attempt] of attempts.entries()) {
        assert.strictEqual(attempt.name, "GET")
        assert.strictEqual(attempt.kind, "client")
        assert.strictEqual(parentOf(attempt), call)
        const attributes = attributesOf(attempt)
        assert.strictEqual(attributes["http.request.method"], "GET")
        assert.strictEqual(attributes["url.full"], `http://stacks.test/v3/stacks/my-stack/jobs/${jobUuid}`)
        assert.strictEqual(attributes["stacksapi.attempt"], index + 1)
        assert.match(String(attributes["stacksapi.request_id"]), uuid)
      }
      assert.deepStrictEqual(
        attempts.map((attempt) => attributesOf(attempt)["http.response.status_code"]),
        [503, undefined, 200]
      )
      assert.deepStrictEqual(attempts.map(succeeded), [false, false, true])
      assert.isTrue(recording.spans.every(hasEnded))
      assert.isTrue(succeeded(call))
    })
  )

  it.effect.each(operations)("a call of %s is named after it", (operation) =>
    Effect.gen(function* () {
      const client = yield* Scripted.client(Scripted.make(Scripted.empty(404)))
      const { recording } = yield* record(calls[operation](client))
      assert.deepStrictEqual(
        recording.spans.map(({ name }) => name),
        [`StacksClient.${operation}`, recording.spans[1]?.attributes.get("http.request.method")]
      )
      assert.isFalse(recording.spans.some(succeeded))
      assert.isTrue(recording.spans.every(hasEnded))
    })
  )

  it.effect("are one for a call with an invalid request, and none for attempts", () =>
    Effect.gen(function* () {
      const client = yield* Scripted.client(Scripted.make(Scripted.empty(200)))
      const { recording } = yield* record(client.getJob({ stackKey: "", jobUuid }))
      assert.isAtMost(recording.spans.length, 1)
    })
  )

  it.effect("send no tracing headers", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(404))
      const client = yield* Scripted.client(service)
      yield* record(Effect.withSpan(calls.getJob(client), "caller"))
      assert.deepStrictEqual(Object.keys(service.requests[0]?.headers ?? {}).sort(), [
        "accept",
        "authorization",
        "content-type",
        "user-agent"
      ])
    })
  )
})

const debugLines = (recording: Recording) => recording.logs.filter(({ level }) => level === "Debug")

describe("debug log lines", () => {
  it.effect("are two for each attempt, with one request id", () =>
    Effect.gen(function* () {
      const { recording } = yield* record(thirdTime)
      assert.deepStrictEqual(
        debugLines(recording).map(({ message }) => message),
        [
          "sending request",
          "request failed",
          "sending request",
          "request failed",
          "sending request",
          "received response"
        ]
      )
      const ids = debugLines(recording).map(({ annotations }) => String(annotations["request_id"]))
      for (const [index, id] of ids.entries()) {
        assert.match(id, uuid)
        if (index % 2 === 1) assert.strictEqual(id, ids[index - 1])
      }
      assert.strictEqual(new Set(ids).size, 3)
    })
  )

  it.effect("have operation, method, URL, attempt, status and duration", () =>
    Effect.gen(function* () {
      const { recording } = yield* record(thirdTime)
      const [first, failed] = recording.logs
      assert.deepInclude(first?.annotations, {
        operation: "getJob",
        method: "GET",
        url: `http://stacks.test/v3/stacks/my-stack/jobs/${jobUuid}`,
        attempt: 1
      })
      assert.strictEqual(failed?.annotations["status"], 503)
      assert.match(String(failed?.annotations["error"]), /503 Service Unavailable/)
      assert.property(failed?.annotations, "duration")
      const last = recording.logs.at(-1)
      assert.strictEqual(last?.annotations["status"], 200)
      assert.strictEqual(last?.annotations["attempt"], 3)
    })
  )

  it.effect("have the request id of the span", () =>
    Effect.gen(function* () {
      const { recording } = yield* record(thirdTime)
      const inLogs = new Set(debugLines(recording).map(({ annotations }) => annotations["request_id"]))
      const inSpans = new Set(recording.spans.slice(1).map((span) => span.attributes.get("stacksapi.request_id")))
      assert.deepStrictEqual(inLogs, inSpans)
      assert.strictEqual(inSpans.size, 3)
    })
  )

  it.effect("have a new request id for each run of a call", () =>
    Effect.gen(function* () {
      const ids = (recording: Recording) => debugLines(recording).map(({ annotations }) => annotations["request_id"])
      const one = yield* record(thirdTime)
      const other = yield* record(thirdTime)
      assert.strictEqual(new Set([...ids(one.recording), ...ids(other.recording)]).size, 6)
    })
  )

  it.effect("have no payloads by default", () =>
    Effect.gen(function* () {
      const { recording } = yield* record(thirdTime)
      assert.notInclude(recording.output(), "make test")
      assert.notInclude(recording.output(), "_body")
    })
  )

  it.effect("have the bodies with logPayloads", () =>
    Effect.gen(function* () {
      const service = Scripted.make(
        Scripted.inTurn(
          Scripted.json(422, { message: "no such queue" }),
          Scripted.json(201, answers.registerStack.body)
        )
      )
      const client = yield* Scripted.client(service, { logPayloads: true })
      const call = client.registerStack({ key: "my-stack", type: "custom", queueKey: "linux" })
      const refused = (yield* record(call)).recording
      assert.strictEqual(
        refused.logs[0]?.annotations["request_body"],
        '{"key":"my-stack","type":"custom","queue_key":"linux","metadata":{}}'
      )
      assert.strictEqual(refused.logs[1]?.annotations["response_body"], '{"message":"no such queue"}')
      const accepted = (yield* record(call)).recording
      assert.strictEqual(accepted.logs[1]?.annotations["response_body"], JSON.stringify(answers.registerStack.body))
    })
  )

  it.effect("are not logged above the level Debug", () =>
    Effect.gen(function* () {
      const client = yield* Scripted.client(Scripted.make(Scripted.empty(503)))
      const { recording } = yield* record(
        runToEnd(Effect.exit(calls.getJob(client))).pipe(Effect.provideService(References.MinimumLogLevel, "Info"))
      )
      assert.deepStrictEqual(debugLines(recording), [])
    })
  )
})

describe("A call that is retried", () => {
  it.effect("logs at Info what failed and when the next attempt is", () =>
    Effect.gen(function* () {
      const { recording } = yield* record(thirdTime)
      const lines = recording.logs.filter(({ level }) => level === "Info").map(({ message }) => message)
      assert.lengthOf(lines, 2)
      for (const line of lines) assert.match(String(line), /^getJob failed, retrying in \d+\.\d s: GET http/)
    })
  )
})
