/**
 * Builds the site to `site/dist`: the pages in `docs`, the reference that TypeDoc makes from the doc comments, and `llms.txt`. Then
 * checks every link and anchor, and that a reader can reach every page from the sidebar.
 *
 *     node scripts/site.ts [--reference | --dev]
 *
 * `--reference` writes only the reference, to `docs/reference`. `--dev` writes it, and serves the pages while you edit them.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, posix, relative } from "node:path"
import { pathToFileURL } from "node:url"
import { packages, root, run } from "./run.ts"

const site = join(root, "site")
const docs = join(root, "docs")
const dist = join(site, "dist")
const bin = (name: string) => join(site, "node_modules/.bin", name)

const filesIn = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))

// -----------------------------------------------------------------------------
// The reference
// -----------------------------------------------------------------------------

/** A module of the same package has a page; any other name is a heading. */
const linkTo = (name: string, modules: ReadonlyArray<string>): string =>
  modules.includes(name) ? `./${name}.md` : `#${name.toLowerCase()}`

/** The doc comment at the top of a module, as Markdown. TypeDoc takes only comments with a tag of its own for it. */
const introductionOf = (source: string, modules: ReadonlyArray<string>): string => {
  const [, comment = ""] = /^\/\*\*\n([\s\S]*?)\n \*\//.exec(source) ?? []
  return comment
    .replaceAll(/^ \* ?/gm, "")
    .replaceAll(/^@\w+.*$/gm, "")
    .replaceAll(/\{@link (\w+)\}/g, (_, name: string) => `[\`${name}\`](${linkTo(name, modules)})`)
    .replaceAll(
      /\{@link ([\w.]+)(?: (\w+))?\}/g,
      (_, name: string, label: string | undefined) => `\`${label ?? name}\``
    )
    .trim()
}

/** Leaves out the constructors of services, which nobody calls. */
const withoutServiceConstructors = (page: string): string =>
  page.replaceAll(/^#### Constructors\n[\s\S]*?(?=^(?:#{2,4} |\*\*\*$))/gm, (section) =>
    section.includes("| `_` | `never` |") ? "" : section
  )

/** The line that imports a module: from the package's root, from its `testing`, or by its own path. */
const importOf = (module: string, { name, path }: (typeof packages)[number]): string => {
  const exportsIn = (file: string): boolean =>
    existsSync(join(path, "src", file)) && readFileSync(join(path, "src", file), "utf8").includes(`"./${module}.ts"`)
  if (exportsIn("index.ts")) return `import { ${module} } from "${name}"`
  if (exportsIn("testing.ts")) return `import { ${module} } from "${name}/testing"`
  return `import * as ${module} from "${name}/${module}"`
}

/** The first sentence of a text, on one line. */
const firstSentence = (text: string): string => {
  const [paragraph = ""] = text.split("\n\n")
  return /^.*?[.:](?=\s|$)/.exec(paragraph.replaceAll("\n", " "))?.[0].replace(/:$/, ".") ?? ""
}

const writeReference = (): void => {
  const out = join(docs, "reference")
  rmSync(out, { recursive: true, force: true })
  run(bin("typedoc"), [], site)
  const index = packages.map((owner) => {
    const { directory, modules, name, path } = owner
    const rows = [...modules].sort().map((module) => {
      const introduction = introductionOf(readFileSync(join(path, "src", `${module}.ts`), "utf8"), modules)
      const written = join(out, directory, "src", `${module}.md`)
      const page = withoutServiceConstructors(readFileSync(written, "utf8")).replaceAll(
        /\]\((?:\.\.\/)*([^)#]*\/src\/[^)]*)\)/g,
        (_, link: string) => `](../${link.replace("/src/", "/")})`
      )
      writeFileSync(
        written,
        page.replace(/^# .*$/m, `# ${module}\n\n\`${importOf(module, owner)}\`\n\n${introduction}`)
      )
      renameSync(written, join(out, directory, `${module}.md`))
      return `| [${module}](./${directory}/${module}.md) | ${firstSentence(introduction)} |`
    })
    rmSync(join(out, directory, "src"), { recursive: true })
    return [`## ${name}`, "", "| module | what it is |", "|---|---|", ...rows, ""].join("\n")
  })
  rmSync(join(out, "README.md"))
  mkdirSync(out, { recursive: true })
  writeFileSync(join(out, "index.md"), `# Reference\n\n${index.join("\n")}`)
}

// -----------------------------------------------------------------------------
// For programs that read
// -----------------------------------------------------------------------------

interface Pages {
  readonly sections: ReadonlyArray<{ readonly title: string; readonly pages: ReadonlyArray<string> }>
  readonly titleOf: (page: string) => string
}

const load = async <A>(file: string): Promise<A> => import(pathToFileURL(join(site, ".vitepress", file)).href)

/** Writes `llms.txt`, a list of the pages with a sentence for each, and every page as Markdown beside its HTML. */
const writeForPrograms = async ({ sections, titleOf }: Pages): Promise<void> => {
  const { homepage, repository } = await load<{ readonly homepage: string; readonly repository: string }>(
    "repository.ts"
  )
  /** Links out of `docs` lead to the repository, as in HTML. */
  const withLinksToRepository = (page: string, text: string): string =>
    text.replaceAll(/\]\((\.[^)\s]*)\)/g, (link, href: string) => {
      const path = posix.join(posix.dirname(page), href)
      return path.startsWith("../") ? `](${repository}/blob/main/${path.slice(3)})` : link
    })
  const sentenceOf = (page: string): string =>
    firstSentence(
      readFileSync(join(docs, `${page}.md`), "utf8")
        .replace(/^---\n[\s\S]*?\n---\n/, "")
        .replace(/^# .*\n+/, "")
        .replace(/^`import .*`\n+/, "")
        .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    )
  const lists = sections.map(({ pages, title }) =>
    [
      `## ${title}`,
      "",
      ...pages.map((page) => `- [${titleOf(page)}](${homepage}${page}.md): ${sentenceOf(page)}`),
      ""
    ].join("\n")
  )
  const head =
    "# stacksapi for Effect\n\n> Write a custom Buildkite stack in TypeScript: the Stacks API as Effects, the runtime, and an emulator.\n"
  writeFileSync(join(dist, "llms.txt"), [head, ...lists].join("\n"))
  for (const page of [...sections.flatMap(({ pages }) => pages), "index", "reference/index"]) {
    const file = join(dist, `${page}.md`)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, withLinksToRepository(page, readFileSync(join(docs, `${page}.md`), "utf8")))
  }
}

// -----------------------------------------------------------------------------
// Checks
// -----------------------------------------------------------------------------

/** Links within the site that lead nowhere, pages that are not in the sidebar, and tags of doc comments that are not rendered. */
const problemsOf = ({ sections }: Pages, base: string): ReadonlyArray<string> => {
  const files = new Set(filesIn(dist))
  const pages = new Map(
    [...files].filter((file) => file.endsWith(".html")).map((file) => [file, readFileSync(join(dist, file), "utf8")])
  )
  const anchors = new Map(
    [...pages].map(([file, html]) => [file, new Set(Array.from(html.matchAll(/\sid="([^"]+)"/g), ([, id = ""]) => id))])
  )
  const fileOf = (path: string): string | undefined =>
    [path, `${path}.html`, posix.join(path, "index.html")].find((file) => files.has(file))
  const deadLinks = [...pages].flatMap(([file, html]) =>
    Array.from(html.matchAll(/\shref="([^"]+)"/g), ([, href = ""]) => href)
      .filter((href) => !/^[a-z]+:/.test(href))
      .flatMap((href) => {
        const url = new URL(href.replaceAll("&amp;", "&"), `http://site${base}${file}`)
        if (!url.pathname.startsWith(base)) return [`${file}: ${href} leads out of the site`]
        const target = fileOf(decodeURIComponent(url.pathname.slice(base.length)) || "index.html")
        if (target === undefined) return [`${file}: ${href} leads to no page`]
        const anchor = decodeURIComponent(url.hash.slice(1))
        return anchor === "" || anchors.get(target)?.has(anchor) ? [] : [`${file}: ${href} leads to no heading`]
      })
  )
  const listed = new Set(sections.flatMap((section) => section.pages))
  const orphans = [...pages.keys()]
    .map((file) => file.replace(/\.html$/, ""))
    .filter((page) => !listed.has(page) && !["404", "index", "reference/index"].includes(page))
    .map((page) => `${page}: is not in the sidebar; add it to site/.vitepress/pages.ts`)
  const rawTags = [...pages]
    .filter(([, html]) => html.includes("{@"))
    .map(([file]) => `${file}: shows a tag of a doc comment`)
  return [...new Set([...deadLinks, ...orphans, ...rawTags])]
}

writeReference()
if (process.argv.includes("--dev")) run(bin("vitepress"), ["dev", site])
else if (!process.argv.includes("--reference")) {
  rmSync(dist, { recursive: true, force: true })
  run(bin("vitepress"), ["build", site])
  const pages = await load<Pages>("pages.ts")
  const { base } = await load<{ readonly base: string }>("repository.ts")
  await writeForPrograms(pages)
  const problems = problemsOf(pages, base)
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exit(1)
  console.log(
    `${filesIn(dist).filter((file) => file.endsWith(".html")).length} pages in site/dist: no dead link, no orphan`
  )
}
