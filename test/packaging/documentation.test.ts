import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"

const packages = join(import.meta.dirname, "../../packages")

const modules = ["core", "node"].flatMap((name) =>
  readdirSync(join(packages, name, "src"))
    .filter((file) => /^[A-Z].*\.ts$/.test(file))
    .map((file) => ({
      module: `@stacksapi/${name}/${file.replace(".ts", "")}`,
      path: join(packages, name, "src", file)
    }))
)

const declaration = /^export (?:declare )?(?:abstract )?(?:const|class|interface|type|function|namespace) (\w+)/gm

/** The doc comment that ends right before `offset`. */
const commentBefore = (source: string, offset: number) => {
  const before = source.slice(0, offset).trimEnd()
  return before.endsWith("*/") ? before.slice(before.lastIndexOf("/**")) : ""
}

describe.each(modules)("the documentation of $module", ({ path }) => {
  it("says of every public name what it is, since when, and what it belongs to", () => {
    const source = readFileSync(path, "utf8")
    // One comment is enough for a type and a value that share a name, and for the overloads of a function.
    const isDocumented = new Map<string, boolean>()
    for (const { 1: name = "", index } of source.matchAll(declaration)) {
      const comment = commentBefore(source, index)
      const complete = [/\/\*\*\s+(\* )?\w/, /@since \d/, /@category \w/].every((part) => part.test(comment))
      isDocumented.set(name, complete || isDocumented.get(name) === true)
    }
    const missing = Array.from(isDocumented).flatMap(([name, complete]) => (complete ? [] : [name]))
    assert.deepStrictEqual(missing, [])
  })
})
