/** A few of the cases that `bench/fuzz/main.ts` has without end: the same ones in every run. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { requests } from "./requests.ts"
import { responses } from "./responses.ts"

describe("With random bytes over a socket", () => {
  it.effect("a call of the client ends in a value or a typed failure", () =>
    Effect.gen(function* () {
      const kinds = Object.keys(yield* responses(1, 800))
      assert.includeMembers(kinds, [
        "value",
        "DecodeError",
        "ErrorResponse BadRequest",
        "ErrorResponse Unauthorized",
        "ErrorResponse Forbidden",
        "ErrorResponse NotFound",
        "ErrorResponse Unprocessable",
        "ErrorResponse RateLimited",
        "ErrorResponse ServerError",
        "ErrorResponse UnexpectedStatus",
        "TransportError Reset",
        "TransportError CutShort",
        "TransportError Timeout"
      ])
    })
  )

  it.effect("the emulator responds, and never with 500", () =>
    Effect.gen(function* () {
      const kinds = Object.keys(yield* requests(1, 800))
      assert.includeMembers(kinds, ["200", "201", "204", "400", "401", "403", "404", "415", "421", "422"])
    })
  )
})
