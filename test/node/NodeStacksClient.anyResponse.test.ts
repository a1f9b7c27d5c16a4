/**
 * Whatever oddity comes over the wire, a call ends: in a value or in a typed failure, never in a defect, and never not at all.
 * What is only almost right is generated: see fuzz.
 */
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, StacksError } from "@stacksapi/core"
import { Cause, Effect, Exit, Schedule } from "effect"
import * as RawServer from "../support/rawServer.ts"
import { answers, calls } from "../support/samples.ts"
import * as Undici from "../support/undici.ts"

const assertTyped = (exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isSuccess(exit)) return
  const error = Cause.squash(exit.cause)
  assert.isFalse(Cause.hasDies(exit.cause), Cause.pretty(exit.cause))
  assert.isTrue(StacksError.isStacksError(error) || error instanceof StacksError.NotificationRejected, String(error))
}

const again = RetryPolicy.make(Schedule.recurs(5))

/** A server whose next answer can be chosen, and a client of it. */
const setUp = Effect.gen(function* () {
  const next: { answer: RawServer.Answer } = { answer: RawServer.reset }
  const server = yield* RawServer.make((socket, request, index) => next.answer(socket, request, index))
  return { next, client: yield* Undici.client({ baseUrl: server.baseUrl }) }
})

describe("a call over a socket ends in a value or a typed failure", () => {
  const body = JSON.stringify(answers.getJob.body)
  const ok = `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`

  const oddities: ReadonlyArray<readonly [string, string]> = [
    ["nothing", ""],
    ["a line break", "\r\n"],
    ["a status line and no more", "HTTP/1.1 200 OK\r\n"],
    ["HTTP/0.9", body],
    ["HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["a status that is no number", "HTTP/1.1 abc OK\r\n\r\n"],
    ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"],
    ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"],
    ["status 000", "HTTP/1.1 000 .\r\ncontent-length: 0\r\n\r\n"],
    ["status 999", "HTTP/1.1 999 .\r\ncontent-length: 0\r\n\r\n"],
    ["only 100 Continue", "HTTP/1.1 100 Continue\r\n\r\n"],
    ["100 Continue, then an answer", `HTTP/1.1 100 Continue\r\n\r\n${ok}`],
    ["early hints, then an answer", `HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n${ok}`],
    ["a switch of protocols", "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"],
    ["two lengths", `HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}`],
    ["a negative length", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}"],
    ["a length that is no number", "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n{}"],
    ["a huge length", "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n{}"],
    ["a length and chunks", `HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
    ["an unknown encoding", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n{}"],
    ["a chunk of a negative size", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n"],
    ["a header without a colon", "HTTP/1.1 200 OK\r\nnonsense\r\ncontent-length: 2\r\n\r\n{}"],
    ["a header with control characters", "HTTP/1.1 200 OK\r\nx: a\u0001b\r\ncontent-length: 2\r\n\r\n{}"],
    ["headers of a megabyte", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(1_000_000)}\r\n\r\n`],
    ["ten thousand headers", `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(10_000)}\r\n`],
    ["more than it said", `${ok}${ok}garbage`],
    ["a body with a 204", "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n{}"],
    ["a body with a 304", "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n{}"]
  ]

  it.effect.each(oddities)("also %s", ([, bytes]) =>
    Effect.gen(function* () {
      const { client, next } = yield* setUp
      next.answer = (socket) => void socket.end(bytes)
      for (const operation of ["getJob", "finishJob"] as const) {
        assertTyped(yield* Effect.exit(calls[operation](client)))
      }
      // And the next call is none the worse for it; the connection that the server has closed may still be tried.
      next.answer = RawServer.always({ body })
      const job = yield* client.getJob({ stackKey: "s", jobUuid: "j" }).pipe(RetryPolicy.withPolicy(again))
      assert.strictEqual(job.command, "make test")
    })
  )
})
