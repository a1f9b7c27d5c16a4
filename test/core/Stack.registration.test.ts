/** Trouble of the service while a stack registers for the first time. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, Stack, type StackEvent } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { countOf, done, emulated, within } from "../support/stacks.ts"

const { Fault } = StacksEmulator

const seen: Array<StackEvent.StackEvent> = []

/** Starts a stack in a fiber. */
const starting = (options: Partial<Stack.Options> = {}) =>
  Effect.suspend(() => {
    seen.length = 0
    return Stack.make({
      key: "s",
      queueKey: "q",
      shutdownGrace: 0,
      onEvent: (event) => Effect.sync(() => void seen.push(event)),
      ...options
    }).pipe(Effect.provide(JobRunner.layer(() => Effect.succeed(done))), Effect.forkChild)
  })

const failures = () => seen.filter(({ _tag }) => _tag === "RequestFailed").length

const troubles: Readonly<Record<string, (times: number) => StacksEmulator.Fault>> = {
  "a redirect": (times) => Fault.Status({ status: 302, times }),
  "408": (times) => Fault.Status({ status: 408, times }),
  "409": (times) => Fault.Status({ status: 409, times }),
  "425": (times) => Fault.Status({ status: 425, times }),
  "429": (times) => Fault.Status({ status: 429, times }),
  "503": (times) => Fault.Status({ status: 503, times }),
  "a page of HTML": (times) => Fault.Html({ times }),
  "a page of HTML with 400": (times) => Fault.Html({ status: 400, times }),
  "a page of HTML with 403": (times) => Fault.Html({ status: 403, times }),
  "a body that does not decode": (times) => Fault.Malformed({ times }),
  "a body that breaks off": (times) => Fault.Truncate({ times }),
  "no response": (times) => Fault.Reset({ times })
}

describe("A stack whose registration is answered with", () => {
  for (const [what, fault] of Object.entries(troubles)) {
    it.effect(`${what}, six times in a row, starts when the service answers again`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* emulator.setFaults([{ ...fault(6), operations: ["registerStack"] }])
        const { exit } = yield* within("1 minute", Effect.flatMap(starting({ authGrace: "5 minutes" }), Fiber.join))
        assert.isTrue(Exit.isSuccess(exit))
        assert.strictEqual(failures(), 6)
        assert.strictEqual(yield* countOf("registerStack"), 7)
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  for (const status of [400, 401, 403, 404, 422]) {
    it.effect(`${status} does not start: the service would refuse the same again`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* emulator.setFaults([Fault.Status({ status, operations: ["registerStack"] })])
        const { exit, passed } = yield* within("1 minute", Effect.flatMap(starting(), Fiber.join))
        assert.include(String(exit), `: ${status} `)
        assert.isAtMost(Duration.toSeconds(passed), 2)
        assert.strictEqual(yield* countOf("registerStack"), 1)
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  it.effect("nothing useful for an hour goes on trying, at most 36 seconds apart", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.setFaults([Fault.Malformed({ operations: ["registerStack"] })])
      const stack = yield* starting()
      for (let minute = 0; minute < 60; minute++) yield* TestClock.adjust("1 minute")
      assert.isUndefined(stack.pollUnsafe())
      assert.isAtLeast(failures(), 100)
      assert.isAtMost(failures(), 200)
      yield* emulator.setFaults([])
      assert.isTrue(Exit.isSuccess((yield* within("36 seconds", Fiber.join(stack))).exit))
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
