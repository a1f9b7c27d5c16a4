import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { holdsSlot, type StageName, transitions } from "../../packages/core/src/internal/stack/jobTable.ts"
import { root } from "./snippets.ts"

const page = readFileSync(join(root, "docs/architecture.md"), "utf8")
const folder = join(root, "packages/core/src/internal/stack")

const stages = Object.keys(transitions) as ReadonlyArray<StageName>
const declared = stages.flatMap((from) => Array.from(transitions[from], (to) => `${from} --> ${to}`))
const drawn = Array.from(page.matchAll(/^ {2}(\w+ --> \w+)(?: :.*)?$/gm), ([, arrow = ""]) => arrow).filter((arrow) =>
  stages.some((stage) => arrow.startsWith(`${stage} `))
)

describe("The page on architecture", () => {
  it("draws only transitions that the job table declares", () => {
    assert.isNotEmpty(drawn)
    for (const arrow of drawn) assert.include(declared, arrow)
  })

  it("says of every stage whether it holds a slot, what may follow, and which file holds it", () => {
    for (const stage of stages) {
      const row = new RegExp(`^\\| \`${stage}\` \\|(.*)\\|$`, "m").exec(page)?.[1] ?? ""
      const [slot = "", , following = "", files = ""] = row.split("|").map((cell) => cell.trim())
      assert.strictEqual(slot === "yes", holdsSlot(stage), stage)
      const names = Array.from(following.matchAll(/`(\w+)`/g), ([, name = ""]) => name)
      assert.sameMembers(names, Array.from(transitions[stage]), stage)
      assert.match(files, /`\w+\.ts`/, stage)
    }
  })

  const cluster = /^## A cluster\n[\s\S]*?(?=^## )/m.exec(page)?.[0] ?? ""

  it.each([
    ["of the runtime", folder, page.replace(cluster, "")],
    ["of a cluster", join(root, "packages/node/src/internal/cluster"), cluster]
  ])("lists the files %s, and no others", (_, folder, text) => {
    const listed = Array.from(text.matchAll(/`((?:\.\.\/)?\w+\.ts)`/g), ([, file = ""]) => file)
    for (const file of listed) assert.isTrue(existsSync(join(folder, file)), file)
    assert.deepStrictEqual(
      readdirSync(folder).filter((file) => !listed.includes(file)),
      []
    )
  })
})
