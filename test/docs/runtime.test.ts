import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { root } from "./snippets.ts"

const read = (path: string) => readFileSync(join(root, path), "utf8")
const page = read("docs/runtime.md")
const stack = read("packages/core/src/Stack.ts")

/** A part of the page, from its heading to the next one of the same level. */
const section = (heading: string) => page.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? ""

/** The names in the first cells of a section's tables. */
const rows = (heading: string) =>
  Array.from(section(heading).matchAll(/^\| ([^|]*) \|/gm)).flatMap(([, cell = ""]) =>
    Array.from(cell.matchAll(/`(\w+)`/g), ([, name = ""]) => name)
  )

/** The members of an interface. */
const membersOf = (name: string) => {
  const [, body = ""] = new RegExp(`^export interface ${name} \\{\\n([\\s\\S]*?)^\\}`, "m").exec(stack) ?? []
  return Array.from(body.matchAll(/^ {2}readonly (\w+)/gm), ([, member = ""]) => member)
}

describe("The page on the runtime", () => {
  it("has a row for every option of a stack", () => {
    assert.sameMembers(rows("Options"), membersOf("Options"))
  })

  it("has a row for every field of the status", () => {
    assert.sameMembers(rows("Status"), membersOf("Status"))
  })

  it("names every event", () => {
    const declaration = read("packages/core/src/StackEvent.ts").split("Data.TaggedEnum<{")[1] ?? ""
    const events = Array.from(declaration.matchAll(/^ {2}(\w+): \{/gm), ([, name = ""]) => name)
    assert.isAbove(events.length, 20)
    assert.sameMembers([...rows("Events"), "Reserved", "Started"], events)
    assert.include(section("Events"), "`Reserved`, `Started`")
  })

  it("says why a runner is stopped, for every reason", () => {
    const [, reasons = ""] = /^export type StopReason = (.*)$/m.exec(read("packages/core/src/JobRunner.ts")) ?? []
    for (const [, reason] of reasons.matchAll(/"(\w+)"/g)) {
      assert.match(section("What a runner may rely on"), new RegExp(`^\\| \`${reason}\` \\|`, "m"))
    }
  })
})
