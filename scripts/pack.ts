/**
 * Packs both packages, and checks the tarballs: their files, their manifests with publint, and the types of each module with attw.
 */
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, posix } from "node:path"
import { capture, pack, packages, run } from "./run.ts"

type Package = (typeof packages)[number]

const page = "src/internal/page/static/"

/** What the build writes besides compiled modules. */
const generated = ["dist/internal/cli/helpTexts.json"]

/** The files that users need: each module as source and compiled, with source maps; the page; help texts; manifest, readme and license. */
const expectedFiles = ({ name, path }: Package): ReadonlyArray<string> => {
  const sources = readdirSync(join(path, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => posix.join(entry.parentPath.slice(path.length + 1), entry.name))
  // The name of a module has no dot, unlike that of a test.
  const modules = sources.filter((file) => /^src\/[\w/]+\.ts$/.test(file))
  const compiled = modules.flatMap((file) =>
    ["js", "js.map", "d.ts", "d.ts.map"].map((extension) => file.replace(/\.ts$/, `.${extension}`))
  )
  const served = sources.filter((file) => file.startsWith(page))
  const inDist = [...compiled, ...served].map((file) => file.replace(/^src/, "dist"))
  const written = name === "@stacksapi/node" ? generated : []
  return ["CHANGELOG.md", "LICENSE", "README.md", "package.json", ...modules, ...inDist, ...written]
}

/** Source maps that refer to files that are not published. */
const strayMaps = ({ path }: Package, files: ReadonlySet<string>): ReadonlyArray<string> =>
  [...files]
    .filter((file) => file.endsWith(".map"))
    .filter((file) => {
      const { sources }: { readonly sources: ReadonlyArray<string> } = JSON.parse(
        readFileSync(join(path, file), "utf8")
      )
      return !sources.every((source) => files.has(posix.join(dirname(file), source)))
    })

const checkFiles = (it: Package): void => {
  const { ok, output, stdout } = capture("npm", ["pack", it.tarball, "--dry-run", "--json"])
  if (!ok) throw new Error(output)
  const [{ files, size, unpackedSize }] = JSON.parse(stdout)
  const packed = new Set<string>(files.map(({ path }: { readonly path: string }) => path))
  const expected = new Set(expectedFiles(it))
  const problems = [
    ...[...expected].filter((file) => !packed.has(file)).map((file) => `is missing: ${file}`),
    ...[...packed].filter((file) => !expected.has(file)).map((file) => `has no business there: ${file}`),
    ...strayMaps(it, packed).map((file) => `points at what is not there: ${file}`)
  ]
  for (const problem of problems) console.error(`${it.name}: ${problem}`)
  if (problems.length > 0) process.exit(1)
  const kilobytes = (bytes: number) => `${Math.round(bytes / 1000)} kB`
  console.log(`${it.name}: ${packed.size} files, ${kilobytes(size)} packed, ${kilobytes(unpackedSize)} unpacked`)
}

pack()
for (const it of packages) {
  checkFiles(it)
  run("publint", ["run", it.tarball, "--strict"])
  // attw ignores exports by a pattern unless they are named.
  run("attw", [it.tarball, "--profile", "esm-only", "--format", "table-flipped", "--entrypoints", ".", ...it.modules])
}
