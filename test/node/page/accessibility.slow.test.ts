import { assert, layer } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect } from "effect"
import { ask, Browser, click, control, press, sees, type Visit, visit } from "../../support/browser.ts"

const served = NodeStacksEmulator.layer()

/** Jobs in every state, a paused queue, a fault: all that the page can show. */
const busy = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const command = "make everything-that-there-is --with a-very-long-command-line-without-any-end && echo done"
  yield* emulator.addJobs(
    ["a", "b", "c", "d", "e"].map((id) => ({ id, queueKey: "a-queue-with-a-rather-long-name", command }))
  )
  yield* emulator.acquireJob("a")
  yield* emulator.completeJob("a", 0)
  yield* emulator.acquireJob("b")
  yield* emulator.completeJob("b", 1)
  yield* emulator.acquireJob("c")
  yield* emulator.cancelJob("d")
  yield* emulator.addJobs([{ queueKey: "mac" }])
  yield* emulator.pauseQueue("mac", true)
  yield* emulator.setFaults([
    StacksEmulator.Fault.Status({ status: 503, rate: 0.5, operations: ["getJobStates", "createStackNotifications"] })
  ])
  return emulator
})

/** What has the focus: its role or tag, and its name. */
const focused = (seen: Visit) =>
  ask(seen, () => {
    const element = document.activeElement
    const label = element instanceof HTMLInputElement ? element.labels?.[0]?.textContent : undefined
    return (element?.getAttribute("aria-label") ?? label ?? element?.textContent ?? "").trim().replaceAll(/\s+/g, " ")
  })

/** Goes on with the key until something has the focus; there are fewer stops than that on the page. */
const moveTo = Effect.fnUntraced(function* (seen: Visit, name: string, key = "Tab") {
  for (let stops = 0; stops < 60; stops++) {
    if ((yield* focused(seen)).startsWith(name)) return
    yield* press(seen, key)
  }
  return yield* Effect.die(new Error(`${key} does not lead to ${name}`))
})

const type = ({ page }: Visit, text: string) => Effect.promise(() => page.keyboard.insertText(text))

layer(Browser.layer, { excludeTestServices: true })("The emulator's page, accessibility", (it) => {
  it.effect("works by keyboard alone: adding jobs, pausing, details, canceling, faults", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const seen = yield* visit()
      yield* press(seen, "Tab")
      assert.strictEqual(yield* focused(seen), "Skip to the jobs")

      yield* moveTo(seen, "Add jobs")
      yield* press(seen, "Enter")
      yield* sees(seen, "How many")
      yield* press(seen, "Control+A")
      yield* type(seen, "linux")
      yield* press(seen, "Tab", "Control+A")
      yield* type(seen, "2")
      yield* press(seen, "Tab", "Control+A")
      yield* type(seen, "make test")
      yield* moveTo(seen, "Add")
      yield* press(seen, "Enter")
      yield* sees(seen, "2 jobs added to queue linux.")
      assert.strictEqual(yield* focused(seen), "Add jobs…")
      yield* sees(seen, "2 scheduled")

      yield* moveTo(seen, "Pause queue linux")
      yield* press(seen, "Enter")
      yield* sees(seen, "Queue linux is paused.")
      yield* Effect.promise(() => control(seen, "button", "Resume queue linux").waitFor())
      assert.strictEqual(yield* focused(seen), "Resume queue linux")

      // The states are one stop; the arrows choose.
      yield* moveTo(seen, "all 2")
      yield* press(seen, "ArrowRight", "ArrowRight")
      assert.strictEqual(yield* focused(seen), "scheduled 2")
      yield* sees(seen, "1–2 of 2")

      yield* moveTo(seen, "make test")
      yield* press(seen, "Enter")
      yield* Effect.promise(() => control(seen, "dialog", "make test").waitFor())
      yield* moveTo(seen, "Cancel job")
      yield* press(seen, "Enter")
      yield* sees(seen, "Canceled.")
      assert.strictEqual(yield* focused(seen), "Close")
      assert.deepStrictEqual((yield* emulator.jobs).map(({ state }) => state).sort(), ["canceled", "scheduled"])
      // The job has left the list; who had opened it is still at the list.
      yield* sees(seen, "1–1 of 1")
      yield* press(seen, "Escape")
      yield* moveTo(seen, "make test")

      yield* moveTo(seen, "Inject")
      yield* press(seen, "Enter")
      yield* Effect.promise(() => control(seen, "dialog", "Inject a fault").waitFor())
      yield* moveTo(seen, "Inject")
      yield* press(seen, "Enter")
      yield* sees(seen, "Fault Status is in force.")
      assert.lengthOf(yield* emulator.faults, 1)
      yield* moveTo(seen, "Clear all")
      yield* press(seen, "Enter")
      yield* sees(seen, "There are no faults any more.")
      assert.deepStrictEqual(yield* emulator.faults, [])
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(served))
  )

  for (const width of [360, 1400]) {
    it.effect(`fits ${width} pixels, with its dialogs`, () =>
      Effect.gen(function* () {
        const { baseUrl } = yield* busy
        const seen = yield* visit({ width, height: 740 })
        yield* sees(seen, /503/)
        yield* Effect.promise(() => seen.page.request.post(`${baseUrl}stacks/s/notifications`))
        yield* sees(seen, "401")
        const broken = yield* ask(seen, () =>
          Array.from(document.querySelectorAll("#requests time"), (time) => time.getClientRects().length)
        )
        assert.deepStrictEqual(broken, [1])
        const fits = Effect.gen(function* () {
          const tooWide = yield* ask(seen, () =>
            Array.from(document.querySelectorAll<HTMLElement>("html, dialog[open], main section, .scroll"))
              .filter((element) => element.scrollWidth > element.clientWidth)
              .map((element) => `${element.tagName} ${element.id} ${element.textContent?.slice(0, 40)}`)
          )
          assert.deepStrictEqual(tooWide, [])
          // Nothing that can be pressed is cut off by the edge.
          const outside = yield* ask(seen, () =>
            Array.from(document.querySelectorAll("button, input, select"))
              .filter((element) => {
                const { right, width } = element.getBoundingClientRect()
                return width > 0 && right > innerWidth
              })
              .map((element) => element.outerHTML)
          )
          assert.deepStrictEqual(outside, [])
        })
        yield* fits
        for (const [open, dialog] of [
          ["Add jobs…", "Add jobs"],
          ["Inject…", "Inject a fault"],
          [/^make everything/, /^make everything/]
        ] as const) {
          yield* click(seen, "button", open)
          yield* Effect.promise(() => control(seen, "dialog", dialog).waitFor())
          yield* fits
          yield* press(seen, "Escape")
        }
      }).pipe(Effect.provide(served))
    )
  }

  for (const colorScheme of ["light", "dark"] as const) {
    it.effect(`has enough contrast in ${colorScheme}`, () =>
      Effect.gen(function* () {
        yield* busy
        const seen = yield* visit({ colorScheme })
        yield* sees(seen, /503/)
        assert.deepStrictEqual(yield* ask(seen, lowContrasts), [])
        yield* click(seen, "button", /^make everything/)
        yield* Effect.promise(() => control(seen, "dialog", /^make/).waitFor())
        assert.deepStrictEqual(yield* ask(seen, lowContrasts), [])
        yield* press(seen, "Escape")
        yield* click(seen, "button", "Add jobs…")
        assert.deepStrictEqual(yield* ask(seen, lowContrasts), [])
      }).pipe(Effect.provide(served))
    )
  }

  it.effect("names every control and part, and has a language, a title and headings in order", () =>
    Effect.gen(function* () {
      yield* busy
      const seen = yield* visit()
      yield* sees(seen, /503/)
      const snapshot = yield* Effect.promise(() => seen.page.locator("body").ariaSnapshot())
      // A control without a name is a role with nothing behind it.
      const controls = snapshot
        .split("\n")
        .filter((line) => /- (button|textbox|combobox|checkbox|radio|link)/.test(line))
      assert.isAbove(controls.length, 15)
      assert.deepStrictEqual(
        controls.filter((line) => !/- \w+ "[^"]+"/.test(line)),
        []
      )
      for (const name of ["Queues", "Jobs", "Faults", "Stacks", "Agents", "Requests", "Notifications"]) {
        assert.strictEqual(yield* Effect.promise(() => control(seen, "region", name).count()), 1, name)
      }
      for (const role of ["main", "banner", "search"] as const) {
        assert.strictEqual(yield* Effect.promise(() => seen.page.getByRole(role).count()), 1, role)
      }
      const document_ = yield* ask(seen, () => ({
        language: document.documentElement.lang,
        title: document.title,
        levels: Array.from(document.querySelectorAll("header h1, main :is(h2, h3)"), ({ tagName }) =>
          Number(tagName[1])
        ),
        orders: document.querySelectorAll("[tabindex]:not([tabindex='0'], [tabindex='-1'])").length,
        ids: Array.from(document.querySelectorAll("[id]"), ({ id }) => id)
      }))
      assert.strictEqual(document_.language, "en")
      assert.strictEqual(document_.title, "Stacks API emulator")
      assert.strictEqual(document_.levels[0], 1)
      for (const [index, level] of document_.levels.entries()) {
        assert.isAtMost(level, (document_.levels[index - 1] ?? 0) + 1)
      }
      assert.strictEqual(document_.orders, 0)
      assert.strictEqual(new Set(document_.ids).size, document_.ids.length)
    }).pipe(Effect.provide(served))
  )

  it.effect("shows the focus", () =>
    Effect.gen(function* () {
      yield* busy
      const seen = yield* visit()
      yield* sees(seen, /503/)
      for (let stop = 0; stop < 25; stop++) {
        yield* press(seen, "Tab")
        const outline = yield* ask(seen, () => {
          const element = document.activeElement
          if (element === null || element === document.body) return "2px"
          const chip = element.closest(".chip")
          const styles = [getComputedStyle(element), getComputedStyle(element, "::after")]
          if (chip !== null) styles.push(getComputedStyle(chip))
          return styles.find(({ outlineStyle }) => outlineStyle !== "none")?.outlineWidth ?? element.outerHTML
        })
        assert.match(outline, /^[2-9]px$/)
      }
    }).pipe(Effect.provide(served))
  )

  it.effect("stays small and quick with 10,000 jobs in the queue", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs(
        Array.from({ length: 10_000 }, (_, i) => ({ queueKey: "linux", command: `make part-${i}` }))
      )
      const seen = yield* visit()
      yield* sees(seen, "1–50 of 10,000")
      const elements = () => document.querySelectorAll("*").length
      assert.isBelow(yield* ask(seen, elements), 1_500)
      assert.isBelow(seen.received(), 150_000)

      yield* click(seen, "button", "Older")
      yield* sees(seen, "51–100 of 10,000")
      yield* sees(seen, "make part-9900")
      yield* Effect.promise(() => control(seen, "searchbox", "Text").fill("part-123"))
      yield* sees(seen, "1–11 of 11")
      yield* click(seen, "button", "make part-123")
      yield* Effect.promise(() => control(seen, "dialog", "make part-123").waitFor())
      yield* click(seen, "button", "Cancel job")
      yield* sees(seen, "9,999 scheduled, 1 canceled")
      yield* press(seen, "Escape")
      yield* Effect.promise(() => control(seen, "searchbox", "Text").fill(""))
      yield* sees(seen, "1–50 of 10,000")
      assert.isBelow(yield* ask(seen, elements), 1_500)
      assert.isBelow(seen.received(), 300_000)
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(served))
  )
})

/** The texts that are too faint against what is behind them, by WCAG 2 AA. Runs in the page. */
const lowContrasts = () => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true })
  if (canvas === null) return ["no canvas"]
  /** The color that remains when these are painted over each other. */
  const paint = (...colors: ReadonlyArray<string>) => {
    for (const color of colors) {
      canvas.fillStyle = color
      canvas.fillRect(0, 0, 1, 1)
    }
    return Array.from(canvas.getImageData(0, 0, 1, 1).data).slice(0, 3)
  }
  const luminance = (rgb: ReadonlyArray<number>) => {
    const [r = 0, g = 0, b = 0] = rgb.map((part) => {
      const value = part / 255
      return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const top = document.querySelector("dialog[open]") ?? document.body
  return Array.from(top.querySelectorAll<HTMLElement>("*"))
    .filter((element) =>
      Array.from(element.childNodes).some((node) => node.nodeType === Node.TEXT_NODE && node.textContent?.trim())
    )
    .filter((element) => element.checkVisibility() && element.closest("dialog:not([open]), .hidden, .skip") === null)
    .flatMap((element) => {
      const behind: Array<string> = []
      for (let at: HTMLElement | null = element; at !== null; at = at.parentElement) {
        behind.unshift(getComputedStyle(at).backgroundColor)
        if (at === top && at !== document.body) break
      }
      const backdrop = luminance(paint("white", ...behind))
      const text = luminance(paint("white", ...behind, getComputedStyle(element).color))
      const ratio = (Math.max(backdrop, text) + 0.05) / (Math.min(backdrop, text) + 0.05)
      return ratio < 4.5 ? [`${ratio.toFixed(2)} ${element.outerHTML.slice(0, 120)}`] : []
    })
}
