/** What comes with the packages, and with work on them. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { root } from "../../scripts/run.ts"

const read = (path: string) => readFileSync(join(root, path), "utf8")
const manifestOf = (folder: string) => JSON.parse(read(join(folder, "package.json")))

const published = ["packages/core", "packages/node"]
const folders = [".", ...published, "test", "examples", "bench", "test/compat/runtimes"]

const namesIn = (folder: string): ReadonlyArray<string> => {
  const { dependencies, devDependencies, optionalDependencies, peerDependencies } = manifestOf(folder)
  return Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies, ...peerDependencies })
}

describe("the packages", () => {
  it("depend on what they must", () => {
    assert.deepStrictEqual(
      published.map((folder) => Object.keys(manifestOf(folder).dependencies ?? {})),
      [[], ["@effect/platform-node", "@stacksapi/core", "yaml"]]
    )
  })

  it("run nothing when they are installed", () => {
    for (const folder of published) {
      assert.isUndefined(manifestOf(folder).scripts)
      // npm would build it.
      assert.isFalse(existsSync(join(root, folder, "binding.gyp")))
    }
  })
})

describe("dependencies", () => {
  const [, section = ""] = read("docs/decisions.md").split("\n## Dependencies\n")
  const explained = new Set(Array.from(section.matchAll(/`([^`]+)`/g), ([, name]) => name))

  it.each(folders)("of %s are explained in docs/decisions.md", (folder) => {
    const missing = namesIn(folder).filter((name) => !name.startsWith("@stacksapi/") && !explained.has(name))
    assert.deepStrictEqual(missing, [])
  })

  it.each(["pnpm-lock.yaml", "test/compat/runtimes/pnpm-lock.yaml"])("are locked by digest in %s", (lockfile) => {
    const resolutions = read(lockfile).match(/^ {4}resolution: .*$/gm) ?? []
    assert.isAbove(resolutions.length, 3)
    assert.deepStrictEqual(
      resolutions.filter((line) => !/^ {4}resolution: \{integrity: sha512-[\w+/]{86}==\}$/.test(line)),
      []
    )
  })

  it("run a script when they are installed only where nothing works without", () => {
    const [, allowed = ""] = /^allowBuilds:\n((?: {2}.*\n)+)/m.exec(read("pnpm-workspace.yaml")) ?? []
    assert.deepStrictEqual(allowed.match(/^ {2}\S+: true$/gm), ["  node: true"])
  })
})
