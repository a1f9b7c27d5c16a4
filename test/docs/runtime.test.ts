import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { root } from "./snippets.ts"

const read = (path: string) => readFileSync(join(root, path), "utf8")
const page = read("docs/runtime.md")

/** A part of the page, from its heading to the next one of the same level. */
const section = (heading: string) => page.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? ""

describe("The page on the runtime", () => {
  it("says why a runner is stopped, for every reason", () => {
    const [, reasons = ""] = /^export type StopReason = (.*)$/m.exec(read("packages/core/src/JobRunner.ts")) ?? []
    for (const [, reason] of reasons.matchAll(/"(\w+)"/g)) {
      assert.match(section("What a runner may rely on"), new RegExp(`^\\| \`${reason}\` \\|`, "m"))
    }
  })
})
