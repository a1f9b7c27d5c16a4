/** What can be wrong with an encrypted connection: the certificate, the protocol, and what is done over HTTP/2. */
import * as Http2 from "node:http2"
import type * as Net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import type { StacksError } from "@stacksapi/core"
import { Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as Certificate from "../../support/certificate.ts"
import * as RawServer from "../../support/rawServer.ts"
import { answers, calls } from "../../support/samples.ts"
import * as Undici from "../../support/undici.ts"

const day = 24 * 60 * 60 * 1000
const authority = Certificate.make()
const fitting = Certificate.make({ signer: authority })

const trusted = Certificate.trusted(authority)

const failureOf = (call: Effect.Effect<unknown, StacksError.StacksError | StacksError.NotificationRejected>) =>
  Effect.orDie(Effect.flip(call))

/** A call that can't have been processed: there was nobody to talk to. */
const assertNotConnected = Effect.fnUntraced(function* (baseUrl: string, code: RegExp) {
  const client = yield* Undici.client({ baseUrl })
  const error = yield* failureOf(calls.finishJob(client))
  assert(error._tag === "TransportError")
  assert.strictEqual(error.kind, "NotConnected")
  assert.isFalse(error.mayHaveBeenProcessed)
  assert.match(error.description, /^no connection could be made \(\w+\)$/)
  assert.match(error.description, code)
})

describe("A certificate", () => {
  const answer = RawServer.always({ body: JSON.stringify(answers.getJob.body) })

  it.effect("that is valid is accepted", () =>
    Effect.gen(function* () {
      yield* trusted
      const server = yield* RawServer.make(answer, { certificate: fitting })
      const client = yield* Undici.client({ baseUrl: server.baseUrl })
      yield* calls.getJob(client)
    })
  )

  it.effect.each([
    ["that somebody signed himself", Certificate.make(), /DEPTH_ZERO_SELF_SIGNED_CERT/],
    ["of an authority that nobody knows", Certificate.make({ signer: Certificate.make() }), /UNABLE_TO_VERIFY/],
    ["of another host", Certificate.make({ signer: authority, host: "elsewhere.test" }), /ALTNAME_INVALID/],
    ["of yesterday", Certificate.make({ signer: authority, from: -2 * day, until: -day }), /CERT_HAS_EXPIRED/],
    ["of tomorrow", Certificate.make({ signer: authority, from: day, until: 2 * day }), /CERT_NOT_YET_VALID/]
  ] as const)("%s is not taken: nothing is sent", ([, certificate, code]) =>
    Effect.gen(function* () {
      yield* trusted
      const server = yield* RawServer.make(answer, { certificate })
      yield* assertNotConnected(server.baseUrl, code)
      yield* server.deserted
      assert.lengthOf(server.requests, 0)
    })
  )
})

describe("https to a server that", () => {
  /** Takes what comes for what it is not. */
  const setUp = (onConnection: (socket: Net.Socket) => void) =>
    Effect.map(
      RawServer.make(() => {}, { onConnection }),
      (server) => ({
        ...server,
        baseUrl: server.baseUrl.replace("http:", "https:")
      })
    )

  it.effect.each([
    ["speaks plain HTTP", (socket) => socket.once("data", () => socket.end("HTTP/1.1 400 .\r\n\r\n")), /WRONG_VERSION/],
    ["speaks something else", (socket) => socket.write(Buffer.alloc(1000, 7)), /ERR_SSL/],
    ["closes the connection", (socket) => socket.once("data", () => socket.end()), /ECONNRESET/],
    ["resets the connection", (socket) => socket.once("data", () => socket.resetAndDestroy()), /ECONNRESET/]
  ] satisfies ReadonlyArray<readonly [string, (socket: Net.Socket) => void, RegExp]>)(
    "%s: nothing is sent",
    ([, onConnection, code]) =>
      Effect.gen(function* () {
        const server = yield* setUp(onConnection)
        yield* assertNotConnected(server.baseUrl, code)
        yield* server.deserted
      })
  )

  it.effect("says nothing times out after 60 seconds", () =>
    Effect.gen(function* () {
      const greeted = Deferred.makeUnsafe<void>()
      const server = yield* setUp((socket) => {
        socket.once("data", () => Deferred.doneUnsafe(greeted, Effect.void))
      })
      const client = yield* Undici.client({ baseUrl: server.baseUrl })
      const call = yield* Effect.forkChild(failureOf(calls.finishJob(client)))
      yield* Deferred.await(greeted)
      yield* TestClock.adjust("60 seconds")
      const error = yield* Fiber.join(call)
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, "Timeout")
    })
  )
})

describe("Plain HTTP to a server with TLS", () => {
  it.effect("fails with a broken connection", () =>
    Effect.gen(function* () {
      const server = yield* RawServer.make(() => {}, { certificate: fitting })
      const client = yield* Undici.client({ baseUrl: server.baseUrl.replace("https:", "http:") })
      const error = yield* failureOf(calls.getJob(client))
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, "Reset")
      yield* server.deserted
    })
  )
})

describe("HTTP/2", () => {
  type Answer = (stream: Http2.ServerHttp2Stream, session: Http2.ServerHttp2Session) => void

  const body = JSON.stringify(answers.getJob.body)

  const setUp = Effect.fnUntraced(function* (answer: Answer) {
    yield* trusted
    const sessions = new Set<Http2.ServerHttp2Session>()
    const asked = Deferred.makeUnsafe<Http2.ServerHttp2Stream>()
    const server = Http2.createSecureServer({ cert: fitting.cert, key: fitting.key })
    server.on("session", (session) => {
      sessions.add(session)
      session.on("error", () => {})
      session.on("stream", (stream) => {
        stream.on("error", () => {})
        answer(stream, session)
        Deferred.doneUnsafe(asked, Effect.succeed(stream))
      })
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const session of sessions) session.destroy()
        })
    )
    const { port } = server.address() as Net.AddressInfo
    const client = yield* Undici.client({ baseUrl: `https://127.0.0.1:${port}/v3/` })
    return { client, asked: Deferred.await(asked) }
  })

  const beginning =
    (andThen: (stream: Http2.ServerHttp2Stream, session: Http2.ServerHttp2Session) => void): Answer =>
    (stream, session) => {
      stream.respond({ ":status": 200 })
      stream.write(body.slice(0, 10), () => setTimeout(() => andThen(stream, session), 20))
    }

  const closed = (stream: Http2.ServerHttp2Stream) =>
    Effect.callback<void>((resume) => {
      if (stream.closed) resume(Effect.void)
      else stream.on("close", () => resume(Effect.void))
    })

  it.effect("is used if the service offers it", () =>
    Effect.gen(function* () {
      const { client } = yield* setUp((stream) => {
        stream.respond({ ":status": 200 })
        stream.end(body)
      })
      yield* calls.getJob(client)
    })
  )

  it.effect.each([
    ["resets the stream", (stream) => stream.close(Http2.constants.NGHTTP2_INTERNAL_ERROR), "Reset"],
    ["ends the session", (_, session) => session.destroy(), "Reset"],
    ["sends more headers than anybody reads", (stream) => stream.respond({ ":status": 200, ...manyHeaders }), "Reset"],
    ["resets the stream within the body", beginning((stream) => stream.destroy(new Error("on purpose"))), "CutShort"],
    ["ends the session within the body", beginning((_, session) => session.destroy()), "CutShort"],
    [
      "ends the body before its length",
      (stream) => {
        stream.respond({ ":status": 200, "content-length": 1000 })
        stream.end(body)
      },
      "CutShort"
    ]
  ] satisfies ReadonlyArray<readonly [string, Answer, string]>)("a server that %s", ([, answer, kind]) =>
    Effect.gen(function* () {
      const { client } = yield* setUp(answer)
      const error = yield* failureOf(calls.getJob(client))
      assert(error._tag === "TransportError")
      // On a busy machine the end may overtake the beginning.
      assert.include(kind === "CutShort" ? ["CutShort", "Reset"] : [kind], error.kind)
      assert.isTrue(error.mayHaveBeenProcessed)
    })
  )

  it.effect.each([
    ["before the response", () => {}],
    ["within the body", beginning(() => {})],
    ["after it has said that it will go", (_, session) => session.goaway()]
  ] satisfies ReadonlyArray<readonly [string, Answer]>)(
    "a server that stalls is left after 60 seconds: %s",
    ([, answer]) =>
      Effect.gen(function* () {
        const { asked, client } = yield* setUp(answer)
        const call = yield* Effect.forkChild(failureOf(calls.getJob(client)))
        const stream = yield* asked
        yield* TestClock.adjust("60 seconds")
        const error = yield* Fiber.join(call)
        assert(error._tag === "TransportError")
        assert.strictEqual(error.kind, "Timeout")
        yield* closed(stream)
      })
  )

  it.effect("does not read an error's endless body to its end, and keeps the connection", () =>
    Effect.gen(function* () {
      let streams = 0
      let written = 0
      const sessions = new Set<Http2.ServerHttp2Session>()
      const piece = Buffer.alloc(64 * 1024, "a")
      const { client } = yield* setUp((stream, session) => {
        sessions.add(session)
        if (streams++ > 0) {
          stream.respond({ ":status": 200 })
          stream.end(body)
          return
        }
        const more = () => {
          while (!stream.destroyed && stream.write(piece)) written += piece.length
        }
        stream.on("drain", more)
        stream.respond({ ":status": 500 })
        more()
      })
      const error = yield* failureOf(calls.getJob(client))
      assert(error._tag === "ErrorResponse")
      assert.strictEqual(error.rawBody, "a".repeat(64 * 1024))
      yield* calls.getJob(client)
      assert.strictEqual(sessions.size, 1)
      assert.isBelow(written, 8 * 1024 * 1024)
    })
  )
})

const manyHeaders = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`x-${index}`, "y".repeat(5000)]))
