/** The pages of the site, in reading order. The sidebar and `llms.txt` come from this list. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

const docs = join(import.meta.dirname, "../../docs")

export interface Section {
  readonly title: string
  /** Paths in `docs`, without `.md`. */
  readonly pages: ReadonlyArray<string>
  readonly collapsed?: boolean
}

const written: ReadonlyArray<Section> = [
  { title: "Start", pages: ["guide", "where-agents-run", "testing", "stacks-in-the-wild"] },
  {
    title: "Cookbook",
    pages: [
      "vm-per-job",
      "sizes-by-tag",
      "many-queues",
      "quotas",
      "only-some-pipelines",
      "dry-run",
      "custom-backoff",
      "testing-a-runner",
      "alerts",
      "upgrades",
      "from-go",
      "without-effect",
      "control-server"
    ].map((page) => `cookbook/${page}`)
  },
  { title: "The library", pages: ["endpoints", "errors", "policies", "runtime", "job-store"] },
  {
    title: "Operations",
    pages: ["cli", "deploy", "doctor", "threat-model", "observability", "networks", "cluster", "scale", "emulator-page"]
  },
  { title: "Evidence", pages: ["reliability", "performance"] },
  { title: "Development", pages: ["architecture", "decisions"] }
]

/** The pages of the reference, which `scripts/site.ts` writes. */
const reference = (name: string): Section => ({
  title: `@stacksapi/${name}`,
  collapsed: true,
  pages: readdirSync(join(docs, "reference", name))
    .filter((file) => file.endsWith(".md"))
    .sort()
    .map((file) => `reference/${name}/${file.slice(0, -3)}`)
})

export const sections: ReadonlyArray<Section> = [...written, reference("core"), reference("node")]

/** The first heading of a page. */
export const titleOf = (page: string): string =>
  /^# (.+)$/m.exec(readFileSync(join(docs, `${page}.md`), "utf8"))?.[1]?.replaceAll("`", "") ?? page
