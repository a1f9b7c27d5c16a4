/** Connections that fail, break, stall, or are not wanted any more. */
import { assert, describe, it } from "@effect/vitest"
import { RateLimit, RetryPolicy, type StacksClient, type StacksError } from "@stacksapi/core"
import { Deferred, Duration, Effect, Exit, Fiber, Schedule } from "effect"
import { TestClock } from "effect/testing"
import * as RawServer from "../support/rawServer.ts"
import { answers, calls, jobUuid } from "../support/samples.ts"
import * as Undici from "../support/undici.ts"

/** Retries as often as the test needs, without a delay. */
const immediately = RetryPolicy.make(Schedule.recurs(9))

/** The transport error that a call fails with. */
const transportErrorOf = <A>(
  call: Effect.Effect<A, StacksError.StacksError | StacksError.NotificationRejected>
): Effect.Effect<StacksError.TransportError> =>
  Effect.flip(call).pipe(
    Effect.orDie,
    Effect.map((error) => {
      assert(error._tag === "TransportError", `expected a TransportError: ${error}`)
      return error
    })
  )

const setUp = Effect.fnUntraced(function* (answer: RawServer.Answer, options: Partial<StacksClient.Options> = {}) {
  const server = yield* RawServer.make(answer)
  return { server, client: yield* Undici.client({ ...options, baseUrl: server.baseUrl }) }
})

/** The head of a response with a body of 1000 bytes, and its first bytes. */
const beginning = `HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"id":`
const chunkedBeginning = `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"id"\r\n`

describe("Without a connection", () => {
  it.effect("a refused connection fails with NotConnected, as not processed", () =>
    Effect.gen(function* () {
      const { baseUrl } = yield* Effect.scoped(RawServer.make(RawServer.reset))
      const client = yield* Undici.client({ baseUrl })
      const error = yield* transportErrorOf(calls.getJob(client))
      assert.strictEqual(error.kind, "NotConnected")
      assert.isFalse(error.mayHaveBeenProcessed)
      assert.isTrue(error.isRetryable)
      assert.strictEqual(error.operation, "getJob")
      assert.strictEqual(error.method, "GET")
      assert.strictEqual(error.url, `${baseUrl}stacks/my-stack/jobs/${jobUuid}`)
      assert.match(error.message, /^GET http:\/\/127\.0\.0\.1:\d+\/v3\/stacks\/my-stack\/jobs\/.+: .*ECONNREFUSED/)
    })
  )

  it.effect("an unknown host fails with NotConnected", () =>
    Effect.gen(function* () {
      const client = yield* Undici.client({ baseUrl: "http://stacksapi-test.invalid/v3" })
      const error = yield* transportErrorOf(calls.finishJob(client))
      assert.strictEqual(error.kind, "NotConnected")
      assert.isFalse(error.mayHaveBeenProcessed)
    })
  )
})

describe("A broken connection", () => {
  it.effect.each([
    ["reset", RawServer.reset],
    ["closed", (socket) => void socket.end()],
    ["closed within the head", (socket) => void socket.end("HTTP/1.1 200 OK\r\ncontent-le")],
    ["answered with something else than HTTP", (socket) => void socket.end("220 mail.example ESMTP\r\n")]
  ] satisfies ReadonlyArray<readonly [string, RawServer.Answer]>)("before the response: %s", ([, answer]) =>
    Effect.gen(function* () {
      const { client } = yield* setUp(answer)
      const error = yield* transportErrorOf(calls.getJob(client))
      assert.strictEqual(error.kind, "Reset")
      assert.isTrue(error.mayHaveBeenProcessed)
    })
  )

  it.effect.each([
    ["a body of known length, closed", (socket) => void socket.end(beginning)],
    ["a body of known length, reset", (socket) => void socket.write(beginning, () => socket.resetAndDestroy())],
    ["a chunked body, closed", (socket) => void socket.end(chunkedBeginning)],
    ["a chunked body, reset", (socket) => void socket.write(chunkedBeginning, () => socket.resetAndDestroy())],
    ["a chunked body with a broken chunk", (socket) => void socket.end(`${chunkedBeginning}zz\r\n`)]
  ] satisfies ReadonlyArray<readonly [string, RawServer.Answer]>)("within the response: %s", ([name, answer]) =>
    Effect.gen(function* () {
      const { client } = yield* setUp(answer)
      const error = yield* transportErrorOf(calls.getJob(client))
      // A reset throws away what the client has not read yet, the head too.
      if (name.endsWith("reset")) assert.include(["CutShort", "Reset"], error.kind)
      else assert.strictEqual(error.kind, "CutShort")
      assert.isTrue(error.mayHaveBeenProcessed)
      assert.isTrue(error.isRetryable)
    })
  )

  it.effect("within an error response fails with the response's status", () =>
    Effect.gen(function* () {
      const { client } = yield* setUp((socket) => {
        socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 1000\r\n\r\n{"message":')
      })
      const error = yield* Effect.flip(calls.getJob(client))
      assert(error._tag === "ErrorResponse")
      assert.strictEqual(error.reason._tag, "NotFound")
    })
  )

  it.effect("within a success without a result succeeds", () =>
    Effect.gen(function* () {
      const { client } = yield* setUp((socket) => void socket.end("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"))
      yield* calls.finishJob(client)
      yield* calls.deregisterStack(client)
    })
  )

  it.effect("is not retried with RetryPolicy.none", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp(RawServer.reset)
      yield* Effect.forEach([calls.getJob(client), calls.finishJob(client), calls.registerStack(client)], (call) =>
        transportErrorOf(Effect.provide(call, RetryPolicy.layerNone))
      )
      assert.strictEqual(server.requests.length, 3)
    })
  )

  it.effect("is replaced for the next attempt", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp((socket, request, index) =>
        index < 2
          ? socket.resetAndDestroy()
          : RawServer.always({ body: JSON.stringify(answers.getJob.body) })(socket, request, index)
      )
      const job = yield* client.getJob({ stackKey: "my-stack", jobUuid }).pipe(RetryPolicy.withPolicy(immediately))
      assert.strictEqual(job.command, "make test")
      assert.strictEqual(server.requests.length, 3)
    })
  )
})

describe("A service that does not respond", () => {
  const stalls: ReadonlyArray<readonly [string, RawServer.Answer]> = [
    ["before the response", () => {}],
    ["within a body of known length", (socket) => void socket.write(beginning)],
    ["within a chunked body", (socket) => void socket.write(chunkedBeginning)]
  ]

  /** Starts a call, and waits until the client has all that the server says. */
  const start = Effect.fnUntraced(function* (name: string, answer: RawServer.Answer) {
    const { client, server } = yield* setUp(answer)
    const headed = Deferred.makeUnsafe<void>()
    const limiter: RateLimit.Limiter = {
      // Later, when the body is being read.
      limit: (_, attempt) => attempt(() => void setImmediate(() => Deferred.doneUnsafe(headed, Effect.void)))
    }
    const call = yield* calls
      .getJob(client)
      .pipe(Effect.provideService(RateLimit.RateLimit, limiter), Effect.flip, Effect.forkChild)
    const request = yield* server.firstRequest
    if (name !== "before the response") yield* Deferred.await(headed)
    return { call, request }
  })

  it.effect("within an error response fails with the response's status after 5 seconds", () =>
    Effect.gen(function* () {
      const { call, request } = yield* start("within an error response", (socket) => {
        socket.write('HTTP/1.1 404 Not Found\r\ncontent-length: 1000\r\n\r\n{"message":')
      })
      yield* TestClock.adjust("4999 millis")
      assert.isUndefined(call.pollUnsafe())
      yield* TestClock.adjust("1 milli")
      const error = yield* Fiber.join(call)
      assert(error._tag === "ErrorResponse")
      assert.strictEqual(error.reason._tag, "NotFound")
      assert.strictEqual(error.rawBody, '{"message":')
      yield* Deferred.await(request.closed)
    })
  )

  it.effect.each(stalls)("times out after 60 seconds and lets the connection go: %s", ([name, answer]) =>
    Effect.gen(function* () {
      const { call, request } = yield* start(name, answer)
      yield* TestClock.adjust("59999 millis")
      assert.isUndefined(call.pollUnsafe())
      yield* TestClock.adjust("1 milli")
      const error = yield* Fiber.join(call)
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, "Timeout")
      assert.isTrue(error.mayHaveBeenProcessed)
      assert.isTrue(error.isRetryable)
      assert.match(error.message, /: no complete response within 1m$/)
      yield* Deferred.await(request.closed)
    })
  )

  it.effect("times out after the option timeout", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp(() => {}, { timeout: "1500 millis" })
      const call = yield* Effect.forkChild(transportErrorOf(calls.getJob(client)))
      yield* server.firstRequest
      yield* TestClock.adjust(1499)
      assert.isUndefined(call.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* Fiber.join(call)).kind, "Timeout")
    })
  )

  it.effect("times out after its own time, whichever other calls have started or ended", () =>
    Effect.gen(function* () {
      const received = [Deferred.makeUnsafe<void>(), Deferred.makeUnsafe<void>(), Deferred.makeUnsafe<void>()]
      const { client } = yield* setUp((socket, request, index) => {
        Deferred.doneUnsafe(received[index] ?? Deferred.makeUnsafe<void>(), Effect.void)
        if (index === 1) RawServer.always({ body: JSON.stringify(answers.getJob.body) })(socket, request, index)
      })
      const start = Effect.fnUntraced(function* (index: number) {
        const call = yield* Effect.forkChild(Effect.exit(calls.getJob(client)))
        yield* Deferred.await(received[index] ?? Deferred.makeUnsafe<void>())
        return call
      })
      const first = yield* start(0)
      yield* TestClock.adjust("20 seconds")
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(yield* start(1))))
      yield* TestClock.adjust("20 seconds")
      const last = yield* start(2)
      yield* TestClock.adjust("19999 millis")
      assert.isUndefined(first.pollUnsafe())
      yield* TestClock.adjust("1 milli")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(first)))
      yield* TestClock.adjust("39999 millis")
      assert.isUndefined(last.pollUnsafe())
      yield* TestClock.adjust("1 milli")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(last)))
    }).pipe(RetryPolicy.withPolicy(RetryPolicy.none))
  )

  it.effect("never times out with an infinite timeout", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp(() => {}, { timeout: Duration.infinity })
      const call = yield* Effect.forkChild(transportErrorOf(calls.getJob(client)))
      yield* server.firstRequest
      yield* TestClock.adjust("365 days")
      assert.isUndefined(call.pollUnsafe())
      yield* Fiber.interrupt(call)
    })
  )

  it.effect.each(stalls)("is let go as soon as the call is interrupted: %s", ([name, answer]) =>
    Effect.gen(function* () {
      const { call, request } = yield* start(name, answer)
      yield* Fiber.interrupt(call)
      yield* Deferred.await(request.closed)
    })
  )
})
