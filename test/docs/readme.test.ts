import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { pages, root } from "./snippets.ts"

const fromGo = readFileSync(join(root, "docs/cookbook/from-go.md"), "utf8")

/** The rows of the page's table that starts with these headings. */
const table = (...headings: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> => {
  const [, rows = ""] = fromGo.split(`| ${headings.join(" | ")} |\n|${"---|".repeat(headings.length)}\n`)
  return rows
    .slice(0, rows.indexOf("\n\n"))
    .split("\n")
    .map((row) => row.slice(2, -2).split(" | "))
}

/** What the Go client's documentation lists: constants, variables, types, their constants, functions, options, methods. */
const goNames = `
  DefaultBaseURL DefaultQueue DefaultRetrierOptions
  BatchReserveJobsRequest BatchReserveJobsResponse Build Client ClientOpt ClusterQueue CreateStackNotificationRequest
  ErrorResponse FailJobRequest GetJobRequest GetJobResponse GetJobStatesRequest GetJobStatesResponse
  ListScheduledJobsRequest ListScheduledJobsResponse PageInfo Pipeline RegisterStackRequest RegisterStackResponse
  RequestOption ScheduledJob StackAPIRequest StackState StackType Step
  StackStateConnected StackStateDisconnected StackStateLost StackTypeKubernetes StackTypeElastic StackTypeCustom
  NewClient LogHTTPPayloads PrependToUserAgent WithBaseURL WithHTTPClient WithLogger WithRetrierOptions
  WithNoRetry WithRetrier
  BatchReserveJobs CreateStackNotification DeregisterStack FailJob GetJob GetJobStates ListScheduledJobs RegisterStack
  Error IsRetryableStatus
`
  .trim()
  .split(/\s+/)

describe("the page for users of the Go client", () => {
  it("has a row for every name of the Go client", () => {
    const named = new Set(table("Go", "here").flatMap(([go = ""]) => go.match(/\w+/g) ?? []))
    assert.deepStrictEqual(
      goNames.filter((name) => !named.has(name)),
      []
    )
  })
})

/** The public modules, by name. */
const modules = new Map(
  ["core", "node"]
    .map((name) => join(root, "packages", name, "src"))
    .flatMap((folder) => readdirSync(folder).map((file) => [file.replace(".ts", ""), join(folder, file)] as const))
)

/** What is named like a member of a module, and is not: the spans of a stack. */
const spans = Array.from(
  readFileSync(join(root, "packages/core/src/internal/stack/spans.ts"), "utf8").matchAll(/"(\w+\.\w+)"/g),
  ([, name = ""]) => name
)

/** The anchors that forges give to headings. */
const anchorsOf = (markdown: string): ReadonlyArray<string> =>
  Array.from(markdown.replaceAll(/^```[\s\S]*?^```$/gm, "").matchAll(/^#+ (.*)$/gm), ([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-")
  )

describe.each(pages)("%s", (page) => {
  const text = readFileSync(join(root, page), "utf8")

  it("names only what the modules export", () => {
    const withoutFiles = text.replaceAll(/[\w./*-]+\.ts\b/g, "")
    for (const [, module = "", name = ""] of withoutFiles.matchAll(/\b([A-Z]\w+)\.(\w+)/g)) {
      const path = modules.get(module)
      if (path === undefined || spans.includes(`${module}.${name}`)) continue
      const declaration = new RegExp(`^export (const|class|type|interface|function) ${name}\\b|^  ${name}$`, "m")
      assert.match(readFileSync(path, "utf8"), declaration, `${module}.${name}`)
    }
  })

  it("links to files and headings that exist", () => {
    for (const [, link = ""] of text.matchAll(/\]\(([^)]+)\)/g)) {
      if (/^https?:/.test(link)) continue
      const [file = "", heading] = link.split("#")
      const path = file === "" ? join(root, page) : join(root, dirname(page), file)
      assert.isTrue(existsSync(path), link)
      if (heading !== undefined) assert.include(anchorsOf(readFileSync(path, "utf8")), heading, link)
    }
  })
})
