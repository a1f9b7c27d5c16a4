import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { optionalPeers } from "../../scripts/run.ts"

const packages = join(import.meta.dirname, "../../packages")

const manifestOf = (name: string) => JSON.parse(readFileSync(join(packages, name, "package.json"), "utf8"))

const modulesOf = (name: string) =>
  readdirSync(join(packages, name, "src"))
    .filter((file) => /^[A-Z].*\.ts$/.test(file))
    .map((file) => file.replace(".ts", ""))
    .sort()

const reexportsOf = (name: string, barrel: string) =>
  Array.from(
    readFileSync(join(packages, name, "src", barrel), "utf8").matchAll(/^export \* as (\w+) from "\.\/\1\.ts"$/gm),
    ([, module]) => module
  ).sort()

describe.each(["core", "node"])("the manifest of @stacksapi/%s", (name) => {
  const manifest = manifestOf(name)

  it("publishes under the names that the workspace imports", () => {
    assert.deepStrictEqual(Object.keys(manifest.publishConfig.exports), Object.keys(manifest.exports))
  })

  it("keeps internal modules private", () => {
    assert.isNull(manifest.exports["./internal/*"])
    assert.isNull(manifest.publishConfig.exports["./internal/*"])
  })

  it("names Effect as a peer within one minor, and never as a dependency", () => {
    assert.strictEqual(manifest.peerDependencies.effect, "catalog:")
    assert.isUndefined(manifest.dependencies?.effect)
  })
})

it("@stacksapi/core has no dependencies", () => {
  assert.isUndefined(manifestOf("core").dependencies)
})

describe("the barrels", () => {
  it("@stacksapi/core exports every module but those for tests", () => {
    const forTests = reexportsOf("core", "testing.ts")
    assert.include(forTests, "StacksEmulator")
    assert.deepStrictEqual(
      reexportsOf("core", "index.ts"),
      modulesOf("core").filter((module) => !forTests.includes(module))
    )
  })

  it("@stacksapi/node exports every module but those that need an optional peer, or are loaded only where they are imported", () => {
    const separate = ["DockerProvider", ...Object.keys(optionalPeers)]
    assert.deepStrictEqual(
      reexportsOf("node", "index.ts"),
      modulesOf("node").filter((module) => !separate.includes(module))
    )
  })
})
