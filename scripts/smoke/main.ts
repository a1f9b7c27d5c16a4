/**
 * A smoke test: packs both packages, and installs the tarballs and Effect with npm into an empty project. There it checks the types of the
 * program `test/packaging/consumer.ts`, and runs it. Then it installs the optional peers, and imports the modules that need them. Then it
 * compiles programs that export one of everything to declarations. `--packed` uses existing tarballs.
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { optionalPeers, pack, packages, root, run } from "../run.ts"
import { checkDeclarations, writeDeclarationPrograms } from "./declarations.ts"

const project = mkdtempSync(join(tmpdir(), "stacksapi-smoke-"))
process.on("exit", () => rmSync(project, { recursive: true, force: true }))

const write = (file: string, content: string) => writeFileSync(join(project, file), content)

if (!process.argv.includes("--packed")) pack()

const effect = JSON.parse(readFileSync(join(root, "node_modules/effect/package.json"), "utf8")).version
const tarballs = Object.fromEntries(packages.map(({ name, tarball }) => [name, `file:${tarball}`]))
write("package.json", JSON.stringify({ private: true, type: "module", dependencies: { ...tarballs, effect } }))

// Check the types without `skipLibCheck`, which some users do not set.
const compilerOptions = {
  ...{ module: "nodenext", target: "es2023", lib: ["es2023", "dom", "dom.iterable"], strict: true },
  ...{ exactOptionalPropertyTypes: true, allowImportingTsExtensions: true, noEmit: true, types: [] }
}
write("tsconfig.json", JSON.stringify({ compilerOptions, include: ["*.ts"] }))

// Import each public module, and check that internal ones can't be imported.
const namesOf = (isWanted: (module: string) => boolean) =>
  packages.flatMap(({ name, modules }) => modules.filter(isWanted).map((module) => `${name}/${module}`))
const writeImports = (file: string, names: ReadonlyArray<string>) =>
  write(file, `${names.map((name) => `import "${name}"`).join("\n")}\n`)
const names = [...packages.map(({ name }) => name), ...namesOf((module) => !(module in optionalPeers))]
const optional = namesOf((module) => module in optionalPeers)
writeImports("modules.ts", names)
write(
  "internal.mjs",
  `const open = await import("@stacksapi/core/internal/any").then(() => true, (e) => e.code !== "ERR_PACKAGE_PATH_NOT_EXPORTED")
   if (open) throw new Error("internal modules can be imported")`
)
// The command names the missing package.
write(
  "cluster.mjs",
  `import { spawnSync } from "node:child_process"
   const env = { PATH: process.env.PATH, BUILDKITE_CLUSTER_TOKEN: "bkct_none" }
   const args = ["node_modules/.bin/stacksapi", "run", "--cluster", "--key", "smoke"]
   const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", env })
   if (status !== 1 || !stderr.startsWith("stacksapi: " + process.argv[2])) throw new Error(status + " " + stderr)`
)
copyFileSync(join(root, "test/packaging/consumer.ts"), join(project, "consumer.ts"))

const install = (...more: ReadonlyArray<string>) =>
  run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error", ...more], project)

/** The installed packages, by path. */
const installed = (): Readonly<Record<string, { readonly hasInstallScript?: boolean }>> =>
  JSON.parse(readFileSync(join(project, "node_modules/.package-lock.json"), "utf8")).packages

install()
const withScript = Object.entries(installed()).flatMap(([path, { hasInstallScript }]) =>
  hasInstallScript ? [path] : []
)
if (withScript.length > 0)
  throw new Error(`These packages run scripts when they are installed: ${withScript.join(", ")}`)
console.log(`${Object.keys(installed()).length} packages installed, none of which runs scripts`)
run("tsc", ["--project", project])
for (const program of ["modules.ts", "internal.mjs", "consumer.ts"]) run("node", [program], project)
run("node", ["cluster.mjs", "--cluster needs the package @effect/sql-pg. Install it"], project)
run(join(project, "node_modules/.bin/stacksapi"), ["--version"], project)
// The help that the build has written is the help of the command.
write(
  "help.mjs",
  `import { spawnSync } from "node:child_process"
   const outputOf = (program, args) => spawnSync(process.execPath, [program, ...args], { encoding: "utf8" }).stdout
   for (const args of [["--version"], ["--help"], ["jobs", "list", "--help"]]) {
     const [written, command] = ["stacksapi", "bin"].map((name) => outputOf("node_modules/@stacksapi/node/dist/" + name + ".js", args))
     if (written !== command || written.length < 10) throw new Error(args + ": " + written + command)
   }`
)
run("node", ["help.mjs"], project)

const versionOf = (peer: string) =>
  JSON.parse(readFileSync(join(root, "packages/node/node_modules", peer, "package.json"), "utf8")).version
writeImports("optional.ts", optional)
install(...new Set(Object.values(optionalPeers).map((peer) => `${peer}@${versionOf(peer)}`)))
run("tsc", ["--project", project])
run("node", ["optional.ts"], project)
run("node", ["cluster.mjs", "No database is set. Set DATABASE_URL"], project)
const exported = await writeDeclarationPrograms(project)
checkDeclarations(project, join(root, "node_modules/typescript"))
console.log(`${exported} exported names in a program that writes declarations`)
console.log(`${names.length + optional.length} modules imported from the packed tarballs`)
