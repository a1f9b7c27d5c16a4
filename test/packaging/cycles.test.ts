import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterEach, assert, describe, it } from "@effect/vitest"
import { findCycles } from "../../scripts/cycles.ts"

const directories: Array<string> = []

/** Reports the cycles of a repository with these files. */
const cyclesOf = (files: Readonly<Record<string, string>>) => {
  const directory = mkdtempSync(join(tmpdir(), "stacksapi-cycles-"))
  directories.push(directory)
  for (const [path, source] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), source)
  }
  return findCycles(directory)
}

afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

describe("the check for import cycles", () => {
  it("accepts modules and folders without a cycle", async () => {
    const cycles = await cyclesOf({
      "scripts/a.ts": 'export { b } from "./b.ts"',
      "scripts/b.ts": 'export { c } from "../test/c.ts"',
      "test/c.ts": "export const c = 1"
    })
    assert.deepStrictEqual(cycles, [])
  })

  it("reports modules that import each other, also through a third one", async () => {
    const cycles = await cyclesOf({
      "scripts/a.ts": 'import { b } from "./b.ts"\nexport const a = () => b()',
      "scripts/b.ts": 'import { c } from "./c.ts"\nexport const b = () => c()',
      "scripts/c.ts": 'import { a } from "./a.ts"\nexport const c = () => a()'
    })
    assert.deepStrictEqual(cycles, [["Modules: scripts/a.ts -> scripts/b.ts -> scripts/c.ts -> scripts/a.ts"]])
  })

  it("reports folders that import each other, with the imports", async () => {
    const cycles = await cyclesOf({
      "scripts/a.ts": 'export { b } from "../test/b.ts"',
      "scripts/c.ts": "export const c = 1",
      "test/b.ts": "export const b = 1",
      "test/d.ts": 'export { c } from "../scripts/c.ts"'
    })
    assert.deepStrictEqual(cycles, [
      [
        "Folders: scripts -> test -> scripts",
        "    scripts/a.ts imports test/b.ts",
        "    test/d.ts imports scripts/c.ts"
      ]
    ])
  })

  it("reports a public module and the folder of its internals that import each other", async () => {
    const cycles = await cyclesOf({
      "packages/core/src/A.ts": 'export { b } from "./internal/a/b.ts"',
      "packages/core/src/internal/a/b.ts": "export const b = 1",
      "packages/core/src/internal/a/c.ts": 'export { b } from "../../A.ts"'
    })
    assert.deepStrictEqual(
      cycles.map(([title]) => title),
      ["Folders: packages/core/src/A.ts -> packages/core/src/internal/a -> packages/core/src/A.ts"]
    )
  })

  it("ignores imports of types", async () => {
    const cycles = await cyclesOf({
      "scripts/a.ts": 'import type { B } from "./b.ts"\nexport type A = B | number',
      "scripts/b.ts": 'export type { A } from "./a.ts"\nexport type B = string'
    })
    assert.deepStrictEqual(cycles, [])
  })
})
