import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { root } from "./snippets.ts"

const page = readFileSync(join(root, "docs/observability.md"), "utf8")

describe("The page on observability", () => {
  it("uses only declared metrics in its queries and alerts", () => {
    const names = new Set(Array.from(page.matchAll(/^\| `(stacksapi_\w+)` \| (\w+)/gm), ([, name = ""]) => name))
    const asked = page.slice(page.indexOf("## Alerts")).match(/stacksapi_\w+/g) ?? []
    assert.isNotEmpty(asked)
    for (const name of asked) {
      assert.include(names, name.replace(/_(total|bucket|sum|count)$/, ""), name)
    }
  })

  it("has a row for every span of a stack", () => {
    const spans = readFileSync(join(root, "packages/core/src/internal/stack/spans.ts"), "utf8")
    for (const [, name] of spans.matchAll(/"(Stack\.\w+)"/g)) assert.include(page, `| \`${name}\` |`)
  })
})
