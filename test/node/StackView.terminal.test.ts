/** The live view on a real terminal, in its own process: what it shows, and what is left when it ends in any way. */
import { resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { open, type Pty } from "../support/terminal.ts"
import type { Scenario } from "../support/viewedStack.ts"

const program = resolve(import.meta.dirname, "../support/viewedStack.ts")

const run = (scenario: Scenario, size: { readonly columns: number; readonly rows: number }) =>
  open([process.execPath, program, JSON.stringify(scenario)], size)

const large = { columns: 80, rows: 24 }
const small = { columns: 40, rows: 12 }

const interrupt = "\u0003"

/** The terminal is as it was before the view. */
const assertRestored = (pty: Pty) => {
  assert.isTrue(pty.hasCursor())
  assert.isFalse(pty.isSecondScreen())
  assert.notMatch(pty.scrollback(), /taken|Running:|web#7/)
}

const runs = (count: number) => (screen: string) => screen.includes(`Running: ${count}\n`)

describe("a live view on a real terminal", () => {
  for (const size of [large, small]) {
    const name = `${size.columns}x${size.rows}`

    it.live(`is shown at ${name}, and prints a summary when it is interrupted`, () =>
      Effect.gen(function* () {
        const pty = yield* run({ quick: 20, endless: 12, output: "\u001b[31mmaking 日本語" }, size)
        yield* pty.until("8 running jobs and a log line", (screen) => runs(8)(screen) && screen.includes("look out"))
        yield* pty.until("all ends", (screen) => screen.includes("16 passed") && screen.includes("4 failed"))
        assert.isTrue(pty.isSecondScreen())
        assert.isFalse(pty.hasCursor())
        const rows = pty.screen()
        assert.match(rows[0] ?? "", /^my-stack · queue q +running \d+s$/)
        assert.match(rows.join("\n"), /8 of 8 taken · 0 free/)
        assert.match(rows.join("\n"), /^ +\d+s web#7 endless-0 {2}making 日本/m)

        yield* pty.type(interrupt)
        assert.strictEqual(yield* pty.ended, 130)
        assertRestored(pty)
        assert.match(pty.scrollback(), /^\d\d:\d\d:\d\d WARN look out$/m)
        assert.match(pty.scrollback(), /^Stack +my-stack · queue q$/m)
        assert.match(pty.scrollback(), /^Jobs +28 jobs in \d+s/m)
        assert.match(pty.scrollback(), /^Problems +8 × a job/m)
      }).pipe(Effect.scoped)
    )
  }

  it.live("prints a summary when the stack is idle", () =>
    Effect.gen(function* () {
      const pty = yield* run({ quick: 10, end: "idle" }, large)
      assert.strictEqual(yield* pty.ended, 0)
      assertRestored(pty)
      assert.match(pty.scrollback(), /^Jobs +10 jobs in \d+s .* 8 passed · 2 failed$/m)
      assert.match(pty.scrollback(), /^Problems +none$/m)
    }).pipe(Effect.scoped)
  )

  it.live("restores the terminal when the process crashes, and shows the reason", () =>
    Effect.gen(function* () {
      const pty = yield* run({ endless: 2, end: "crash" }, large)
      assert.notStrictEqual(yield* pty.ended, 0)
      assertRestored(pty)
      assert.include(pty.scrollback(), "Error: crashed")
    }).pipe(Effect.scoped)
  )

  it.live("restores the terminal when the process exits at once", () =>
    Effect.gen(function* () {
      const pty = yield* run({ endless: 2, end: "exit" }, large)
      assert.strictEqual(yield* pty.ended, 7)
      assertRestored(pty)
    }).pipe(Effect.scoped)
  )

  it.live("restores the terminal when a signal kills the process", () =>
    Effect.gen(function* () {
      const pty = yield* run({ endless: 2, isBare: true }, large)
      yield* pty.until("2 running jobs", runs(2))
      yield* pty.type(interrupt)
      assert.strictEqual(yield* pty.ended, 130)
      assertRestored(pty)
      assert.strictEqual(pty.scrollback(), "")
    }).pipe(Effect.scoped)
  )

  it.live("restores the terminal for the shell while it is suspended", () =>
    Effect.gen(function* () {
      const pty = yield* open(["/bin/bash", "--norc", "-i"], large)
      yield* pty.type(`'${process.execPath}' '${program}' '{"endless": 2}'\n`)
      yield* pty.until("2 running jobs", runs(2))
      yield* pty.type("\u001a")
      yield* pty.until("the shell", (screen) => screen.includes("Stopped"))
      assert.isTrue(pty.hasCursor())
      yield* pty.type("fg\n")
      yield* pty.until("2 running jobs", runs(2))
      assert.isFalse(pty.hasCursor())
      yield* pty.type(interrupt)
      yield* pty.until("the summary", (screen) => /^Jobs +2 jobs in/m.test(screen))
      assert.isTrue(pty.hasCursor())
    }).pipe(Effect.scoped)
  )
})
