import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { file, update } from "./cliReference.ts"

describe("docs/cli.md", () => {
  it.live("has the tables that `pnpm docs:cli` writes", () =>
    Effect.gen(function* () {
      const page = readFileSync(file, "utf8")
      assert.strictEqual(page, yield* update(page))
    })
  )
})
