/**
 * The parts of the smoke test that take long: the declarations of programs with older versions of TypeScript, and what editors show.
 * `--packed` uses existing tarballs.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { checkHovers } from "../../test/packaging/hovers.ts"
import { optionalPeers, pack, packages, root, run } from "../run.ts"
import { checkDeclarations, configuration, writeDeclarationPrograms } from "./declarations.ts"

const temporary = mkdtempSync(join(tmpdir(), "stacksapi-smoke-"))
process.on("exit", () => rmSync(temporary, { recursive: true, force: true }))

if (!process.argv.includes("--packed")) pack()

const versionIn = (folder: string): string => JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).version
const effect = versionIn(join(root, "node_modules/effect"))
const tarballs = Object.fromEntries(packages.map(({ name, tarball }) => [name, `file:${tarball}`]))

const pinned = join(root, "test/compat/runtimes")
run(
  "npx",
  ["-y", "pnpm@12", "install", "--ignore-workspace", "--frozen-lockfile", "--ignore-scripts", "--silent"],
  pinned
)

const peers = Object.values(optionalPeers).map((peer) => [
  peer,
  versionIn(join(root, "packages/node/node_modules", peer))
])
writeFileSync(
  join(temporary, "package.json"),
  JSON.stringify({
    private: true,
    type: "module",
    dependencies: { ...tarballs, effect, ...Object.fromEntries(peers) }
  })
)
run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], temporary)
await writeDeclarationPrograms(temporary)
for (const folder of [
  join(pinned, "node_modules/typescript-5.8"),
  join(pinned, "node_modules/typescript-5.9"),
  join(root, "test/node_modules/typescript")
]) {
  checkDeclarations(temporary, folder)
}
checkHovers(temporary, configuration)
