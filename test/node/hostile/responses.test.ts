/** Answers that were not meant well: slow, endless, compressed, contradictory, too early. Each ends in a typed failure. */
import type * as Net from "node:net"
import * as Zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import type { StacksClient, StacksError } from "@stacksapi/core"
import { Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as RawServer from "../../support/rawServer.ts"
import { type ResourceUsage, resourceUsage } from "../../support/resourceUsage.ts"
import { answers, calls, jobUuid } from "../../support/samples.ts"
import * as Undici from "../../support/undici.ts"

const megabyte = 1024 * 1024

/** Bytes of memory. */
const held = ({ buffers, heap }: ResourceUsage) => heap + buffers

const setUp = Effect.fnUntraced(function* (answer: RawServer.Answer, options?: RawServer.Options) {
  const server = yield* RawServer.make(answer, options)
  return { server, client: yield* Undici.client({ baseUrl: server.baseUrl }) }
})

const failureOf = (call: Effect.Effect<unknown, StacksError.StacksError | StacksError.NotificationRejected>) =>
  Effect.orDie(Effect.flip(call))

const commandOf = (client: StacksClient.Service, jobUuid: string) =>
  Effect.map(client.getJob({ stackKey: "my-stack", jobUuid }), ({ command }) => command)

const body = JSON.stringify(answers.getJob.body)
const complete = `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`
const chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

const saying =
  (text: string): RawServer.Answer =>
  (socket) =>
    void socket.write(text, "latin1")

const sayingAndLeaving =
  (text: string): RawServer.Answer =>
  (socket) =>
    void socket.end(text, "latin1")

/** Says something, and then a little more every few milliseconds. `goneOn` is done when that has been for a while. */
const makeDripping = (head: string, piece: string) => {
  const goneOn = Deferred.makeUnsafe<void>()
  const answer: RawServer.Answer = (socket) => {
    let count = 0
    socket.write(head)
    const timer = setInterval(() => {
      socket.write(piece)
      if (++count === 5) Deferred.doneUnsafe(goneOn, Effect.void)
    }, 2)
    socket.on("close", () => clearInterval(timer))
  }
  return { answer, goneOn: Deferred.await(goneOn) }
}

/** Says something, and then more, as much as that and as long as anybody listens. `said` is done when that was all. */
const makeFlooding = (head: string, piece: string, most = Number.POSITIVE_INFINITY) => {
  const said = Deferred.makeUnsafe<void>()
  const state = { written: 0 }
  const pieces = Buffer.from(piece.repeat(Math.ceil(16_384 / piece.length)))
  const answer: RawServer.Answer = (socket) => {
    const more = () => {
      while (!socket.destroyed && state.written < most) {
        state.written += pieces.length
        if (!socket.write(pieces)) return
      }
      Deferred.doneUnsafe(said, Effect.void)
    }
    socket.on("drain", more)
    socket.write(head)
    more()
  }
  return { answer, state, said: Deferred.await(said) }
}

describe("A service that sends an endless response byte by byte", () => {
  it.effect.each([
    ["the status line", "HTTP/1.1 200 ", "a"],
    ["a header", "HTTP/1.1 200 OK\r\nx: ", "a"],
    ["a body of known length", "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", " "],
    ["chunks", chunked, "1\r\n \r\n"],
    ["the size of a chunk", chunked, "0"],
    ["the extension of a chunk", `${chunked}1;x=`, "a"],
    ["early hints", "", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"]
  ] as const)("is left after 60 seconds: %s", ([, head, piece]) =>
    Effect.gen(function* () {
      const { answer, goneOn } = makeDripping(head, piece)
      const { client, server } = yield* setUp(answer)
      const call = yield* Effect.forkChild(failureOf(calls.getJob(client)))
      yield* goneOn
      yield* TestClock.adjust("59 seconds")
      assert.isUndefined(call.pollUnsafe())
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(call)
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, "Timeout")
      yield* server.deserted
    })
  )

  it.effect("is disconnected after 5 seconds if only its status matters", () =>
    Effect.gen(function* () {
      const { answer, goneOn } = makeDripping("HTTP/1.1 503 .\r\ncontent-length: 100000\r\n\r\n", "a")
      const { client, server } = yield* setUp(answer)
      const call = yield* Effect.forkChild(failureOf(calls.getJob(client)))
      yield* goneOn
      yield* TestClock.adjust("5 seconds")
      const error = yield* Fiber.join(call)
      assert(error._tag === "ErrorResponse")
      assert.strictEqual(error.status, 503)
      assert.match(error.rawBody, /^a+$/)
      yield* server.deserted
    })
  )
})

describe("A service that sends an endless response as fast as it can", () => {
  it.effect.each([
    ["headers", "HTTP/1.1 200 OK\r\n", "x-header: value\r\n", "Reset"],
    ["one header", "HTTP/1.1 200 OK\r\nx: ", "value ", "Reset"],
    ["trailers", `${chunked}0\r\n`, "x-trailer: value\r\n", "CutShort"]
  ] as const)("is left at once: %s", ([, head, piece, kind]) =>
    Effect.gen(function* () {
      const { answer, state } = makeFlooding(head, piece)
      const { client, server } = yield* setUp(answer)
      const error = yield* failureOf(calls.getJob(client))
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, kind)
      assert.match(error.message, /UND_ERR_HEADERS_OVERFLOW/)
      yield* server.deserted
      // All but 16 KiB of it is in the buffers of the sockets.
      assert.isBelow(state.written, 32 * megabyte)
    })
  )

  it.effect.each([
    ["a status line", "HTTP/1.1 200 ", "a", 24 * megabyte],
    ["early hints", "", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", 12 * megabyte]
  ] as const)("takes no memory until it is left: %s", ([, head, piece, most]) =>
    Effect.gen(function* () {
      const { answer, said } = makeFlooding(head, piece, most)
      const { client, server } = yield* setUp(answer)
      const before = yield* resourceUsage
      const call = yield* Effect.forkChild(failureOf(calls.getJob(client)))
      yield* said
      const after = yield* resourceUsage
      // A hint that is kept takes several times its length.
      assert.isBelow(held(after), held(before) + 16 * megabyte)
      yield* TestClock.adjust("60 seconds")
      const error = yield* Fiber.join(call)
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, "Timeout")
      yield* server.deserted
    })
  )

  it.effect("is disconnected if it announces too long a body", () =>
    Effect.gen(function* () {
      const head = `HTTP/1.1 200 OK\r\ncontent-length: ${101 * megabyte}\r\n\r\n`
      const { answer, state } = makeFlooding(head, " ")
      const { client, server } = yield* setUp(answer)
      const error = yield* failureOf(calls.getJob(client))
      assert(error._tag === "DecodeError")
      assert.match(error.issue, /^the body is larger than 67108864 bytes$/)
      assert.strictEqual(error.rawBody.length, 64 * 1024)
      yield* server.deserted
      assert.isBelow(state.written, 32 * megabyte)
    })
  )
})

describe("A body that is compressed without being requested", () => {
  const plain = Buffer.alloc(24 * megabyte, " ")
  const bombs: Record<string, Uint8Array> = {
    gzip: Zlib.gzipSync(plain),
    deflate: Zlib.deflateSync(plain),
    br: Zlib.brotliCompressSync(plain, { params: { [Zlib.constants.BROTLI_PARAM_QUALITY]: 1 } })
  }
  const encodings = Object.keys(bombs)
  const setUpBombs = (status: number) =>
    setUp((socket, request, index) => {
      const encoding = encodings[index] ?? ""
      const headers = { "content-encoding": encoding }
      RawServer.always({ status, headers, body: bombs[encoding] ?? "" })(socket, request, index)
    })

  it.effect("is not decompressed", () =>
    Effect.gen(function* () {
      const { client } = yield* setUpBombs(200)
      const before = yield* resourceUsage
      const errors = yield* Effect.forEach(encodings, () => failureOf(calls.getJob(client)))
      const after = yield* resourceUsage
      for (const [index, error] of errors.entries()) {
        assert(error._tag === "DecodeError")
        assert.strictEqual(error.issue, `the body is not JSON, but ${encodings[index]}`)
        assert.isAtMost(error.rawBody.length, 64 * 1024)
      }
      assert.isBelow(held(after), held(before) + plain.length / 2)
    })
  )

  it.effect("is ignored if only the status counts", () =>
    Effect.gen(function* () {
      const { client } = yield* setUpBombs(429)
      for (const error of yield* Effect.forEach(encodings, () => failureOf(calls.getJob(client)))) {
        assert(error._tag === "ErrorResponse")
        assert.match(error.message, /: 429 Too Many Requests$/)
        assert.isAtMost(error.rawBody.length, 64 * 1024)
      }
    })
  )
})

describe("An invalid or contradictory response", () => {
  const withLength = (...values: ReadonlyArray<string | number>) =>
    `HTTP/1.1 200 OK\r\n${values.map((value) => `content-length: ${value}\r\n`).join("")}\r\n${body}`
  const withHeader = (header: string) => `HTTP/1.1 200 OK\r\n${header}\r\ncontent-length: ${body.length}\r\n\r\n${body}`

  it.effect.each([
    ["a negative length", withLength(-1)],
    ["a length that is no number", withLength("many")],
    ["a length beyond all numbers", withLength("9".repeat(30))],
    ["two lengths", withLength(body.length, 3)],
    ["the same length twice", withLength(body.length, body.length)],
    ["a list of lengths", withLength(`${body.length}, ${body.length}`)],
    ["a length and chunks", `HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n`],
    ["a header that goes on in the next line", withHeader("x: a\r\n b")],
    ["a header with a blank in its name", withHeader("bad name: a")],
    ["a header with a NUL", withHeader("x: a\0b")],
    ["lines without carriage returns", `HTTP/1.1 200 OK\ncontent-length: ${body.length}\n\n${body}`],
    ["HTTP/0.9", body],
    ["HTTP/9.9", complete.replace("1.1", "9.9")],
    ["the status 0", complete.replace("200", "000")],
    ["the status 99", complete.replace("200", "99")],
    ["the status 1000", complete.replace("200", "1000")],
    ["100, which was not asked for", "HTTP/1.1 100 Continue\r\n\r\n"],
    ["101, which was not asked for", "HTTP/1.1 101 .\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"],
    ["101 without an upgrade", "HTTP/1.1 101 .\r\n\r\n"]
  ] as const)("breaks the connection: %s", ([, text]) =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp(saying(text))
      const error = yield* failureOf(calls.getJob(client))
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, "Reset")
      assert.isTrue(error.mayHaveBeenProcessed)
      assert.match(error.description, /\((ERR_INVALID_HTTP|UND_ERR_\w+|ERR_ASSERTION)\)$/)
      yield* server.deserted
    })
  )

  it.effect("with too short a length does not decode, and its rest is not read as the next response", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp((socket, _, index) =>
        index === 0 ? socket.write(withLength(body.length - 3)) : socket.write(complete)
      )
      const error = yield* failureOf(calls.getJob(client))
      assert(error._tag === "DecodeError")
      assert.strictEqual(error.issue, "the body is not JSON")
      yield* Deferred.await((yield* server.firstRequest).closed)
      assert.strictEqual(yield* commandOf(client, jobUuid), "make test")
    })
  )

  it.effect("with 204 instead of a body is a DecodeError", () =>
    Effect.gen(function* () {
      const { client } = yield* setUp(saying(complete.replace("200", "204")))
      const error = yield* failureOf(calls.getJob(client))
      assert(error._tag === "DecodeError")
      assert.strictEqual(error.issue, "the body is empty")
    })
  )

  it.effect.each([
    ["HTTP/1.0 until the connection closes", sayingAndLeaving(`HTTP/1.0 200 OK\r\n\r\n${body}`)],
    ["HTTP/1.1 until the connection closes", sayingAndLeaving(`HTTP/1.1 200 OK\r\n\r\n${body}`)],
    ["a status line of 10,000 characters", saying(complete.replace("OK", "K".repeat(10_000)))],
    ["HTTP/2.0 in the words of 1.1", saying(complete.replace("1.1", "2.0"))],
    ["early hints before it", saying(`HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n${complete}`)]
  ] as const)("odd, but an answer: %s", ([, answer]) =>
    Effect.gen(function* () {
      const { client } = yield* setUp(answer)
      assert.strictEqual(yield* commandOf(client, jobUuid), "make test")
    })
  )
})

describe("Responses without a request", () => {
  const answerTo = (request: RawServer.RawRequest, command = request.target.split("/").at(-1)) =>
    RawServer.response({ body: JSON.stringify({ id: "j", env: {}, command }) })

  it.effect.each([
    ["garbage", Buffer.from("GARBAGE\r\n\r\n")],
    ["another response", RawServer.response({ body: '{"id":"j","env":{},"command":"of nobody"}' })]
  ] as const)("right behind an answer are nobody's: %s", ([, more]) =>
    Effect.gen(function* () {
      const { client } = yield* setUp((socket, request) => socket.write(Buffer.concat([answerTo(request), more])))
      const ids = Array.from({ length: 40 }, (_, index) => `job-${index}`)
      for (const id of ids.slice(0, 10)) assert.strictEqual(yield* commandOf(client, id), id)
      const commands = yield* Effect.forEach(ids, (id) => commandOf(client, id), { concurrency: 16 })
      assert.deepStrictEqual(commands, ids)
    })
  )

  it.effect("on an idle connection are dropped", () =>
    Effect.gen(function* () {
      const sockets: Array<Net.Socket> = []
      const { client, server } = yield* setUp((socket, request) => {
        sockets.push(socket)
        socket.write(answerTo(request))
      })
      assert.strictEqual(yield* commandOf(client, "a"), "a")
      sockets[0]?.write(RawServer.response({ body: '{"id":"j","env":{},"command":"of nobody"}' }))
      yield* Deferred.await((yield* server.firstRequest).closed)
      assert.strictEqual(yield* commandOf(client, "b"), "b")
    })
  )

  it.effect("before the request has arrived are read as its response", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp(() => {}, {
        onConnection: (socket) => void socket.end("HTTP/1.1 400 .\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
      })
      const error = yield* failureOf(calls.finishJob(client))
      assert.include(["ErrorResponse", "TransportError"], error._tag)
      yield* server.deserted
    })
  )
})

describe("Connections with one half closed", () => {
  const half = { allowHalfOpen: true }

  it.effect("before the response fail with Reset", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp((socket) => void socket.end(), half)
      const error = yield* failureOf(calls.getJob(client))
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, "Reset")
      yield* server.deserted
    })
  )

  it.effect("during the response fail with CutShort", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp(sayingAndLeaving(complete.slice(0, -5)), half)
      const error = yield* failureOf(calls.getJob(client))
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, "CutShort")
      yield* server.deserted
    })
  )

  it.effect("after the response are replaced for the next call", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp(sayingAndLeaving(complete), half)
      assert.strictEqual(yield* commandOf(client, jobUuid), "make test")
      yield* server.deserted
      assert.strictEqual(yield* commandOf(client, jobUuid), "make test")
    })
  )
})

describe("A service that does not read requests", () => {
  const large = (client: StacksClient.Service) =>
    client.getJobStates({
      stackKey: "my-stack",
      // More than all buffers on the way hold.
      jobUuids: Array.from({ length: 1000 }, (_, index) => `${index}`.padEnd(12_000, "x"))
    })

  /** Reads nothing; gives the connection as soon as there is one. */
  const setUpDeaf = Effect.fnUntraced(function* (first = "") {
    const connected = Deferred.makeUnsafe<Net.Socket>()
    const onConnection = (socket: Net.Socket) => {
      socket.pause()
      if (first !== "") socket.write(first)
      Deferred.doneUnsafe(connected, Effect.succeed(socket))
    }
    return { ...(yield* setUp(() => {}, { onConnection })), connected: Deferred.await(connected) }
  })

  it.effect("times out after 60 seconds", () =>
    Effect.gen(function* () {
      const { client, connected, server } = yield* setUpDeaf()
      const call = yield* Effect.forkChild(failureOf(large(client)))
      const socket = yield* connected
      yield* TestClock.adjust("60 seconds")
      const error = yield* Fiber.join(call)
      assert(error._tag === "TransportError")
      assert.strictEqual(error.kind, "Timeout")
      // Only who reads hears of the end.
      socket.resume()
      yield* server.deserted
    })
  )

  it.effect("may refuse a request before it has arrived", () =>
    Effect.gen(function* () {
      const { client, connected, server } = yield* setUpDeaf(
        "HTTP/1.1 413 .\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
      )
      const error = yield* failureOf(large(client))
      assert(error._tag === "ErrorResponse")
      assert.strictEqual(error.status, 413)
      ;(yield* connected).resume()
      yield* server.deserted
    })
  )
})
