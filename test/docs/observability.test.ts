import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { root } from "./snippets.ts"

const page = readFileSync(join(root, "docs/observability.md"), "utf8")

describe("The page on observability", () => {
  it("uses only declared metrics in its queries and alerts", () => {
    const names = new Set(Array.from(page.matchAll(/^\| `(stacksapi_\w+)` \| (\w+)/gm), ([, name = ""]) => name))
    const asked = page.slice(page.indexOf("## Dashboard and alerts")).match(/stacksapi_\w+/g) ?? []
    assert.isNotEmpty(asked)
    for (const name of asked) {
      assert.include(names, name.replace(/_(total|bucket|sum|count)$/, ""), name)
    }
  })

  it("has a row for every alert, and the alerts and the dashboard ask only for metrics that there are", () => {
    const rules = readFileSync(join(root, "examples/deploy/prometheus-rules.yaml"), "utf8")
    const dashboard = readFileSync(join(root, "examples/deploy/grafana-dashboard.json"), "utf8")
    const alerts = Array.from(rules.matchAll(/- alert: (\w+)/g), ([, name]) => name)
    const listed = Array.from(page.matchAll(/^\| `([A-Z]\w+)` \| [^|]+ \| `stacksapi/gm), ([, name]) => name)
    assert.deepStrictEqual(listed, alerts)
    const names = new Set(Array.from(page.matchAll(/^\| `(stacksapi_\w+)` \| (\w+)/gm), ([, name = ""]) => name))
    const asked = `${rules}${dashboard}`.match(/stacksapi_\w+/g) ?? []
    assert.isAbove(new Set(asked).size, 15)
    for (const name of asked) assert.include(names, name.replace(/_(total|bucket|sum|count)$/, ""), name)
  })

  it("has a row for every span of a stack", () => {
    const spans = readFileSync(join(root, "packages/core/src/internal/stack/spans.ts"), "utf8")
    for (const [, name] of spans.matchAll(/"(Stack\.\w+)"/g)) assert.include(page, `| \`${name}\` |`)
  })
})
