/** Clients of the health server that mean no good: who asks whether the stack is well gets an answer all the same. */
import { assert, describe, it } from "@effect/vitest"
import { HealthServer } from "@stacksapi/node"
import { Effect } from "effect"
import { connectTo, flood } from "../../support/rawClient.ts"

const isAnswered = (url: string) =>
  Effect.map(
    Effect.promise(() => fetch(new URL("/metrics", url))),
    ({ status }) => assert.strictEqual(status, 200)
  )

describe("the health server", () => {
  it.live("answers while others are slow, and ends with them connected", () =>
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

  it.live("reads no body, and no headers without an end", () =>
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
