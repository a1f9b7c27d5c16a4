/** Bodies over real sockets: long, endless, compressed, in pieces. What is read of them is bounded. */
import * as Zlib from "node:zlib"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, StacksClient, type StacksError } from "@stacksapi/core"
import { Context, Deferred, Duration, Effect, Layer, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import * as UndiciHttpClient from "../../packages/node/src/internal/client/undici.ts"
import * as RawServer from "../support/rawServer.ts"
import { answers, calls } from "../support/samples.ts"

const httpClients = {
  "this package's undici": UndiciHttpClient.layer,
  undici: NodeHttpClient.layerUndici,
  fetch: FetchHttpClient.layer
} as const
const kinds = Object.keys(httpClients) as ReadonlyArray<keyof typeof httpClients>

const rawBodyLimit = 64 * 1024

const setUp = Effect.fnUntraced(function* (kind: keyof typeof httpClients, answer: RawServer.Answer) {
  const server = yield* RawServer.make(answer)
  const context = yield* StacksClient.layer({ token: Redacted.make("bkct_test"), baseUrl: server.baseUrl }).pipe(
    Layer.provide([httpClients[kind], RetryPolicy.layerNone]),
    Layer.build
  )
  return { server, client: Context.get(context, StacksClient.StacksClient) }
})

/** Writes pieces for as long as anybody reads them; how many bytes it got rid of is in `written`. */
const makeEndless = (head: string, piece: Buffer) => {
  const state = { written: 0 }
  const answer: RawServer.Answer = (socket) => {
    const more = () => {
      while (!socket.destroyed) {
        state.written += piece.length
        if (!socket.write(piece)) break
      }
    }
    socket.on("drain", more)
    socket.write(head)
    more()
  }
  return { state, answer }
}

const chunkedHead = (status: number) => `HTTP/1.1 ${status} .\r\ntransfer-encoding: chunked\r\n\r\n`
const letters = RawServer.chunk("a".repeat(16 * 1024))

const errorOf = <A>(call: Effect.Effect<A, StacksError.StacksError | StacksError.NotificationRejected>) =>
  Effect.orDie(Effect.flip(call))

describe.each(kinds)("%s", (kind) => {
  it.effect("waits for the longer one of two Retry-After headers", () =>
    Effect.gen(function* () {
      const date = "Thu, 01 Oct 2026 12:00:00 GMT"
      for (const [one, other, seconds] of [
        ["5", "120", 120],
        ["120", "5", 120],
        ["5", "Thu, 01 Oct 2026 12:02:00 GMT", 120],
        ["Thu, 01 Oct 2026 12:02:00 GMT", "5", 120]
      ] as const) {
        const headers = { date, "retry-after": one, "Retry-After": other }
        const { client } = yield* setUp(kind, RawServer.always({ status: 503, headers }))
        const error = yield* errorOf(calls.getJob(client))
        assert(error._tag === "ErrorResponse" && error.retryAfter !== undefined)
        assert.strictEqual(Duration.toSeconds(error.retryAfter), seconds)
      }
    })
  )

  it.effect.each([500, 404, 302])("stops reading an endless body of a %s", (status) =>
    Effect.gen(function* () {
      const { answer, state } = makeEndless(chunkedHead(status), letters)
      const { client, server } = yield* setUp(kind, answer)
      const error = yield* errorOf(calls.getJob(client))
      assert(error._tag === "ErrorResponse")
      assert.strictEqual(error.status, status)
      assert.strictEqual(error.rawBody, "a".repeat(rawBodyLimit))
      yield* Deferred.await((yield* server.firstRequest).closed)
      // What the sockets and streams on the way hold is not the client's to bound.
      assert.isBelow(state.written, 64 * 1024 * 1024)
    })
  )

  it.effect("stops reading an endless body of a response without a result", () =>
    Effect.gen(function* () {
      const { answer } = makeEndless(chunkedHead(200), letters)
      const { client, server } = yield* setUp(kind, answer)
      yield* calls.finishJob(client)
      yield* Deferred.await((yield* server.firstRequest).closed)
    })
  )

  it.effect("stops reading an endless result", () =>
    Effect.gen(function* () {
      const { answer } = makeEndless(chunkedHead(200), RawServer.chunk(" ".repeat(1024 * 1024)))
      const { client, server } = yield* setUp(kind, answer)
      const error = yield* errorOf(calls.getJob(client))
      assert(error._tag === "DecodeError")
      assert.match(error.issue, /larger than/)
      assert.isAtMost(error.rawBody.length, rawBodyLimit)
      yield* Deferred.await((yield* server.firstRequest).closed)
    })
  )

  it.effect("keeps 64 KiB of an error's body of megabytes with a known length", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp(
        kind,
        RawServer.always({ status: 503, body: "b".repeat(5 * 1024 * 1024) })
      )
      const error = yield* errorOf(calls.getJob(client))
      assert(error._tag === "ErrorResponse")
      assert.strictEqual(error.rawBody, "b".repeat(rawBodyLimit))
      assert.match(error.message, /: 503 Service Unavailable$/)
      yield* Deferred.await((yield* server.firstRequest).closed)
    })
  )

  it.effect("makes the next call after a body that was not read to its end", () =>
    Effect.gen(function* () {
      const { answer } = makeEndless(chunkedHead(500), letters)
      const { client } = yield* setUp(kind, (socket, request, index) =>
        (index === 0 ? answer : RawServer.always({ body: JSON.stringify(answers.getJob.body) }))(socket, request, index)
      )
      yield* errorOf(calls.getJob(client))
      yield* calls.getJob(client)
    })
  )

  it.effect("decodes a body that comes byte by byte, in the middle of characters", () =>
    Effect.gen(function* () {
      const body = Buffer.from(JSON.stringify({ id: "j", env: { ä: "😀 €" }, command: "größe" }))
      const { client } = yield* setUp(kind, (socket) => {
        socket.setNoDelay(true)
        socket.write(chunkedHead(200))
        for (const byte of body) socket.write(RawServer.chunk(Uint8Array.of(byte)))
        socket.end("0\r\n\r\n")
      })
      const job = yield* client.getJob({ stackKey: "s", jobUuid: "j" })
      assert.deepStrictEqual(job, { id: "j", env: { ä: "😀 €" }, command: "größe" })
    })
  )

  it.effect("decodes a body of megabytes", () =>
    Effect.gen(function* () {
      const command = "echo 😀; ".repeat(200_000)
      const { client } = yield* setUp(kind, RawServer.always({ body: JSON.stringify({ id: "j", env: {}, command }) }))
      const job = yield* client.getJob({ stackKey: "s", jobUuid: "j" })
      assert.isTrue(job.command === command)
    })
  )

  it.effect("replaces invalid UTF-8 in an error's body", () =>
    Effect.gen(function* () {
      const { client } = yield* setUp(
        kind,
        RawServer.always({ status: 422, body: Uint8Array.of(0x61, 0xff, 0xc3, 0x62, 0xf0, 0x9f, 0x98) })
      )
      const error = yield* errorOf(calls.getJob(client))
      assert(error._tag === "ErrorResponse")
      assert.strictEqual(error.rawBody, "a\ufffd\ufffdb\ufffd")
      assert.match(error.message, /: 422 Unprocessable Content$/)
    })
  )
})

describe("Compressed bodies that fetch decompresses", () => {
  const gzip = { "content-encoding": "gzip" }

  it.effect("are decoded", () =>
    Effect.gen(function* () {
      const body = Zlib.gzipSync(JSON.stringify(answers.getJob.body))
      const { client } = yield* setUp("fetch", RawServer.always({ headers: gzip, body }))
      yield* calls.getJob(client)
    })
  )

  it.effect("are limited to 64 KiB after decompression", () =>
    Effect.gen(function* () {
      const bomb = Zlib.gzipSync(Buffer.alloc(50 * 1024 * 1024, "c"))
      assert.isBelow(bomb.length, rawBodyLimit)
      const { client } = yield* setUp("fetch", RawServer.always({ status: 500, headers: gzip, body: bomb }))
      const error = yield* errorOf(calls.getJob(client))
      assert(error._tag === "ErrorResponse")
      assert.strictEqual(error.rawBody, "c".repeat(rawBodyLimit))
    })
  )

  it.effect("fail with CutShort if the compression is broken", () =>
    Effect.gen(function* () {
      const { client } = yield* setUp("fetch", RawServer.always({ headers: gzip, body: '{"id":"not gzip"}' }))
      const error = yield* errorOf(calls.getJob(client))
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, "CutShort")
    })
  )
})
