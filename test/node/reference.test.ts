import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema } from "effect"
import { calls } from "../interop/calls.ts"
import * as OurClient from "../interop/ourClient.ts"
import * as Reference from "../interop/reference.ts"

const Results = Schema.fromJsonString(
  Schema.Array(
    Schema.Struct({
      value: Schema.optionalKey(Schema.Unknown),
      status: Schema.optionalKey(Schema.Int),
      error: Schema.optionalKey(Schema.String),
      scope: Schema.optionalKey(Schema.String)
    })
  )
)

describe("the client", () => {
  it.live("gets what the reference client in Go got, call by call", () =>
    Effect.gen(function* () {
      const recorded = yield* Schema.decodeUnknownEffect(Results)(readFileSync(Reference.recorded, "utf8"))
      assert.lengthOf(recorded, calls.length)
      const emulator = yield* Reference.emulator
      // Bursts wait for rate limits.
      const compared = calls.flatMap((call, index) => (call.burst === undefined ? [{ call, index }] : []))
      const requests = compared.map(({ call }) => call)
      const ours = yield* OurClient.run(requests, emulator.baseUrl, Redacted.value(emulator.token))
      const different = compared.flatMap(({ call, index }, position) => {
        const [theirs, our] = [recorded[index] ?? {}, ours[position] ?? {}]
        const isExpected = Reference.isSame(theirs, our) !== (call.difference !== undefined)
        return isExpected ? [] : [{ call, theirs, our }]
      })
      assert.deepStrictEqual(different, [])
      assert.isAtLeast(compared.length, 40)
    }).pipe(Effect.scoped)
  )
})
