/** Error responses: the status says what it is, the body and the headers only add to it. */
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, StacksError } from "@stacksapi/core"
import { Duration, Effect, Layer, Stream } from "effect"
import { HttpClient, HttpServerResponse } from "effect/http"
import { answers, calls, jobUuid, operations } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

const url = `http://stacks.test/v3/stacks/my-stack/jobs/${jobUuid}`

/** The error that getJob fails with when this is the answer. */
const errorOf = (answer: Scripted.Answer) =>
  Effect.gen(function* () {
    const client = yield* Scripted.client(Scripted.make(answer))
    return yield* Effect.flip(client.getJob({ stackKey: "my-stack", jobUuid }))
  }).pipe(RetryPolicy.withPolicy(RetryPolicy.none))

const responseOf = (answer: Scripted.Answer) =>
  Effect.map(errorOf(answer), (error) => {
    assert(error._tag === "ErrorResponse", String(error))
    return error
  })

const bytesAnswer =
  (status: number, bytes: Uint8Array): Scripted.Answer =>
  () =>
    HttpServerResponse.uint8Array(bytes, { status })

const brokenOff =
  (status: number, text: string): Scripted.Answer =>
  () =>
    HttpServerResponse.stream(
      Stream.concat(Stream.succeed(new TextEncoder().encode(text)), Stream.fail(new Error("gone"))),
      { status }
    )

/** No answer: the HttpClient fails with this. */
const brokenBy =
  (cause: unknown): Scripted.Answer =>
  () =>
    Effect.fail(cause)

describe("The status of a response decides its reason", () => {
  const statuses = [
    [400, "BadRequest", false],
    [401, "Unauthorized", false],
    [403, "Forbidden", false],
    [404, "NotFound", false],
    [422, "Unprocessable", false],
    [429, "RateLimited", true],
    [500, "ServerError", true],
    [501, "ServerError", true],
    [502, "ServerError", true],
    [503, "ServerError", true],
    [504, "ServerError", true],
    [520, "ServerError", true],
    [599, "ServerError", true],
    [300, "UnexpectedStatus", false],
    [304, "UnexpectedStatus", false],
    [402, "UnexpectedStatus", false],
    [405, "UnexpectedStatus", false],
    [408, "UnexpectedStatus", false],
    [409, "UnexpectedStatus", false],
    [413, "UnexpectedStatus", false],
    [418, "UnexpectedStatus", false],
    [499, "UnexpectedStatus", false]
  ] as const

  it.effect.each(statuses)("%s is %s; retryable: %s", ([status, reason, isRetryable]) =>
    Effect.gen(function* () {
      const bodies = [
        Scripted.json(status, { message: "because" }),
        Scripted.json(status, { message: "because", reset: "soon", limit: {} }),
        Scripted.text(status, "<html>Sorry</html>", { "content-type": "text/html" }),
        Scripted.empty(status),
        brokenOff(status, '{"mess'),
        bytesAnswer(status, Uint8Array.of(0xff, 0xfe, 0x00))
      ]
      for (const body of bodies) {
        const error = yield* responseOf(body)
        assert.strictEqual(error.status, status)
        assert.strictEqual(error.reason._tag, reason)
        assert.strictEqual(error.isRetryable, isRetryable)
        assert.strictEqual(error.reason.isRetryable, isRetryable)
        assert.strictEqual(StacksError.isRetryable(error), isRetryable)
        assert.strictEqual(StacksError.isFatal(error), !isRetryable)
      }
    })
  )

  it.effect.each(operations)("%s fails with its own name and URL", (operation) =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.json(404, { message: "no such stack" }))
      const client = yield* Scripted.client(service)
      const error = yield* Effect.flip(calls[operation](client))
      assert(error._tag === "ErrorResponse")
      assert.strictEqual(error.operation, operation)
      assert.strictEqual(error.method, service.requests[0]?.method)
      assert.strictEqual(error.url, service.requests[0]?.url)
      assert.strictEqual(error.message, `${error.method} ${error.url}: 404 no such stack`)
      assert.strictEqual(service.requests.length, 1)
    })
  )

  it.effect("also with an HttpClient that fails on statuses itself", () =>
    Effect.gen(function* () {
      const { httpClient } = Scripted.make(Scripted.json(429, { message: "slow down", reset: 3 }))
      const filtered = Layer.succeed(HttpClient.HttpClient, HttpClient.filterStatusOk(httpClient))
      const client = yield* Scripted.client({ layer: filtered })
      const error = yield* Effect.flip(
        client.getJob({ stackKey: "my-stack", jobUuid }).pipe(RetryPolicy.withPolicy(RetryPolicy.none))
      )
      assert(error._tag === "ErrorResponse")
      assert.strictEqual(error.message, `GET ${url}: 429 slow down`)
      assert.deepStrictEqual(error.retryAfter, Duration.seconds(3))
    })
  )
})

describe("The message of an error response is METHOD URL: STATUS text", () => {
  const messages: ReadonlyArray<readonly [string, Scripted.Answer, string]> = [
    ["the body's message", Scripted.json(422, { message: "key is too long" }), "422 key is too long"],
    ["a status' phrase for another JSON", Scripted.json(404, { error: "x" }), "404 Not Found"],
    ["a phrase for an empty message", Scripted.json(400, { message: " " }), "400 Bad Request"],
    ["a phrase for a message that is no text", Scripted.json(400, { message: { a: 1 } }), "400 Bad Request"],
    ["a phrase for a JSON array", Scripted.json(500, ["message"]), "500 Internal Server Error"],
    ["a phrase for a JSON text", Scripted.json(500, "message"), "500 Internal Server Error"],
    ["a phrase for JSON null", Scripted.json(500, null), "500 Internal Server Error"],
    ["a phrase for HTML", Scripted.text(502, "<html>no</html>"), "502 Bad Gateway"],
    ["a phrase for text", Scripted.text(503, "upstream is down"), "503 Service Unavailable"],
    ["a phrase for nothing", Scripted.empty(429), "429 Too Many Requests"],
    ["a phrase for what breaks off", brokenOff(504, '{"message":"x"'), "504 Gateway Timeout"],
    ["something for a status that nobody knows", Scripted.empty(599), "599 Unknown status"]
  ]

  it.effect.each(messages)("with %s", ([, answer, expected]) =>
    Effect.gen(function* () {
      const error = yield* responseOf(answer)
      assert.strictEqual(error.message, `GET ${url}: ${expected}`)
      assert.strictEqual(String(error), `ErrorResponse: GET ${url}: ${expected}`)
    })
  )

  it.effect("and has a limited length", () =>
    Effect.gen(function* () {
      const error = yield* responseOf(Scripted.json(400, { message: "m".repeat(50_000) }))
      assert.isBelow(error.message.length, 1500)
    })
  )
})

describe("The raw body of an error response", () => {
  it.effect("is the body as text, and is not printed", () =>
    Effect.gen(function* () {
      const error = yield* responseOf(Scripted.text(500, "<html>ä😀 page</html>"))
      assert.strictEqual(error.rawBody, "<html>ä😀 page</html>")
      for (const rendering of [String(error), JSON.stringify(error), inspect(error, { depth: 10 })]) {
        assert.notInclude(rendering, "page")
      }
    })
  )

  it.effect("is at most 64 KiB", () =>
    Effect.gen(function* () {
      const error = yield* responseOf(Scripted.text(500, "ab".repeat(1_000_000)))
      assert.strictEqual(error.rawBody, "ab".repeat(32 * 1024))
      const wide = yield* responseOf(Scripted.text(500, "€".repeat(1_000_000)))
      assert.isAtMost(new TextEncoder().encode(wide.rawBody).length, 64 * 1024 + 2)
    })
  )

  it.effect("is incomplete if the connection breaks", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* responseOf(brokenOff(500, "as far as"))).rawBody, "as far as")
      assert.strictEqual((yield* responseOf(Scripted.empty(500))).rawBody, "")
    })
  )

  it.effect("comes with the headers", () =>
    Effect.gen(function* () {
      const error = yield* responseOf(Scripted.empty(500, { "X-Request-Id": "abc", "RateLimit-Scope": "show-job" }))
      assert.strictEqual(error.headers["x-request-id"], "abc")
      assert.strictEqual(error.headers["ratelimit-scope"], "show-job")
    })
  )
})

describe("A success that does not decode", () => {
  const unreadable: ReadonlyArray<readonly [string, Scripted.Answer, RegExp]> = [
    ["nothing", Scripted.empty(200), /empty/],
    ["no content", Scripted.empty(204), /empty/],
    ["HTML", Scripted.text(200, "<html>login</html>"), /not JSON/],
    ["half of a JSON", Scripted.text(200, '{"id":"a'), /not JSON/],
    ["another shape", Scripted.json(200, { id: "a", env: [] }), /env/],
    ["a missing field", Scripted.json(200, { id: "a", env: {} }), /command/],
    ["a number for a text", Scripted.json(200, { id: 1, env: {}, command: "" }), /id/],
    ["null", Scripted.json(200, null), /object/],
    ["an array", Scripted.json(200, [answers.getJob.body]), /object/]
  ]

  it.effect.each(unreadable)("is fatal and not retried: %s", ([, answer, issue]) =>
    Effect.gen(function* () {
      const service = Scripted.make(answer)
      const client = yield* Scripted.client(service)
      const error = yield* Effect.flip(client.getJob({ stackKey: "my-stack", jobUuid }))
      assert(error._tag === "DecodeError")
      assert.match(error.issue, issue)
      assert.match(error.message, /^GET http:\/\/stacks\.test\/v3\/\S+: 20\d with a body that does not decode: /)
      assert.isFalse(error.isRetryable)
      assert.isTrue(StacksError.isFatal(error))
      assert.strictEqual(service.requests.length, 1)
    })
  )

  it.effect("keeps its body, headers and status", () =>
    Effect.gen(function* () {
      const error = yield* errorOf(Scripted.text(203, `<html>${"x".repeat(100_000)}`, { "x-proxy": "p" }))
      assert(error._tag === "DecodeError")
      assert.strictEqual(error.status, 203)
      assert.strictEqual(error.headers["x-proxy"], "p")
      assert.strictEqual(error.rawBody.length, 64 * 1024)
      assert.notInclude(JSON.stringify(error), "xxxx")
    })
  )
})

describe("broken connections", () => {
  it.effect.each([
    ["ECONNREFUSED", "NotConnected", false],
    ["ENOTFOUND", "NotConnected", false],
    ["EAI_AGAIN", "NotConnected", false],
    ["EHOSTUNREACH", "NotConnected", false],
    ["UND_ERR_CONNECT_TIMEOUT", "NotConnected", false],
    ["CERT_HAS_EXPIRED", "NotConnected", false],
    ["ECONNRESET", "Reset", true],
    ["EPIPE", "Reset", true],
    ["UND_ERR_SOCKET", "Reset", true],
    ["ETIMEDOUT", "Reset", true]
  ] as const)("%s is %s; may have been processed: %s", ([code, kind, mayHaveBeenProcessed]) =>
    Effect.gen(function* () {
      const direct = yield* errorOf(Scripted.broken(code))
      const inner = Object.assign(new Error("inner"), { code })
      const wrapped = yield* errorOf(brokenBy(new TypeError("fetch failed", { cause: inner })))
      const several = yield* errorOf(brokenBy(new AggregateError([inner], "all failed")))
      for (const error of [direct, wrapped, several]) {
        assert(error._tag === "TransportError")
        assert.strictEqual(error.kind, kind)
        assert.strictEqual(error.mayHaveBeenProcessed, mayHaveBeenProcessed)
        assert.isTrue(error.isRetryable)
        assert.isTrue(StacksError.isRetryable(error))
        assert.include(error.message, code)
        assert.isTrue(error.message.startsWith(`GET ${url}: `))
      }
    })
  )

  it.effect.each([undefined, null, "gone", 42, {}, { code: 1 }, new Error("gone")])(
    "a failure without a code leaves it open whether the request was processed: %s",
    (cause) =>
      Effect.gen(function* () {
        const error = yield* errorOf(brokenBy(cause))
        assert(error._tag === "TransportError")
        assert.strictEqual(error.kind, "Reset")
        assert.isTrue(error.mayHaveBeenProcessed)
      })
  )

  it.effect("has the HttpClient's chain of errors as its cause", () =>
    Effect.gen(function* () {
      const inner = Object.assign(new Error("connect ECONNREFUSED 10.0.0.1:443"), { code: "ECONNREFUSED", extra: {} })
      const middle = new AggregateError([inner, "and a text"], "all addresses failed", { cause: inner })
      const error = yield* errorOf(brokenBy(new TypeError("fetch failed", { cause: middle })))
      assert(error._tag === "TransportError")
      const outer = error.cause
      assert(outer instanceof Error && outer.cause instanceof AggregateError)
      assert.strictEqual(String(outer), "TypeError: fetch failed")
      assert.include(outer.stack, "TypeError: fetch failed")
      assert.strictEqual(outer.cause.message, "all addresses failed")
      assert.strictEqual(String(outer.cause.errors[0]), "Error: connect ECONNREFUSED 10.0.0.1:443")
      assert.strictEqual(outer.cause.errors[1], "and a text")
      const innermost = outer.cause.cause
      assert(innermost instanceof Error)
      assert.strictEqual(Object(innermost).code, "ECONNREFUSED")
      // Objects may hold the request.
      assert.notProperty(innermost, "extra")
    })
  )

  it.effect("a success with an incomplete body fails with CutShort", () =>
    Effect.gen(function* () {
      const error = yield* errorOf(brokenOff(200, '{"id":'))
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, "CutShort")
    })
  )
})
