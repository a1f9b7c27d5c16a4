/**
 * Packs both packages, installs the tarballs with npm into an empty project next to Effect, and there checks the types
 * of a small program and runs it: what a user does first. The program is `test/packaging/consumer.ts`.
 */
import { copyFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { pack, packages, readJson, root, run } from "./run.ts"

/** Every public module, by the name users import it under. */
const modules = packages.flatMap(({ name, path }) => [
  name,
  ...readdirSync(join(path, "src"))
    .filter((file) => file.endsWith(".ts") && file !== "index.ts")
    .map((file) => `${name}/${basename(file, ".ts")}`)
])

const project = mkdtempSync(join(tmpdir(), "stacksapi-smoke-"))
process.on("exit", () => rmSync(project, { recursive: true, force: true }))

const write = (file: string, content: string) => writeFileSync(join(project, file), content)

const [core, node] = pack()
const effect = readJson(join(root, "node_modules/effect/package.json")).version
write(
  "package.json",
  JSON.stringify({
    private: true,
    type: "module",
    dependencies: { "@stacksapi/core": `file:${core}`, "@stacksapi/node": `file:${node}`, effect }
  })
)
write(
  "tsconfig.json",
  JSON.stringify({
    compilerOptions: {
      module: "nodenext",
      target: "es2023",
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      allowImportingTsExtensions: true,
      types: []
    }
  })
)
write("modules.ts", `${modules.map((name) => `await import("${name}")\n`).join("")}export {}\n`)
copyFileSync(join(root, "test/packaging/consumer.ts"), join(project, "consumer.ts"))

// npm must not take the settings that pnpm hands to its scripts for its own.
for (const key of Object.keys(process.env)) {
  if (/^(pnpm|npm_(package|lifecycle|command))/i.test(key)) delete process.env[key]
}
run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], project)
run("tsc", ["--project", project])
run("node", ["modules.ts"], project)
run("node", ["consumer.ts"], project)
console.log(`${modules.length} modules imported from the packed tarballs`)
