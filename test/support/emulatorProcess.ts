/** `stacksapi emulator` in a process of its own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { bin, start } from "./cli.ts"

/** A folder with these files. */
export const folderOf = (files: Readonly<Record<string, string | Uint8Array>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(join(tmpdir(), "stacksapi-cli-"))
      for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
      return folder
    }),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
  )

/** An emulator in a process of its own, and the environment that it tells to use. */
export const emulator = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
  const process_ = yield* start(process.execPath, [bin, "emulator", ...args])
  // Two channels: either may come first.
  yield* process_.seen("Stop it with Ctrl-C")
  const { stderr, stdout } = yield* process_.seen("export BUILDKITE_CLUSTER_TOKEN=bkct_emulator\n")
  const env = Object.fromEntries(
    Array.from(stdout.matchAll(/^export (\w+)=(.+)$/gm), ([, name, value]) => [name, value])
  )
  return { ...process_, env: { ...env, STACKSAPI_KEY: "try" }, stderr, stdout }
})
