import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"

it.live("A connection that is reset while it ends does not block the process from exiting", () =>
  Effect.gen(function* () {
    const program = fileURLToPath(new URL("../support/resetProcess.ts", import.meta.url))
    const options = { timeout: 60_000, killSignal: "SIGKILL" } as const
    const { stderr } = yield* Effect.promise(() => promisify(execFile)(process.execPath, [program], options))
    assert.strictEqual(stderr, "")
  })
)
