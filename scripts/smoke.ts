/**
 * What a user does first: packs both packages, installs the tarballs with npm into an empty project next to Effect, checks
 * the types of a small program there and runs it. The program is `test/packaging/consumer.ts`.
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pack, packages, root, run } from "./run.ts"

const project = mkdtempSync(join(tmpdir(), "stacksapi-smoke-"))
process.on("exit", () => rmSync(project, { recursive: true, force: true }))

const write = (file: string, content: string) => writeFileSync(join(project, file), content)

pack()

const effect = JSON.parse(readFileSync(join(root, "node_modules/effect/package.json"), "utf8")).version
const tarballs = Object.fromEntries(packages.map(({ name, tarball }) => [name, `file:${tarball}`]))
write("package.json", JSON.stringify({ private: true, type: "module", dependencies: { ...tarballs, effect } }))

// The types have to hold without `skipLibCheck` too: some users never set it.
const compilerOptions = {
  ...{ module: "nodenext", target: "es2023", lib: ["es2023", "dom", "dom.iterable"], strict: true },
  ...{ exactOptionalPropertyTypes: true, allowImportingTsExtensions: true, noEmit: true, types: [] }
}
write("tsconfig.json", JSON.stringify({ compilerOptions, files: ["modules.ts", "consumer.ts"] }))

// Every public module can be imported, and nothing internal.
const names = packages.flatMap(({ name, modules }) => [name, ...modules.map((module) => `${name}/${module}`)])
write("modules.ts", `${names.map((name) => `import "${name}"`).join("\n")}\n`)
write(
  "internal.mjs",
  `const open = await import("@stacksapi/core/internal/any").then(() => true, (e) => e.code !== "ERR_PACKAGE_PATH_NOT_EXPORTED")
   if (open) throw new Error("internal modules can be imported")`
)
copyFileSync(join(root, "test/packaging/consumer.ts"), join(project, "consumer.ts"))

run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], project)
run("tsc", ["--project", project])
for (const program of ["modules.ts", "internal.mjs", "consumer.ts"]) run("node", [program], project)
console.log(`${names.length} modules imported from the packed tarballs`)
