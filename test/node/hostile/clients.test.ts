/** Clients that mean no good: the emulator and the health server go on answering the others, and keep their memory. */
import { gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { HealthServer, NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Layer, Redacted, Stream } from "effect"
import { HttpServerRequest } from "effect/http"
import { TestClock } from "effect/testing"
import * as Page from "../../../packages/node/src/internal/page/page.ts"
import { connectTo, flood } from "../../support/rawClient.ts"
import { type ResourceUsage, resourceUsage } from "../../support/resourceUsage.ts"

const megabyte = 1024 * 1024

const held = ({ buffers, heap }: ResourceUsage) => heap + buffers

const layer = NodeStacksEmulator.layerClient.pipe(Layer.provideMerge(NodeStacksEmulator.layer({ rateLimits: false })))

/** That others are answered, and at once. */
const answersOthers = Effect.flatMap(StacksClient.StacksClient, (client) =>
  client.registerStack({ key: "other", type: "custom", queueKey: "q" })
)

const connect = Effect.flatMap(StacksEmulator.StacksEmulator, ({ baseUrl }) => connectTo(baseUrl))

const token = "authorization: Token bkct_emulator\r\n"
const host = "host: localhost\r\n"

describe("Many slow clients", () => {
  it.live("delay no other client, and are disconnected when the emulator ends", () =>
    Effect.gen(function* () {
      const before = yield* resourceUsage
      yield* Effect.gen(function* () {
        const connections = yield* Effect.all(
          Array.from({ length: 300 }, () => connect),
          { concurrency: 50 }
        )
        for (const [index, { socket }] of connections.entries()) {
          if (index % 3 === 1) socket.write(`POST /v3/stacks/register HTTP/1.1\r\n${host}x-slow: a`)
          if (index % 3 === 2) {
            socket.write(`POST /v3/stacks/register HTTP/1.1\r\n${host}${token}content-length: 100000\r\n\r\n{"key": `)
          }
        }
        yield* answersOthers
        for (const { socket } of connections) socket.write("a")
        yield* answersOthers
        const after = yield* resourceUsage
        assert.isBelow(held(after), held(before) + 64 * megabyte)
      }).pipe(Effect.scoped, Effect.provide(layer))
    })
  )
})

describe("Endless bodies", () => {
  const piece = Buffer.alloc(64 * 1024, " ")
  const chunk = Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")])

  const senders = [
    ["a stack", "POST /v3/stacks/register HTTP/1.1\r\n", token, /^HTTP\/1.1 413 /],
    ["anybody", "POST /v3/stacks/register HTTP/1.1\r\n", "", /^HTTP\/1.1 413 /],
    ["who should send none", "GET /v3/stacks/s/scheduled-jobs?queue_key=q HTTP/1.1\r\n", token, /^HTTP\/1.1 413 /],
    ["who has the wrong path", "POST /v3/unknown HTTP/1.1\r\n", token, /^HTTP\/1.1 413 /],
    ["an agent", "POST /v3/jobs/j/chunks?sequence=1&offset=0&size=1 HTTP/1.1\r\n", "", /^HTTP\/1.1 413 /],
    [
      "a button of the page",
      "POST /ui/add-jobs HTTP/1.1\r\n",
      "content-type: application/json\r\nsec-fetch-site: same-origin\r\n",
      /^HTTP\/1.1 400 /
    ],
    ["who wants a file of the page", "GET /ui/main.js HTTP/1.1\r\n", "", /^HTTP\/1.1 200 /]
  ] as const

  it.live("are cut off for every kind of client", () =>
    Effect.gen(function* () {
      const before = yield* resourceUsage
      // Together: the emulator gives each a moment to read its answer.
      yield* Effect.forEach(
        senders,
        Effect.fnUntraced(function* ([name, start, headers, answer]) {
          const known = yield* connect
          const chunked = yield* connect
          flood(known, `${start}${host}${headers}content-length: 10000000000\r\n\r\n`, piece)
          flood(chunked, `${start}${host}${headers}transfer-encoding: chunked\r\n\r\n`, chunk)
          assert.match(yield* known.closed, answer, name)
          assert.match(yield* chunked.closed, answer, name)
        }),
        { concurrency: "unbounded" }
      )
      yield* answersOthers
      assert.isBelow(held(yield* resourceUsage), held(before) + 64 * megabyte)
    }).pipe(Effect.scoped, Effect.provide(layer))
  )

  it.live("with endless headers are rejected", () =>
    Effect.gen(function* () {
      const connection = yield* connect
      flood(connection, "GET / HTTP/1.1\r\n", Buffer.from("x-header: value\r\n".repeat(1000)))
      assert.match(yield* connection.closed, /^HTTP\/1.1 431 /)
      yield* answersOthers
    }).pipe(Effect.scoped, Effect.provide(layer))
  )
})

describe("Bodies that grow when they are decoded", () => {
  const post = (path: string, body: Uint8Array | string, headers: Readonly<Record<string, string>> = {}) =>
    Effect.gen(function* () {
      const { baseUrl, token } = yield* StacksEmulator.StacksEmulator
      const response = yield* Effect.promise(() =>
        fetch(new URL(path, baseUrl), {
          method: "POST",
          body: typeof body === "string" ? body : new Uint8Array(body),
          headers: { authorization: `Token ${Redacted.value(token)}`, ...headers }
        })
      )
      return { status: response.status, text: yield* Effect.promise(() => response.text()) }
    })

  it.live("are not decompressed to their end", () =>
    Effect.gen(function* () {
      const bomb = gzipSync(Buffer.alloc(48 * megabyte))
      const before = yield* resourceUsage
      const gzip = { "content-encoding": "gzip" }
      const chunks = "jobs/j/chunks?sequence=1&offset=0&size=1"
      const refused = yield* post(chunks, bomb, gzip)
      assert.strictEqual(refused.status, 413)
      assert.include(refused.text, "larger than 8 MiB")
      assert.strictEqual((yield* post(chunks, "not compressed", gzip)).status, 400)
      assert.strictEqual((yield* post("stacks/register", bomb, gzip)).status, 400)
      yield* answersOthers
      assert.isBelow(held(yield* resourceUsage), held(before) + 32 * megabyte)
    }).pipe(Effect.provide(layer))
  )

  const deep = (open: string, close: string) => open.repeat(200_000) + close.repeat(200_000)

  it.live.each([
    ["lists", deep("[", "]")],
    ["lists that don't end", deep("[", "")],
    ["objects", `{"key":"s","type":"custom","queue_key":"q","metadata":${deep('{"a":', "}").replace(":}", ":1}")}}`]
  ] as const)("nested ones are refused, and shown as the text that they are: %s", ([, body]) =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const statuses = yield* Effect.forEach(
        ["stacks/register", "stacks/s/jobs/get-states", "stacks/s/notifications", "register", "jobs/j/data/set"],
        (path) => post(path, body)
      )
      for (const { status } of statuses) assert.include([400, 401], status)
      yield* answersOthers
      const [first] = yield* emulator.requests
      assert.strictEqual(first?.body, body)
      const page = new URL("/ui/", emulator.baseUrl)
      const get = (path: string) => Effect.promise(() => fetch(new URL(path, page)).then((answer) => answer.json()))
      for (const { id } of yield* get("requests")) {
        assert.property(yield* get(`request?id=${id}`), "method")
      }
    }).pipe(Effect.provide(layer))
  )

  it.live("do not include brackets within JSON strings", () =>
    Effect.gen(function* () {
      const metadata = { brackets: "[{".repeat(120), quotes: '\\"[[['.repeat(40) }
      const body = JSON.stringify({ key: "s", type: "custom", queue_key: "q", metadata })
      assert.strictEqual((yield* post("stacks/register", body)).status, 201)
    }).pipe(Effect.provide(layer))
  )
})

describe("Many open pages", () => {
  it.effect("share one computation of the overview", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.make()
      let looks = 0
      const page = yield* Page.make({
        emulator,
        requestsVersion: Effect.sync(() => ++looks),
        originCheck: () => undefined
      })
      const request = HttpServerRequest.fromWeb(
        new Request("http://localhost/ui/events", { headers: { host: "localhost", "sec-fetch-site": "same-origin" } })
      )
      const watch = page.pipe(
        Effect.provideService(HttpServerRequest.HttpServerRequest, request),
        Effect.flatMap(({ body }) => {
          assert(body._tag === "Stream")
          return Stream.runDrain(body.stream)
        }),
        Effect.forkScoped
      )
      for (let watcher = 0; watcher < 100; watcher++) yield* watch
      yield* TestClock.adjust("5 seconds")
      assert.isAtLeast(looks, 10)
      assert.isAtMost(looks, 15)
    }).pipe(Effect.scoped)
  )
})

const isAnswered = (url: string) =>
  Effect.map(
    Effect.promise(() => fetch(new URL("/metrics", url))),
    ({ status }) => assert.strictEqual(status, 200)
  )

describe("The health server", () => {
  it.live("responds while other clients are slow, and ends while they are connected", () =>
    Effect.gen(function* () {
      const { url } = yield* HealthServer.make({ port: 0 })
      const connections = yield* Effect.all(
        Array.from({ length: 200 }, () => connectTo(url)),
        { concurrency: 50 }
      )
      for (const [index, { socket }] of connections.entries()) {
        if (index % 3 === 1) socket.write("GET /metrics HTTP/1.1\r\nhost: localhost\r\nx-slow: a")
        if (index % 3 === 2)
          socket.write("GET /metrics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\na")
      }
      yield* isAnswered(url)
      for (const { socket } of connections) socket.write("a")
      yield* isAnswered(url)
    }).pipe(Effect.scoped)
  )

  it.live("reads no body and no endless headers", () =>
    Effect.gen(function* () {
      const { url } = yield* HealthServer.make({ port: 0 })
      const body = yield* connectTo(url)
      const headers = yield* connectTo(url)
      flood(
        body,
        "POST /metrics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10000000000\r\n\r\n",
        Buffer.alloc(65_536, "a")
      )
      flood(headers, "GET /metrics HTTP/1.1\r\n", Buffer.from("x-header: value\r\n".repeat(1000)))
      assert.match(yield* body.closed, /^HTTP\/1.1 4\d\d /)
      assert.match(yield* headers.closed, /^HTTP\/1.1 431 /)
      yield* isAnswered(url)
    }).pipe(Effect.scoped)
  )
})
