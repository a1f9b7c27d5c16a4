/** The site, built as the release builds it, and read in a browser. */
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import * as Http from "node:http"
import type { Socket } from "node:net"
import { extname, join } from "node:path"
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { Page } from "playwright-core"
import { base } from "../../site/.vitepress/repository.ts"
import { Browser, type View } from "../support/browser.ts"
import { listen } from "../support/listen.ts"

const root = join(import.meta.dirname, "../..")
const dist = join(root, "site/dist")

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".woff2": "font/woff2"
}

/** The file of an address, as a host of static pages with clean addresses finds it. */
const fileOf = (path: string): string | undefined =>
  [path, `${path}.html`, join(path, "index.html")]
    .map((file) => join(dist, file))
    .find((file) => extname(file) !== "" && existsSync(file))

/** Serves the built site, and gives its address. */
const serve = Effect.gen(function* () {
  const sockets = new Set<Socket>()
  const server = Http.createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://127.0.0.1")
    const file = pathname.startsWith(base) ? fileOf(decodeURIComponent(pathname.slice(base.length))) : undefined
    if (file === undefined) return void response.writeHead(404).end()
    response.writeHead(200, { "content-type": types[extname(file)] ?? "text/plain" }).end(readFileSync(file))
  }).on("connection", (socket) => sockets.add(socket))
  return `http://127.0.0.1:${yield* listen(server, sockets)}${base}`
})

/** Opens a page of the site. Fails at the end if the browser complained. */
const open = Effect.fnUntraced(function* (
  path: string,
  { colorScheme = "light", height = 900, width = 1400 }: View = {}
) {
  const address = yield* serve
  const browser = yield* Browser
  const context = yield* Effect.acquireRelease(
    Effect.promise(() => browser.newContext({ viewport: { width, height }, colorScheme, locale: "en-GB" })),
    (context) => Effect.promise(() => context.close())
  )
  const page = yield* Effect.promise(() => context.newPage())
  const complaints: Array<string> = []
  page.on("pageerror", (error) => complaints.push(String(error)))
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`)
  })
  yield* Effect.promise(() => page.goto(`${address}${path}`, { waitUntil: "networkidle" }))
  return { page, complaints }
})

const widthOf = (page: Page) => Effect.promise(() => page.evaluate("document.documentElement.scrollWidth"))

describe("The site", () => {
  const built = spawnSync(process.execPath, [join(root, "scripts/site.ts")], { cwd: root, encoding: "utf8" })

  layer(Browser.layer)((it) => {
    it.effect("builds without a dead link or an orphan page", () =>
      Effect.sync(() => {
        assert.strictEqual(built.status, 0, built.stdout + built.stderr)
        assert.match(built.stdout, /\d+ pages in site\/dist: no dead link, no orphan/)
      })
    )

    it.effect("finds a page by a word in it", () =>
      Effect.gen(function* () {
        const { complaints, page } = yield* open("guide")
        yield* Effect.promise(async () => {
          await page.getByRole("button", { name: "Search" }).first().click()
          await page.getByRole("searchbox").fill("honorRetryAfter")
          await page.getByRole("option").first().waitFor()
          await page.keyboard.press("Enter")
          await page.getByText("honorRetryAfter").first().waitFor()
        })
        assert.notMatch(page.url(), /guide/)
        assert.deepStrictEqual(complaints, [])
      }).pipe(Effect.scoped)
    )

    it.effect("leads from a module's page to what it names, with signatures, categories and examples", () =>
      Effect.gen(function* () {
        const { complaints, page } = yield* open("reference/core/StacksClient")
        const main = page.locator("main")
        for (const part of ["listScheduledJobs", "layerConfig", "constructors", "Example"])
          yield* Effect.promise(() => main.getByText(part).first().waitFor({ state: "attached" }))
        yield* Effect.promise(async () => {
          await page.locator("main").getByRole("link", { name: "StacksError" }).first().click()
          await page.waitForURL(/StacksError/)
        })
        assert.deepStrictEqual(complaints, [])
      }).pipe(Effect.scoped)
    )

    it.effect("draws the pictures of the architecture, in light and in dark", () =>
      Effect.gen(function* () {
        for (const colorScheme of ["light", "dark"] as const) {
          const { complaints, page } = yield* open("architecture", { colorScheme })
          yield* Effect.promise(() => page.locator(".diagram svg").nth(2).waitFor())
          assert.deepStrictEqual(complaints, [])
        }
      }).pipe(Effect.scoped)
    )

    for (const path of ["", "guide", "cli", "cookbook/quotas", "reference/core/Stack"]) {
      it.effect(`fits a phone: /${path}`, () =>
        Effect.gen(function* () {
          const { complaints, page } = yield* open(path, { width: 375, height: 800 })
          assert.strictEqual(yield* widthOf(page), 375)
          assert.deepStrictEqual(complaints, [])
        }).pipe(Effect.scoped)
      )
    }

    it.effect("lists every page for programs that read, and has each as Markdown", () =>
      Effect.sync(() => {
        const list = readFileSync(join(dist, "llms.txt"), "utf8")
        const links = Array.from(list.matchAll(/^- \[.+\]\(\S+?\/stacksapi\/(\S+)\): \S/gm), ([, link = ""]) => link)
        assert.isAbove(links.length, 50)
        assert.lengthOf(
          links,
          list.split("\n").filter((line) => line.startsWith("- ")).length,
          "a page has no sentence of what it is"
        )
        for (const link of links) assert.isTrue(existsSync(join(dist, link)), link)
      })
    )
  })
})
