/** The emulator's web page in a real browser. */
import { StacksEmulator } from "@stacksapi/core/testing"
import { Context, Effect, Layer } from "effect"
import * as Playwright from "playwright-core"
import { findChromium } from "../../scripts/programs/chromium.ts"

/** A Chromium with a profile of its own, which talks to this machine only. */
export class Browser extends Context.Service<Browser, Playwright.Browser>()("test/Browser") {
  static layer = Layer.effect(
    Browser,
    Effect.acquireRelease(
      Effect.suspend(() => {
        const executablePath = findChromium()
        if (executablePath === undefined) return Effect.die("There is no Chromium: run npx -y pnpm@12 chromium")
        return Effect.promise(() => Playwright.chromium.launch({ executablePath, args: [...quiet] }))
      }),
      (browser) => Effect.promise(() => browser.close())
    )
  )
}

const quiet = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
]

export interface View {
  readonly width?: number
  readonly height?: number
  readonly colorScheme?: "light" | "dark"
}

/** What somebody sees who has opened the page. */
export interface Visit {
  readonly page: Playwright.Page
  /** What the browser complained about: errors, warnings, violations of the content security policy. */
  readonly complaints: ReadonlyArray<string>
  /** How many bytes of answers have arrived, but for the stream of events. */
  readonly received: () => number
}

/** Opens the page of the emulator, and waits until it is live. */
export const visit = Effect.fnUntraced(function* ({ colorScheme = "light", height = 900, width = 1400 }: View = {}) {
  const browser = yield* Browser
  const { baseUrl } = yield* StacksEmulator.StacksEmulator
  const context = yield* Effect.acquireRelease(
    Effect.promise(() => browser.newContext({ viewport: { width, height }, colorScheme, locale: "en-GB" })),
    (context) => Effect.promise(() => context.close())
  )
  const page = yield* Effect.promise(() => context.newPage())
  page.setDefaultTimeout(120_000)
  const complaints: Array<string> = []
  page.on("console", (message) => {
    if (message.type() !== "log") complaints.push(`${message.type()}: ${message.text()}`)
  })
  page.on("pageerror", (error) => complaints.push(String(error)))
  let received = 0
  page.on("requestfinished", (request) => {
    void request.sizes().then(
      ({ responseBodySize }) => {
        received += responseBodySize
      },
      () => {}
    )
  })
  yield* Effect.promise(() => page.goto(new URL("/", baseUrl).href))
  const seen: Visit = { page, complaints, received: () => received }
  yield* sees(seen, "Live")
  return seen
})

/** Waits until a text can be seen. */
export const sees = ({ page }: Visit, text: string | RegExp) =>
  Effect.promise(() => page.getByText(text).first().waitFor({ state: "visible" }))

type Role = Parameters<Playwright.Page["getByRole"]>[0]

/** A part of the page, by what it is and what it is called. While a dialog is open, only what is in it can be used. */
export const control = ({ page }: Visit, role: Role, name: string | RegExp) =>
  (role === "dialog" ? page : page.locator(":is(dialog[open], body:not(:has(dialog[open])))")).getByRole(role, {
    name,
    exact: typeof name === "string"
  })

export const click = (visit: Visit, role: Role, name: string | RegExp) =>
  Effect.promise(() => control(visit, role, name).first().click())

export const fill = (visit: Visit, role: Role, name: string | RegExp, value: string) =>
  Effect.promise(() => control(visit, role, name).first().fill(value))

/** Presses keys, one after the other. */
export const press = ({ page }: Visit, ...keys: ReadonlyArray<string>) =>
  Effect.promise(async () => {
    for (const key of keys) await page.keyboard.press(key)
  })

/** Asks the document. */
export const ask = <A>({ page }: Visit, question: () => A) => Effect.promise(() => page.evaluate(question))
