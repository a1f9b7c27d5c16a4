/** The page's views: their addresses, what a job waits for, the graph of a build, copying, zooming, and odd texts. */
import { assert, layer } from "@effect/vitest"
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Layer } from "effect"
import { ask, Browser, click, control, fill, press, sees, type Visit, visit } from "../../support/browser.ts"

const { Fault } = StacksEmulator

const emulated = Layer.provideMerge(NodeStacksEmulator.layerClient, NodeStacksEmulator.layer())

const search = (seen: Visit) => ask(seen, () => location.search)

/** Waits until a selector is there. */
const has = ({ page }: Visit, selector: string) => Effect.promise(() => page.locator(selector).first().waitFor())

const reload = (seen: Visit) =>
  Effect.andThen(
    Effect.promise(() => seen.page.reload()),
    sees(seen, "Live")
  )

const back = ({ page }: Visit) => Effect.promise(() => page.goBack())

const jobNames = ({ page }: Visit) => Effect.promise(() => page.locator("#jobs .name").allTextContents())

/** Build 7: checkout, then two tests, of which one may fail, then ship. */
const build = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const job = (id: string, ...dependsOn: ReadonlyArray<string>) => ({
    id,
    queueKey: "linux",
    command: `make ${id}`,
    step: { key: id },
    build: { uuid: "build-7", number: 7 },
    pipeline: { slug: "web" },
    dependsOn
  })
  yield* emulator.addJobs([
    job("checkout"),
    job("unit", "checkout"),
    { ...job("flaky", "checkout"), softFail: [3] },
    job("ship", "unit", "flaky")
  ])
  return emulator
})

layer(Browser.layer, { excludeTestServices: true })("the views of the page", (it) => {
  it.effect("show the job that was opened last, although an earlier one arrives later", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs(["slow", "quick"].map((id) => ({ id, queueKey: "linux", step: { key: id } })))
      const seen = yield* visit()
      yield* sees(seen, "1–2 of 2")
      const held = Promise.withResolvers<void>()
      yield* Effect.promise(() =>
        seen.page.route(/\/ui\/job\?id=slow/, async (route) => {
          await held.promise
          await route.continue()
        })
      )
      yield* click(seen, "button", "slow")
      yield* click(seen, "button", "quick")
      yield* Effect.promise(() => control(seen, "dialog", "quick").waitFor())
      const late = seen.page.waitForResponse(/\/ui\/job\?id=slow/)
      held.resolve()
      yield* Effect.promise(() => late.then((response) => response.finished()))
      assert.strictEqual(yield* search(seen), "?job=quick")
      yield* click(seen, "button", "Cancel job")
      yield* sees(seen, "Canceled.")
      const states = (yield* emulator.jobs).flatMap(({ id, state }) =>
        id === "slow" || id === "quick" ? [[id, state]] : []
      )
      assert.deepStrictEqual(Object.fromEntries(states), { slow: "scheduled", quick: "canceled" })
    }).pipe(Effect.scoped, Effect.provide(emulated))
  )

  it.effect("have addresses of their own, which a reload and the browser's Back keep", () =>
    Effect.gen(function* () {
      yield* build
      const seen = yield* visit()
      yield* sees(seen, "1–4 of 4")
      yield* click(seen, "button", "unit")
      yield* Effect.promise(() => control(seen, "dialog", "unit").waitFor())
      assert.strictEqual(yield* search(seen), "?job=unit")
      yield* reload(seen)
      yield* Effect.promise(() => control(seen, "dialog", "unit").waitFor())
      yield* press(seen, "Escape")
      yield* Effect.promise(() => control(seen, "dialog", "unit").waitFor({ state: "hidden" }))
      assert.strictEqual(yield* search(seen), "")
      yield* back(seen)
      yield* Effect.promise(() => control(seen, "dialog", "unit").waitFor())
      yield* press(seen, "Escape")

      yield* fill(seen, "searchbox", "Text", "ship")
      yield* sees(seen, "1–1 of 1")
      yield* Effect.promise(() => control(seen, "combobox", "Queue").selectOption("linux"))
      yield* reload(seen)
      yield* sees(seen, "1–1 of 1")
      assert.deepStrictEqual(yield* jobNames(seen), ["ship"])
      const { queue, text } = Object.fromEntries(new URLSearchParams(yield* search(seen)))
      assert.deepStrictEqual({ queue, text }, { queue: "linux", text: "ship" })
      assert.strictEqual(yield* Effect.promise(() => control(seen, "searchbox", "Text").inputValue()), "ship")
      assert.strictEqual(yield* Effect.promise(() => control(seen, "combobox", "Queue").inputValue()), "linux")

      // What an address names may be gone.
      yield* Effect.promise(() => seen.page.goto(new URL("/?job=nobody", seen.page.url()).href))
      yield* sees(seen, "1–4 of 4")
      yield* Effect.promise(() => seen.page.waitForFunction(() => location.search === ""))
    }).pipe(Effect.provide(emulated))
  )

  it.effect("say what a job waits for, and lead there", () =>
    Effect.gen(function* () {
      const emulator = yield* build
      const client = yield* StacksClient.StacksClient
      const seen = yield* visit()
      yield* click(seen, "button", "ship")
      yield* sees(seen, "2 other jobs")
      yield* click(seen, "button", "unit")
      yield* Effect.promise(() => control(seen, "dialog", "unit").waitFor())
      yield* sees(seen, /^another job$/)
      yield* click(seen, "button", "checkout")
      yield* sees(seen, "a stack of queue linux: none is registered")
      yield* client.registerStack({ key: "s", type: "custom", queueKey: "linux" })
      yield* sees(seen, "a stack of queue linux to poll: none has for a minute")
      yield* client.listScheduledJobs({ stackKey: "s", clusterQueueKey: "linux" })
      yield* sees(seen, "a free slot of stack s")
      yield* emulator.pauseQueue("linux", true)
      yield* client.getTokenIdentity()
      yield* sees(seen, "queue linux to be resumed: it is paused")
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("draw a build as a graph, and mark what failed and was allowed to", () =>
    Effect.gen(function* () {
      const emulator = yield* build
      const seen = yield* visit()
      yield* Effect.promise(() => control(seen, "heading", "Pipeline").waitFor())
      const places = yield* ask(seen, () =>
        Array.from(document.querySelectorAll("#graph .node"), (node) => ({
          name: node.querySelector("text")?.textContent ?? "",
          x: Number(node.querySelector("rect")?.getAttribute("x"))
        }))
      )
      const at = (name: string) => places.find((place) => place.name === name)?.x ?? Number.NaN
      assert.isBelow(at("checkout"), at("unit"))
      assert.strictEqual(at("unit"), at("flaky"))
      assert.isBelow(at("unit"), at("ship"))
      assert.strictEqual(yield* Effect.promise(() => seen.page.locator("#graph .edge").count()), 4)
      yield* Effect.promise(() => control(seen, "button", "ship, waiting, after unit, flaky").waitFor())

      for (const [id, status] of [
        ["checkout", 0],
        ["unit", 0],
        ["flaky", 3]
      ] as const) {
        yield* emulator.acquireJob(id)
        yield* emulator.completeJob(id, status)
      }
      yield* sees(seen, "soft failed, exit 3")
      yield* has(seen, "#graph .node.passed")
      // It does not stop what follows.
      yield* sees(seen, "1 scheduled, 2 passed, 1 failed")
      yield* Effect.promise(() => control(seen, "button", /^ship, scheduled/).press("Enter"))
      yield* Effect.promise(() => control(seen, "dialog", "ship").waitFor())
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("draw an uploaded pipeline with its waits, blocks and retries", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const { jobs } = yield* emulator.uploadPipelines([
        {
          steps: [
            {
              group: "tests",
              steps: [
                { command: "unit", key: "unit" },
                { command: "lint", key: "lint" }
              ]
            },
            "wait",
            { block: "Deploy?", key: "ok" },
            { command: "deploy", key: "deploy" },
            { command: "docs", key: "docs", depends_on: "unit" }
          ]
        }
      ])
      const unit = jobs.find(({ command }) => command === "unit")?.id ?? ""
      yield* emulator.acquireJob(unit)
      yield* emulator.completeJob(unit, 1)
      yield* emulator.retryJob(unit)
      const seen = yield* visit()
      yield* has(seen, "#graph .node.wait")
      const labels = yield* ask(seen, () =>
        Array.from(document.querySelectorAll("#graph .node"), (node) => node.getAttribute("aria-label") ?? "")
      )
      assert.sameMembers(labels, [
        "unit, failed",
        "lint, scheduled",
        "unit, scheduled, after unit",
        "wait, waiting, after unit, lint",
        "Deploy?, waiting, after wait",
        "deploy, waiting, after Deploy?",
        "docs, waiting, after unit"
      ])
      assert.strictEqual(yield* Effect.promise(() => control(seen, "button", /^Deploy/).count()), 0)
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("show requests with their responses, and copy them as curl, without any token", () =>
    Effect.gen(function* () {
      const emulator = yield* build
      const client = yield* StacksClient.StacksClient
      yield* emulator.addJobs([{ id: "x", queueKey: "linux", env: { NPM_TOKEN: "npm_secret", STAGE: "it's" } }])
      yield* client.registerStack({ key: "s", type: "custom", queueKey: "linux" })
      yield* client.batchReserveJobs({ stackKey: "s", jobUuids: ["x"] })
      yield* client.issueJobAcquisitionTokens({ stackKey: "s", jobUuids: ["x"] })
      yield* client.getJob({ stackKey: "s", jobUuid: "x" })
      yield* client.finishJob({ stackKey: "s", jobUuid: "x", exitStatus: 1, detail: "it's over" })
      const seen = yield* visit()
      yield* Effect.promise(() => seen.page.context().grantPermissions(["clipboard-read", "clipboard-write"]))
      const textOf = (operation: string) =>
        Effect.gen(function* () {
          yield* click(seen, "button", operation)
          const dialog = control(seen, "dialog", operation)
          yield* Effect.promise(() => dialog.waitFor())
          return (yield* Effect.promise(() => dialog.textContent())) ?? ""
        })
      const tokens = yield* textOf("issueJobAcquisitionTokens")
      assert.include(tokens, '"job_acquisition_token": "[token]"')
      yield* press(seen, "Escape")
      const details = yield* textOf("getJob")
      assert.include(details, '"NPM_TOKEN": "[value]"')
      assert.notInclude(details, "npm_secret")
      yield* press(seen, "Escape")

      const text = yield* textOf("finishJob")
      assert.match(yield* search(seen), /^\?request=/)
      assert.include(text, `-H "Authorization: Token $BUILDKITE_CLUSTER_TOKEN"`)
      yield* click(seen, "button", "Copy as curl")
      yield* sees(seen, "Copied.")
      const copied = yield* Effect.promise(() => seen.page.evaluate(() => navigator.clipboard.readText()))
      assert.match(copied, /^curl -X POST 'http:\/\/127\.0\.0\.1:\d+\/v3\/stacks\/s\/jobs\/x\/finish'/)
      // A quote in the body does not end the shell's.
      assert.include(copied, `it'\\''s over`)
      assert.notInclude(copied, "bkct_")
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("remove one fault, and leave what the others have counted", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const client = yield* StacksClient.StacksClient
      yield* emulator.setFaults([
        Fault.Status({ status: 418, times: 2, operations: ["getTokenIdentity"] }),
        Fault.Reset({ operations: ["getJob"] })
      ])
      yield* Effect.flip(client.getTokenIdentity())
      const seen = yield* visit()
      yield* click(seen, "button", /^Remove fault Reset/)
      yield* sees(seen, "Fault Reset is removed.")
      assert.strictEqual(
        yield* Effect.promise(() => seen.page.locator("#notice").getAttribute("data-failure")),
        "false"
      )
      assert.deepStrictEqual(
        (yield* emulator.faults).map(({ _tag }) => _tag),
        ["Status"]
      )
      yield* Effect.flip(client.getTokenIdentity())
      yield* client.getTokenIdentity()
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("zoom the timeline, and keep the part that was chosen", () =>
    Effect.gen(function* () {
      yield* build
      const seen = yield* visit()
      yield* sees(seen, "1–4 of 4")
      const isOff = (name: string) =>
        Effect.promise(async () => (await control(seen, "button", name).getAttribute("aria-disabled")) === "true")
      assert.isTrue(yield* isOff("Fit"))
      yield* click(seen, "button", "Zoom in")
      const [from, to] = yield* ask(seen, () => {
        const chosen = new URLSearchParams(location.search)
        return [Number(chosen.get("from")), Number(chosen.get("to"))] as const
      })
      assert.isAbove(to - from, 0)
      assert.isFalse(yield* isOff("Fit"))
      yield* reload(seen)
      assert.include(yield* search(seen), `from=${from}&to=${to}`)
      yield* click(seen, "button", "Fit")
      assert.strictEqual(yield* search(seen), "")
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("show how to connect while nothing is there, with commands to copy", () =>
    Effect.gen(function* () {
      const { baseUrl } = yield* StacksEmulator.StacksEmulator
      const client = yield* StacksClient.StacksClient
      const seen = yield* visit()
      yield* Effect.promise(() => seen.page.context().grantPermissions(["clipboard-read", "clipboard-write"]))
      yield* sees(seen, "Connect a stack")
      yield* click(seen, "button", "Copy")
      yield* sees(seen, "Copied.")
      assert.strictEqual(
        yield* Effect.promise(() => seen.page.evaluate(() => navigator.clipboard.readText())),
        `export BUILDKITE_AGENT_ENDPOINT=${baseUrl}\nexport BUILDKITE_CLUSTER_TOKEN=bkct_emulator`
      )
      yield* client.registerStack({ key: "s", type: "custom", queueKey: "linux" })
      yield* Effect.promise(() => control(seen, "heading", "Connect a stack").waitFor({ state: "hidden" }))
    }).pipe(Effect.provide(emulated))
  )

  it.effect("show the output of a job that runs without an agent, while it runs", () =>
    Effect.gen(function* () {
      const emulator = yield* build
      const seen = yield* visit()
      yield* click(seen, "button", "checkout")
      yield* emulator.appendJobLog("checkout", "cloning\n")
      yield* sees(seen, "cloning")
    }).pipe(Effect.provide(emulated))
  )

  for (const width of [360, 1400]) {
    it.effect(`are not widened by any text at ${width} pixels`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const odd = [`m${"\u0301".repeat(1800)}arks`, "w".repeat(5000), "\ufdfd".repeat(60), `${"ก็".repeat(900)}`]
        yield* emulator.addJobs(
          odd.map((text, index) => ({
            id: `odd-${index}`,
            queueKey: `q${text}`.slice(0, 200),
            command: text,
            step: { key: text },
            env: { BUILDKITE_LABEL: text, [`N${text}`]: text },
            pipeline: { slug: text },
            agentQueryRules: [`os=${text}`],
            dependsOn: index === 0 ? [] : ["odd-0"]
          }))
        )
        const seen = yield* visit({ width, height: 740 })
        yield* sees(seen, "1–4 of 4")
        for (const index of odd.keys()) {
          yield* Effect.promise(() => seen.page.goto(new URL(`/?job=odd-${index}`, seen.page.url()).href))
          yield* has(seen, "dialog[open]")
          const tooWide = yield* ask(seen, () =>
            Array.from(document.querySelectorAll<HTMLElement>("html, dialog[open], main section:not(.graph)"))
              .filter((element) => element.scrollWidth > element.clientWidth)
              .map((element) => `${element.tagName} ${element.id}`)
          )
          assert.deepStrictEqual(tooWide, [], String(index))
          const marks = yield* ask(seen, () => document.querySelector("#job-title")?.textContent?.match(/\p{M}{9}/u))
          assert.isNotOk(marks)
        }
        assert.deepStrictEqual(seen.complaints, [])
      }).pipe(Effect.provide(emulated))
    )
  }
})
