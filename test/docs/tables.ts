/**
 * Writes the reference tables of the documentation, and the JSON Schema of the configuration file, from the code that they describe. A
 * table stands between `<!-- generated: NAME -->` and `<!-- end -->`. Between `<!-- file: PATH -->` and `<!-- end -->` it writes a file of
 * the repository.
 *
 *     node test/docs/tables.ts
 */
import { readFileSync, writeFileSync } from "node:fs"
import { extname, join } from "node:path"
import { Effect } from "effect"
import * as Api from "./apiTables.ts"
import * as CliSchema from "./cliSchema.ts"
import * as Cli from "./cliTables.ts"
import { pages, root } from "./snippets.ts"

/** Every table by its name. */
export const tables: Effect.Effect<Readonly<Record<string, string>>> = Effect.map(Cli.tables, (cli) => ({
  ...cli,
  ...Api.tables()
}))

const region = /(<!-- (generated|file): ([^>]+?) -->\n).*?(<!-- end -->)/gs

/** The languages of files that pages show, by the ends of their names. */
const languages: Readonly<Record<string, string>> = {
  ".service": "ini",
  ".timer": "ini",
  ".yaml": "yaml",
  ".yml": "yaml",
  "": "dockerfile"
}

const showFile = (path: string): string =>
  `\`\`\`${languages[extname(path)] ?? "text"}\n${readFileSync(join(root, path), "utf8").trimEnd()}\n\`\`\``

/** The names of the tables that a page contains. */
export const namesIn = (page: string): ReadonlyArray<string> =>
  Array.from(page.matchAll(region)).flatMap(([, , kind, name = ""]) => (kind === "generated" ? [name] : []))

/** The page with current tables and files. */
export const update = (page: string, tables: Readonly<Record<string, string>>): string =>
  page.replace(region, (_, start: string, kind: string, name: string, end: string) => {
    const text = kind === "file" ? showFile(name) : tables[name]
    if (text === undefined) throw new Error(`There is no table "${name}"`)
    return `${start}\n${text}\n\n${end}`
  })

if (import.meta.main) {
  const current = await Effect.runPromise(tables)
  for (const page of pages) {
    const path = join(root, page)
    const before = readFileSync(path, "utf8")
    const after = update(before, current)
    if (after === before) continue
    writeFileSync(path, after)
    console.log(`${page}: updated`)
  }
  console.log("The tables of the documentation are current")
  CliSchema.write()
  console.log("The JSON Schema of the configuration file is current")
}
