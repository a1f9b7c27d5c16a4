/** Answers of all kinds, right and mutilated, over real sockets, to every method of the client. */
import type * as Net from "node:net"
import { inspect } from "node:util"
import { StacksError } from "@stacksapi/core"
import { Arbitrary, Cause, Deferred, Effect, Exit, Schema } from "effect"
import { type AnyResponse, anyResponse, piecesOf } from "../../support/anyResponse.ts"
import { byteEdits, editBytes, splitBytes, splits } from "../../support/mutate.ts"
import * as RawServer from "../../support/rawServer.ts"
import { calls } from "../../support/samples.ts"
import * as Undici from "../../support/undici.ts"
import { live, type Outcomes, Unexpected } from "./fuzz.ts"

/** So many servers, each with a client, at a time. */
const lanes = 16

/** Long enough for an answer that has come, and short enough for the many that never end. */
const timeout = "400 millis"

const hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"

const Wire = Schema.Struct({
  framing: Schema.Literals(["length", "length", "chunked", "close"]),
  version: Schema.Literals(["1.1", "1.1", "1.1", "1.0"]),
  before: Schema.Literals(["", "", "", "", "", "", hints, hints, "HTTP/1.1 100 Continue\r\n\r\n"]),
  /** How much longer or shorter the body is than it says. */
  lie: Schema.Literals([0, 0, 0, 0, 0, 1, -1, 1e6]),
  isEdited: Schema.Literals([false, false, true]),
  ending: Schema.Literals(["end", "end", "end", "reset", "open"])
})

interface WireAnswer {
  readonly operation: AnyResponse["operation"]
  readonly pieces: ReadonlyArray<Uint8Array>
  readonly ending: "end" | "reset" | "open"
}

const wireAnswer: Arbitrary.Arbitrary<WireAnswer> = Arbitrary.all({
  answer: anyResponse,
  wire: Arbitrary.schema(Wire),
  byteEdits,
  splits
}).pipe(
  Arbitrary.map(({ answer, byteEdits, splits, wire }) => {
    const bytes = bytesOf(answer, wire)
    return {
      operation: answer.operation,
      pieces: splitBytes(wire.isEdited ? editBytes(bytes, byteEdits) : bytes, splits),
      ending: wire.ending
    }
  })
)

const bytesOf = (answer: AnyResponse, { before, framing, lie, version }: typeof Wire.Type): Uint8Array => {
  const { body, headers, status } = answer
  const framed = {
    length: { "content-length": String(Math.max(0, body.length + lie)) },
    chunked: { "transfer-encoding": "chunked" },
    close: { connection: "close" }
  }[framing]
  const lines = Object.entries({ ...headers, ...framed }).map(([name, value]) => `${name}: ${value}\r\n`)
  const head = `${before}HTTP/${version} ${status} .\r\n${lines.join("")}\r\n`
  const pieces = piecesOf(answer).filter((piece) => piece.length > 0)
  const end = answer.breaksOff ? "" : "0\r\n\r\n"
  return framing === "chunked"
    ? Buffer.concat([Buffer.from(head), ...pieces.map(RawServer.chunk), Buffer.from(end)])
    : Buffer.concat([Buffer.from(head), ...pieces])
}

/** Says each piece in a turn of its own, so that it arrives by itself. */
const say =
  ({ ending, pieces }: WireAnswer): RawServer.Answer =>
  (socket: Net.Socket) => {
    socket.setNoDelay(true)
    const next = (index: number) => {
      const piece = pieces[index]
      if (socket.destroyed) return
      if (piece === undefined) {
        if (ending === "end") socket.end()
        if (ending === "reset") socket.resetAndDestroy()
        return
      }
      socket.write(piece)
      setImmediate(next, index + 1)
    }
    next(0)
  }

/** What a call ended in; fails where it may not end like that. */
const endOf = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<string, string> => {
  if (Exit.isSuccess(exit)) return Effect.succeed("value")
  const [reason, ...more] = exit.cause.reasons
  if (reason?._tag !== "Fail" || more.length > 0) return Effect.fail(Cause.pretty(exit.cause))
  const { error } = reason
  // All of it can be shown, and is of a size for it.
  const shown = [String(error), JSON.stringify(error), inspect(error), Cause.pretty(exit.cause)]
  if (shown.some((text) => text.length > 20_000))
    return Effect.fail(`A failure of ${shown.map((text) => text.length)} characters`)
  if (error instanceof StacksError.NotificationRejected) return Effect.succeed(error._tag)
  if (!StacksError.isStacksError(error)) return Effect.fail(`No typed failure: ${String(error)}`)
  const { _tag } = error
  return Effect.succeed(
    _tag === "ErrorResponse"
      ? `${_tag} ${error.reason._tag}`
      : _tag === "TransportError"
        ? `${_tag} ${error.kind}`
        : _tag
  )
}

const describe = ({ ending, operation, pieces }: WireAnswer): string =>
  JSON.stringify({ operation, ending, pieces: pieces.map((piece) => Buffer.from(piece).toString("latin1")) })

/** Has answers told to calls, a number of them decided by a seed; gives what the calls ended in. */
export const responses = Effect.fnUntraced(function* (seed: number, count: number) {
  const all = yield* Effect.orDie(Arbitrary.sampleEffect(wireAnswer, { count, seed }))
  const outcomes: Outcomes = {}
  const lane = Effect.fnUntraced(function* (first: number) {
    let next: RawServer.Answer = RawServer.reset
    const server = yield* RawServer.make((socket, request, index) => next(socket, request, index))
    const client = yield* Undici.client({ baseUrl: server.baseUrl, timeout })
    for (let index = first; index < all.length; index += lanes) {
      const answer = all[index]
      if (answer === undefined) continue
      next = say(answer)
      const call = Effect.gen(function* () {
        const exit = yield* Effect.exit(calls[answer.operation](client))
        // The next call must not meet a connection that is about to close.
        const closed = server.requests.at(-1)?.closed
        if (answer.ending !== "open" && closed !== undefined) yield* Deferred.await(closed)
        return yield* endOf(exit)
      })
      const outcome = yield* live("20 seconds", call).pipe(
        Effect.mapError((problem) => new Unexpected({ seed, index, problem, sent: describe(answer) }))
      )
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    }
  }, Effect.scoped)
  yield* Effect.forEach(Array.from({ length: lanes }).keys(), lane, { concurrency: "unbounded", discard: true })
  return outcomes
})
