/** Notifications that do not arrive: over a connection that was cut without a word, and behind a pooler that shares sessions. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Logger, Random } from "effect"
import { TestClock } from "effect/testing"
import { decode, encode, Hint, listenForever } from "../../../packages/node/src/internal/cluster/hints.ts"

/** A database with one listener, that hears or does not. */
const make = Effect.gen(function* () {
  const heard: Array<string> = []
  const warnings: Array<unknown> = []
  const state = { isDeaf: false, connections: 0, probes: 0, hear: (_: Hint) => {} }
  const listening = yield* listenForever(
    {
      listen: (onHint) =>
        Effect.suspend(() => {
          const connection = ++state.connections
          // A connection that was cut stays so.
          let isCut = false
          state.hear = (hint) => {
            isCut ||= state.isDeaf
            if (!isCut && connection === state.connections) onHint(hint)
          }
          return Effect.never
        }),
      notify: (hint) =>
        Effect.sync(() => {
          if (hint._tag === "Probe") state.probes++
          state.hear(hint)
        })
    },
    (hint) => void heard.push(hint._tag)
  ).pipe(
    Random.withSeed("hints"),
    Effect.provide(Logger.layer([Logger.make(({ message }) => void warnings.push(message))])),
    Effect.forkScoped
  )
  yield* TestClock.adjust(0)
  return { heard, listening, state, warnings }
})

describe("A listener", () => {
  it.effect("replaces a connection that was cut without a word, within ten seconds", () =>
    Effect.gen(function* () {
      const { heard, state } = yield* make
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(state.connections, 1)
      assert.isAbove(state.probes, 0)
      state.isDeaf = true
      yield* TestClock.adjust("4 seconds")
      state.isDeaf = false
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual(state.connections, 2)
      heard.length = 0
      state.hear(Hint.Ended({ memberId: 3 }))
      assert.deepStrictEqual(heard, ["Ended"])
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(state.connections, 2)
    })
  )

  it.effect("sends no probes while others talk", () =>
    Effect.gen(function* () {
      const { state } = yield* make
      for (let second = 0; second < 30; second++) {
        yield* TestClock.adjust("1 second")
        state.hear(Hint.Look({ memberId: undefined }))
      }
      assert.strictEqual(state.probes, 0)
    })
  )

  it.effect("says once that nothing arrives, and tries again once a minute", () =>
    Effect.gen(function* () {
      const { listening, state, warnings } = yield* make
      state.isDeaf = true
      yield* TestClock.adjust("30 seconds")
      assert.lengthOf(warnings, 1)
      assert.include(String(warnings[0]), "pooler")
      const { connections } = state
      yield* TestClock.adjust("10 minutes")
      assert.isAtMost(state.connections - connections, 10)
      assert.lengthOf(warnings, 1)
      state.isDeaf = false
      yield* TestClock.adjust("2 minutes")
      const { connections: later } = state
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(state.connections, later)
      yield* Fiber.interrupt(listening)
    })
  )
})

describe("A hint", () => {
  it("is a short text, and what is none says only that the connection is alive", () => {
    const hints = [
      Hint.Claim({
        counts: new Map([
          [3, 2],
          [7, 1]
        ])
      }),
      Hint.Ended({ memberId: 5 }),
      Hint.Look({ memberId: 4 }),
      Hint.Look({ memberId: undefined }),
      Hint.Probe()
    ]
    for (const hint of hints) assert.deepStrictEqual(decode(encode(hint)), hint)
    assert.deepStrictEqual(decode("something else"), Hint.Probe())
  })
})
