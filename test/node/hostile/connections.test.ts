/** What clients can make the health server and the emulator hold and do: it has bounds, and the others are answered. */
import type * as Http from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { HealthServer, NodeStacksEmulator } from "@stacksapi/node"
import { Deferred, Effect, Metric } from "effect"
import { TestClock } from "effect/testing"
import { authority, listen } from "../../../packages/node/src/internal/http/listen.ts"
import { makeTurns } from "../../../packages/node/src/internal/http/turns.ts"
import { connectTo } from "../../support/rawClient.ts"

const { Fault } = StacksEmulator

/** Waits for what has to happen. */
const until = Effect.fnUntraced(function* (happened: () => boolean) {
  while (!happened()) {
    yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
  }
})

/** A connection, with how many answers it has got. */
const connected = Effect.fnUntraced(function* (url: string) {
  const connection = yield* connectTo(url)
  let text = ""
  connection.socket.on("data", (bytes) => {
    text += bytes
  })
  let isClosed = false
  connection.socket.on("close", () => {
    isClosed = true
  })
  const answers = () => text.split("HTTP/1.1 ").length - 1
  return {
    ...connection,
    answers,
    isClosed: () => isClosed,
    /** Sends a request, and waits for its answer. */
    ask: Effect.fnUntraced(function* (request: string) {
      const before = answers()
      connection.socket.write(request)
      yield* until(() => answers() > before || isClosed)
      return !isClosed
    })
  }
})

const healthz = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
const getJob = "GET /v3/stacks/s/jobs/j HTTP/1.1\r\nhost: localhost\r\nauthorization: Token bkct_emulator\r\n\r\n"

describe("The metrics text", () => {
  it.effect("is made once per second for all scrapes", () =>
    Effect.gen(function* () {
      const { url } = yield* HealthServer.make({ port: 0 })
      const scrapes = Metric.counter("scrapes", { incremental: true })
      const scrape = Effect.gen(function* () {
        const text = yield* Effect.promise(async () => (await fetch(`${url}/metrics`)).text())
        return Number(/^scrapes_total (\d+)$/m.exec(text)?.[1])
      })
      yield* Metric.update(scrapes, 1)
      assert.strictEqual(yield* scrape, 1)
      yield* Metric.update(scrapes, 1)
      assert.deepStrictEqual(
        yield* Effect.all(
          Array.from({ length: 20 }, () => scrape),
          { concurrency: 20 }
        ),
        Array.from({ length: 20 }, () => 1)
      )
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(yield* scrape, 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* scrape, 2)
    }).pipe(Effect.scoped, (test) => Effect.provideService(test, Metric.MetricRegistry, new Map()))
  )
})

describe("Pipelined requests", () => {
  it.effect("wait unparsed, and all get a response", () =>
    Effect.gen(function* () {
      const emulator = yield* NodeStacksEmulator.make({ rateLimits: false })
      yield* emulator.setFaults([Fault.Stall({ duration: "30 seconds", times: 1 })])
      const many = 800
      const greedy = yield* connected(emulator.baseUrl)
      const other = yield* connected(emulator.baseUrl)
      const written = new Promise<void>((resolve) => greedy.socket.write(getJob.repeat(many), () => resolve()))
      while ((yield* emulator.requests).length === 0) yield* until(() => true)
      yield* Effect.promise(() => written)
      assert.isTrue(yield* other.ask(getJob))
      // The one that is stalled, and that of the other connection.
      assert.lengthOf(yield* emulator.requests, 2)
      assert.strictEqual(greedy.answers(), 0)
      yield* TestClock.adjust("30 seconds")
      yield* until(() => greedy.answers() === many)
      assert.lengthOf(yield* emulator.requests, many + 1)
    }).pipe(Effect.scoped)
  )

  it.live("are started a few at a time, so that other work runs in between", () =>
    Effect.gen(function* () {
      const turns = makeTurns(2)
      const done: Array<number> = []
      for (let index = 0; index < 5; index++) turns.run(() => void done.push(index))
      assert.deepStrictEqual(done, [0, 1])
      yield* until(() => done.length > 2)
      assert.deepStrictEqual(done, [0, 1, 2, 3])
      yield* until(() => done.length > 4)
      assert.deepStrictEqual(done, [0, 1, 2, 3, 4])
    })
  )
})

describe("Malformed requests", () => {
  const head = "POST /v3/stacks/register HTTP/1.1\r\nhost: localhost\r\nauthorization: Token bkct_emulator\r\n"

  it.live("get a response, whatever precedes the error", () =>
    Effect.gen(function* () {
      const { baseUrl } = yield* NodeStacksEmulator.make()
      for (const [sent, statuses] of [
        ["GARBAGE\r\n\r\n", ["400"]],
        ["GET / HTTP/1.1\r\n\r\n", ["400"]],
        [`${head}content-length: 100\r\n\r\n{`, ["400"]],
        [`${head}content-le`, ["400"]],
        [`${head}expect: 100-continue\r\ncontent-length: 100\r\n\r\n{`, ["100", "400"]],
        [`${head}expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\nx`, ["100", "400"]],
        [`${head}x: ${"a".repeat(20_000)}\r\n\r\n`, ["431"]]
      ] as const) {
        const { closed, socket } = yield* connectTo(baseUrl)
        socket.end(sent)
        assert.deepStrictEqual(
          Array.from((yield* closed).matchAll(/HTTP\/1\.1 (\d+)/g), ([, status]) => status),
          Array.from<string>(statuses)
        )
      }
    }).pipe(Effect.scoped)
  )
})

describe("Connections above the maximum", () => {
  it.live("replace the connections that have been idle longest", () =>
    Effect.gen(function* () {
      const { url } = yield* HealthServer.make({ port: 0, maxConnections: 3 })
      const [first, second, third] = yield* Effect.all([connected(url), connected(url), connected(url)])
      for (const connection of [first, second, third, first]) assert.isTrue(yield* connection.ask(healthz))
      const fourth = yield* connected(url)
      yield* second.closed
      for (const connection of [first, third, fourth]) assert.isTrue(yield* connection.ask(healthz))
    }).pipe(Effect.scoped)
  )

  it.live("are refused while all others are busy", () =>
    Effect.gen(function* () {
      const emulator = yield* NodeStacksEmulator.make({ maxConnections: 2 })
      yield* emulator.setFaults([Fault.Stall({})])
      const busy = yield* Effect.all([connected(emulator.baseUrl), connected(emulator.baseUrl)])
      for (const { socket } of busy) socket.write(getJob)
      while ((yield* emulator.requests).length < 2) yield* until(() => true)
      for (let index = 0; index < 20; index++) {
        assert.strictEqual(yield* (yield* connected(emulator.baseUrl)).closed, "")
      }
      for (const { isClosed } of busy) assert.isFalse(isClosed())
      // One that asks for more than one answer at a time makes room.
      busy[1].socket.write(getJob)
      const late = yield* Effect.gen(function* () {
        const connection = yield* connected(emulator.baseUrl)
        yield* emulator.setFaults([])
        return yield* connection.ask(getJob)
      }).pipe(Effect.repeat({ until: (isAnswered) => isAnswered }))
      assert.isTrue(late)
      assert.isFalse(busy[0].isClosed())
    }).pipe(Effect.scoped)
  )
})

describe("Unread responses", () => {
  /** More than the system takes off our hands. */
  const large = Buffer.alloc(48 * 1024 * 1024)
  const limits = {
    maxConnections: 8,
    maxHeldBytes: 1.5 * large.length,
    headersMillis: 60_000,
    requestMillis: 60_000,
    responseMillis: 60_000
  }

  /** A server of large answers, and how each of them ended: whether the client has read it. */
  const serving = Effect.fnUntraced(function* (changes: Partial<typeof limits>) {
    const begun: Array<Deferred.Deferred<boolean>> = []
    const handler = (_: Http.IncomingMessage, response: Http.ServerResponse) => {
      const ended = Deferred.makeUnsafe<boolean>()
      begun.push(ended)
      response.on("close", () => Deferred.doneUnsafe(ended, Effect.succeed(response.writableFinished)))
      response.end(large)
    }
    const server = yield* listen(handler, { host: "127.0.0.1", port: 0, limits: { ...limits, ...changes } })
    return { url: `http://${authority(server)}`, begun }
  })

  const unread = Effect.fnUntraced(function* (url: string) {
    const { socket } = yield* connectTo(url)
    socket.pause()
    socket.write(healthz.repeat(100))
    return socket
  })

  it.live("are limited in memory: the connection that holds most is closed", () =>
    Effect.gen(function* () {
      const { begun, url } = yield* serving({})
      yield* unread(url)
      yield* until(() => begun.length === 1)
      const second = yield* unread(url)
      yield* until(() => begun.length === 2)
      const [first, other] = begun
      assert(first && other)
      assert.isFalse(yield* Deferred.await(first))
      second.resume()
      assert.isTrue(yield* Deferred.await(other))
    }).pipe(Effect.scoped)
  )

  it.live("are cut off after a timeout", () =>
    Effect.gen(function* () {
      const { begun, url } = yield* serving({ responseMillis: 50 })
      yield* unread(url)
      yield* until(() => begun.length === 1)
      const [first] = begun
      assert(first)
      assert.isFalse(yield* Deferred.await(first))
    }).pipe(Effect.scoped)
  )
})

describe("Received requests", () => {
  it.live("use bounded memory for all connections together", () =>
    Effect.gen(function* () {
      const closed = Deferred.makeUnsafe<string>()
      // It reads, and never answers.
      const server = yield* listen((request) => request.resume(), {
        host: "127.0.0.1",
        port: 0,
        limits: {
          maxConnections: 8,
          maxHeldBytes: 4 * 1024 * 1024,
          headersMillis: 60_000,
          requestMillis: 60_000,
          responseMillis: 60_000
        }
      })
      const url = `http://${authority(server)}`
      const head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10000000\r\n\r\n"
      const small = yield* connected(url)
      small.socket.write(`${head}${"x".repeat(1024 * 1024)}`)
      const largest = yield* connected(url)
      largest.socket.on("close", () => Deferred.doneUnsafe(closed, Effect.succeed("closed")))
      largest.socket.write(`${head}${"x".repeat(4 * 1024 * 1024)}`)
      assert.strictEqual(yield* Deferred.await(closed), "closed")
      assert.isFalse(small.isClosed())
    }).pipe(Effect.scoped)
  )
})
