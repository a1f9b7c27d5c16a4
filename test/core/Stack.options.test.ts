/** Options that can't be right are refused before anything is sent. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, Stack } from "@stacksapi/core"
import { Effect } from "effect"
import { countOf, done, emulated } from "../support/stacks.ts"

const wrong: ReadonlyArray<readonly [option: keyof Stack.Options, values: ReadonlyArray<unknown>]> = [
  ["key", ["", "two words", "x".repeat(81), undefined]],
  ["queueKey", ["", undefined]],
  ["type", ["lambda"]],
  ["metadata", [{ name: 1 }, { name: "x".repeat(257) }]],
  ["maxInFlight", [Number.NaN, -1, 1.5]],
  ["weight", [Number.NaN, 0, -1]],
  ["pollInterval", [0, "500 millis", Number.NaN, -1]],
  ["stateInterval", [0, "500 millis", Number.NaN]],
  ["reservationExpiry", [0, "2 hours", Number.NaN, "500 millis"]],
  ["startTimeout", [Number.NaN, -1]],
  ["authGrace", [Number.NaN, -1]],
  ["cancelGrace", [Number.NaN, -1]],
  ["shutdownGrace", [Number.NaN, -1]],
  ["onClose", ["leave"]],
  ["tags", [["=x"], [""], [1], { "": "x" }]]
]

describe("A stack", () => {
  for (const [option, values] of wrong) {
    for (const value of values) {
      it.effect(
        `with ${option} ${JSON.stringify(value)?.slice(0, 30) ?? String(value)} is refused: the error names the option`,
        () =>
          Effect.gen(function* () {
            const error = yield* Effect.flip(
              Stack.make({ key: "s", queueKey: "q", [option]: value } as Stack.Options).pipe(
                Effect.provide(JobRunner.layer(() => Effect.succeed(done)))
              )
            )
            assert.strictEqual(error._tag, "InvalidOptions")
            assert.include(error.message, `Option ${option}: `)
            assert.strictEqual(yield* countOf("registerStack"), 0)
          }).pipe(Effect.scoped, Effect.provide(emulated()))
      )
    }
  }
})
