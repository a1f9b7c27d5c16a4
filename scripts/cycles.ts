/**
 * Fails when modules or folders import each other in a cycle.
 *
 * Only imports of values count, dynamic ones included. `import type` and `export type` do not count.
 *
 * - Modules: no module imports itself through others.
 * - Folders: no folder imports from another folder that imports from it, directly or through others. A folder inside another
 *   one is a folder of its own.
 *
 * The modules in the root of a package and in `internal` itself each count as a folder of their own, because they belong to
 * different layers. So `RateLimit.ts` may import from `internal/rateLimit`, or `internal/rateLimit` from `RateLimit.ts`, but not
 * both.
 *
 * esbuild reads the imports, so nothing has to be built before.
 */
import { globSync } from "node:fs"
import { dirname } from "node:path"
import { build, type Metafile } from "esbuild"
import { root } from "./run.ts"

const sources = ["packages/*/src", "scripts", "test", "examples", "bench"].map((folder) => `${folder}/**/*.{ts,mts,js}`)

/** Whether each module of a folder counts as a folder. */
const isFlat = (folder: string): boolean => /^packages\/\w+\/src(\/internal)?$/.test(folder)

type Graph = ReadonlyMap<string, ReadonlySet<string>>

/** The imports of each module, as paths in the repository. */
const readModules = async (directory: string): Promise<Graph> => {
  const { metafile } = await build({
    absWorkingDir: directory,
    entryPoints: globSync(sources, { cwd: directory, exclude: (path) => /(^|\/)(node_modules|dist)(\/|$)/.test(path) }),
    bundle: true,
    metafile: true,
    write: false,
    outdir: "cycles",
    format: "esm",
    platform: "node",
    logLevel: "error",
    plugins: [
      {
        name: "only this repository",
        setup: ({ onResolve }) =>
          onResolve({ filter: /^[^./]/ }, ({ kind, path }) =>
            kind === "entry-point" || path.startsWith("@stacksapi/") ? undefined : { path, external: true }
          )
      }
    ]
  })
  return new Map(Object.entries(metafile.inputs).map(([path, input]) => [path, importsOf(input)]))
}

const importsOf = ({ imports }: Metafile["inputs"][string]): ReadonlySet<string> =>
  new Set(imports.filter(({ external }) => external !== true).map(({ path }) => path))

const folderOf = (path: string): string => (isFlat(dirname(path)) ? path : dirname(path))

const foldersOf = (modules: Graph): Graph => {
  const folders = new Map<string, Set<string>>()
  for (const [path, imports] of modules) {
    const from = folderOf(path)
    const targets = folders.get(from) ?? new Set()
    for (const imported of imports) {
      const to = folderOf(imported)
      if (to !== from) targets.add(to)
    }
    folders.set(from, targets)
  }
  return folders
}

/** The shortest cycle through each node, each cycle once: `["a", "b"]` where a imports b and b imports a. */
const cyclesOf = (graph: Graph): ReadonlyArray<ReadonlyArray<string>> => {
  const cycles = new Map<string, ReadonlyArray<string>>()
  for (const start of graph.keys()) {
    const cycle = shortestCycle(graph, start)
    if (cycle !== undefined) cycles.set(nameOf(cycle), cycle)
  }
  return Array.from(cycles.values())
}

const shortestCycle = (graph: Graph, start: string): ReadonlyArray<string> | undefined => {
  const reached = new Set<string>()
  let paths: ReadonlyArray<ReadonlyArray<string>> = [[start]]
  while (paths.length > 0) {
    const longer: Array<ReadonlyArray<string>> = []
    for (const path of paths) {
      for (const next of graph.get(path.at(-1) ?? start) ?? []) {
        if (next === start) return path
        if (reached.has(next)) continue
        reached.add(next)
        longer.push([...path, next])
      }
    }
    paths = longer
  }
  return undefined
}

/** The imports from one folder to another. */
const causes = (modules: Graph, from: string, to: string): ReadonlyArray<string> =>
  Array.from(modules).flatMap(([path, imports]) =>
    folderOf(path) === from
      ? Array.from(imports)
          .filter((imported) => folderOf(imported) === to)
          .map((imported) => `    ${path} imports ${imported}`)
      : []
  )

/** The name of a cycle: its modules or folders in alphabetical order. */
const nameOf = (cycle: ReadonlyArray<string>): string => cycle.toSorted().join(", ")

/** Finds the cycles of a repository. Each is a list of lines to print. */
export const findCycles = async (directory: string): Promise<ReadonlyArray<ReadonlyArray<string>>> => {
  const modules = await readModules(directory)
  return [
    ...cyclesOf(modules).map((cycle) => [titleOf("Modules", cycle)]),
    ...cyclesOf(foldersOf(modules)).map((cycle) => [
      titleOf("Folders", cycle),
      ...cycle.flatMap((from, index) => causes(modules, from, cycle[(index + 1) % cycle.length] ?? from))
    ])
  ]
}

const titleOf = (kind: string, cycle: ReadonlyArray<string>): string =>
  `${kind}: ${[...cycle, ...cycle.slice(0, 1)].join(" -> ")}`

if (import.meta.main) {
  const cycles = await findCycles(root)
  for (const lines of cycles) console.log(lines.join("\n"))
  console.log(`${cycles.length} cycles`)
  if (cycles.length > 0) process.exitCode = 1
}
