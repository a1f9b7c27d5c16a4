import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import * as Altered from "../../support/altered.ts"
import { examined, served } from "../../support/doctor.ts"

describe("stacksapi doctor finds and names", () => {
  it.live(
    "a reservation that a shorter one does not replace",
    () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* emulator.addJobs([{ queueKey: "canary" }])
        const reserved = Altered.json(/get-states/, ({ states }) => ({
          states: Object.fromEntries(Object.keys(states as object).map((id) => [id, "reserved"]))
        }))
        const { bad, status } = yield* examined({ alter: reserved }, "--canary", "canary")
        assert.strictEqual(status, 1)
        const lapse = bad.find(({ check }) => check === "canary: lapse of a shortened reservation")
        assert.include(lapse?.detail, "stay reserved")
        assert.include(lapse?.advice, "report")
      }).pipe(served),
    30_000
  )

  it.live(
    "an outage while a reservation lapses, and does not conclude that it stays",
    () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* emulator.addJobs([{ queueKey: "canary" }])
        const { bad } = yield* examined({ alter: Altered.status(/get-states/, 503) }, "--canary", "canary")
        const lapse = bad.find(({ check }) => check === "canary: lapse of a shortened reservation")
        assert.containsSubset(lapse, { verdict: "failed", detail: "status 503, not 200" })
        assert.notInclude(lapse?.advice, "report")
      }).pipe(served),
    30_000
  )
})
