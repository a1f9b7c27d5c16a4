/** The TypeScript in the documentation, to check its types and to run it. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"

export const root = join(import.meta.dirname, "../..")

export const pages: ReadonlyArray<string> = [
  "README.md",
  "packages/core/README.md",
  "packages/node/README.md",
  ...["docs", "docs/cookbook"].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((file) => file.endsWith(".md"))
      .map((file) => `${folder}/${file}`)
  )
]

export interface Snippet {
  /** Where it stands, for example `README.md:40`. */
  readonly name: string
  /** The file that it was written to. */
  readonly path: string
  readonly code: string
}

/** The code blocks of a page that are marked as TypeScript. */
const blocksOf = (page: string): ReadonlyArray<Omit<Snippet, "path">> => {
  const text = readFileSync(join(root, page), "utf8")
  return Array.from(text.matchAll(/^```ts\n([\s\S]*?)^```$/gm), ({ 1: code = "", index }) => ({
    name: `${page}:${text.slice(0, index).split("\n").length + 1}`,
    code
  }))
}

/**
 * Writes every snippet to a file of its own: where imports resolve as in the workspace, and where neither git nor any other
 * check looks.
 */
export const writeSnippets = (folder: string): ReadonlyArray<Snippet> => {
  const directory = join(root, "test/.snippets", folder)
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory, { recursive: true })
  return pages.flatMap(blocksOf).map(({ code, name }) => {
    const path = join(directory, `${name.replaceAll(/[^\w]+/g, "-")}.ts`)
    writeFileSync(path, code)
    return { code, name, path }
  })
}
