import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, layer } from "@effect/vitest"
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Exit, Layer, Redacted, Scope } from "effect"
import * as Agents from "../../support/agents.ts"
import { Browser, click, control, fill, press, sees, type Visit, visit } from "../../support/browser.ts"

const { Fault } = StacksEmulator

const emulated = Layer.provideMerge(NodeStacksEmulator.layerClient, NodeStacksEmulator.layer())

/** A stack, with jobs of which it has reserved the first. */
const prepared = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const client = yield* StacksClient.StacksClient
  yield* emulator.addJobs([
    { id: "first", queueKey: "linux", command: "make test", env: { CI: "true" }, step: { key: "unit" } },
    { id: "second", queueKey: "linux", command: "make build" },
    { id: "third", queueKey: "mac", command: "make docs" }
  ])
  yield* client.registerStack({ key: "s", type: "custom", queueKey: "linux" })
  yield* client.batchReserveJobs({ stackKey: "s", jobUuids: ["first"] })
  return { emulator, client }
})

const jobNames = ({ page }: Visit) => Effect.promise(() => page.locator("#jobs .name").allTextContents())

layer(Browser.layer, { excludeTestServices: true })("The emulator's page in a browser", (it) => {
  it.effect("shows queues, jobs, stacks, agents, requests, notifications and faults", () =>
    Effect.gen(function* () {
      const { client, emulator } = yield* prepared
      yield* client.createStackNotification({ stackKey: "s", jobUuid: "first", detail: "Pod is starting" })
      yield* emulator.setFaults([Fault.SlowDown({ retryAfter: "3 seconds", operations: ["getJob"], times: 2 })])
      yield* Effect.ignore(client.getJob({ stackKey: "s", jobUuid: "nobody" }))
      const seen = yield* visit()
      yield* sees(seen, "1 scheduled, 1 reserved")
      assert.deepStrictEqual(yield* jobNames(seen), ["make docs", "make build", "unit"])
      yield* sees(seen, /custom, queue linux, never polled/)
      yield* sees(seen, "No agent has connected.")
      yield* sees(seen, "Pod is starting")
      yield* sees(seen, "getJob, 3 s Retry-After, at most 2 times")
      const problem = seen.page.getByRole("row", { name: /getJob 404 SlowDown/ })
      yield* Effect.promise(() => problem.waitFor())
      const bar = yield* Effect.promise(() => control(seen, "img", /^scheduled .*, reserved /).count())
      assert.strictEqual(bar, 1)
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("follows a stack and its agents at work", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const client = yield* StacksClient.StacksClient
      const seen = yield* visit()
      yield* sees(seen, "No jobs yet.")
      yield* sees(seen, "No stack is registered.")
      yield* client.registerStack({ key: "pool", type: "kubernetes", queueKey: "linux" })
      yield* sees(seen, /kubernetes, queue linux/)
      yield* emulator.addJobs([
        { id: "a", queueKey: "linux", command: "make a" },
        { id: "b", queueKey: "linux", command: "make b" }
      ])
      yield* sees(seen, "2 scheduled")
      yield* client.batchReserveJobs({ stackKey: "pool", jobUuids: ["a", "b"] })
      yield* sees(seen, "2 reserved")
      yield* emulator.acquireJob("a")
      yield* sees(seen, "1 reserved, 1 running")
      yield* emulator.completeJob("a", 0)
      yield* sees(seen, /^reserved \d/)
      yield* client.finishJob({ stackKey: "pool", jobUuid: "b", exitStatus: 7, detail: "no room" })
      yield* sees(seen, "1 passed, 1 failed")
      yield* sees(seen, "failed, exit 7")
      yield* client.deregisterStack({ stackKey: "pool" })
      yield* sees(seen, "No stack is registered.")
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("shows how long a job waited for other jobs, and how long for a stack", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([
        { id: "0193b1a6-0000-7000-8000-00000000000a", queueKey: "linux", command: "make" },
        {
          queueKey: "linux",
          command: "make ship",
          step: { key: "ship" },
          env: { BUILDKITE_LABEL: "Ship it" },
          dependsOn: ["0193b1a6-0000-7000-8000-00000000000a"]
        }
      ])
      const seen = yield* visit()
      yield* sees(seen, "1 waiting")
      yield* sees(seen, /…0000000a$/)
      assert.deepStrictEqual(yield* jobNames(seen), ["Ship it", "make"])
      /** Waits until the first job's bar has these parts. */
      const bar = (...phases: ReadonlyArray<string>) =>
        Effect.promise(() => {
          const parts = phases.map((phase) => `rect.${phase}:not([width="0%"])`).join(" ~ ")
          return seen.page.locator(`#jobs li:first-child svg > ${parts}`).waitFor({ state: "attached" })
        })
      yield* bar("waiting")
      assert.strictEqual(yield* Effect.promise(() => control(seen, "img", /runnable/).count()), 0)
      yield* emulator.acquireJob("0193b1a6-0000-7000-8000-00000000000a")
      yield* emulator.completeJob("0193b1a6-0000-7000-8000-00000000000a", 0)
      yield* bar("waiting", "scheduled")
      yield* Effect.promise(() => control(seen, "img", /^scheduled .*, runnable /).waitFor())
    }).pipe(Effect.provide(emulated))
  )

  it.effect("shows an agent, and the output of its job as it arrives", () =>
    Effect.gen(function* () {
      const { emulator } = yield* prepared
      const agent = yield* Agents.connect(Redacted.value(emulator.token))
      const seen = yield* visit()
      yield* sees(seen, /queue=q, seen/)
      yield* Agents.begin(agent, "first")
      yield* click(seen, "button", "job first")
      const details = control(seen, "dialog", "unit")
      const reads = (text: string) => Effect.promise(() => details.getByText(text).waitFor())
      yield* reads("running")
      yield* Agents.upload(agent, "first", 1, 0, "\u001b_bk;t=1700000000000\u0007\u001b[32m<b>green</b>\u001b[0m\r\n")
      yield* reads("<b>green</b>")
      const log = yield* Effect.promise(() => details.locator("#job-log").textContent())
      assert.strictEqual(log, "<b>green</b>\n")
      yield* Agents.finish(agent, "first", 3)
      yield* reads("failed, exit 3")
      yield* Effect.promise(() => details.getByRole("button", { name: "Cancel job" }).waitFor({ state: "hidden" }))
      yield* press(seen, "Escape")
      yield* click(seen, "button", "uploadLogChunk")
      yield* sees(seen, "POST /v3/jobs/first/chunks")
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide([emulated, NodeHttpClient.layerUndici]))
  )

  it.effect("filters the jobs by state, queue and text", () =>
    Effect.gen(function* () {
      yield* prepared
      const seen = yield* visit()
      yield* sees(seen, "1–3 of 3")
      const filtered = Effect.fnUntraced(function* (range: string) {
        yield* sees(seen, range)
        return yield* jobNames(seen)
      })
      yield* Effect.promise(() => seen.page.getByText("reserved 1", { exact: true }).click())
      assert.deepStrictEqual(yield* filtered("1–1 of 1"), ["unit"])
      yield* Effect.promise(() => seen.page.getByText("all 3", { exact: true }).click())
      yield* sees(seen, "1–3 of 3")
      yield* Effect.promise(() => control(seen, "combobox", "Queue").selectOption("linux"))
      assert.deepStrictEqual(yield* filtered("1–2 of 2"), ["make build", "unit"])
      yield* fill(seen, "searchbox", "Text", "MAKE TEST")
      assert.deepStrictEqual(yield* filtered("1–1 of 1"), ["unit"])
      yield* fill(seen, "searchbox", "Text", "nothing")
      yield* sees(seen, "No job matches the filter.")
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("shows requests without their authorization, and optionally only failed ones", () =>
    Effect.gen(function* () {
      const { client } = yield* prepared
      yield* Effect.ignore(client.getJob({ stackKey: "s", jobUuid: "nobody" }))
      const seen = yield* visit()
      yield* click(seen, "button", "batchReserveJobs")
      const details = control(seen, "dialog", "batchReserveJobs")
      const text = yield* Effect.promise(() => details.textContent())
      assert.include(text ?? "", "PUT /v3/stacks/s/scheduled-jobs/batch-reserve")
      assert.include(text ?? "", '"first"')
      assert.include(text ?? "", "user-agent")
      const headers = yield* Effect.promise(() => details.locator("#request-headers").textContent())
      assert.notInclude(headers?.toLowerCase(), "authorization")
      yield* Effect.promise(() => details.getByRole("button", { name: "Close" }).click())
      yield* Effect.promise(() => control(seen, "checkbox", "Only problems").check())
      yield* Effect.promise(() => control(seen, "button", "batchReserveJobs").waitFor({ state: "detached" }))
      yield* Effect.promise(() => control(seen, "button", "getJob").waitFor())
    }).pipe(Effect.provide(emulated))
  )

  it.effect("shows texts of jobs and stacks as plain text", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const client = yield* StacksClient.StacksClient
      const markup = (place: string) => `<img src=x onerror="document.title='${place}'">`
      yield* emulator.addJobs([
        {
          id: markup("id"),
          queueKey: markup("queue"),
          command: markup("command"),
          env: { [markup("name")]: markup("value") },
          pipeline: { slug: markup("slug") },
          agentQueryRules: [markup("rule")]
        },
        { id: "plain", queueKey: markup("queue"), step: { key: markup("step") } }
      ])
      yield* client.registerStack({ key: "s", type: "custom", queueKey: markup("queue") })
      yield* client.createStackNotification({ stackKey: "s", jobUuid: "plain", detail: markup("notification") })
      yield* client.batchReserveJobs({ stackKey: "s", jobUuids: ["plain"] })
      yield* client.finishJob({ stackKey: "s", jobUuid: "plain", exitStatus: 1, detail: markup("detail") })
      const seen = yield* visit()
      yield* sees(seen, markup("notification"))
      for (const name of [markup("command"), markup("step")]) {
        yield* click(seen, "button", name)
        yield* Effect.promise(() => control(seen, "dialog", name).waitFor())
        yield* Effect.promise(() => control(seen, "dialog", name).getByRole("button", { name: "Close" }).click())
      }
      yield* click(seen, "button", "finishJob")
      yield* Effect.promise(() => control(seen, "dialog", "finishJob").getByText("onerror").first().waitFor())
      assert.strictEqual(yield* Effect.promise(() => seen.page.locator("img").count()), 0)
      assert.strictEqual(yield* Effect.promise(() => seen.page.title()), "Stacks API emulator")
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("shows that the connection is lost, and reconnects when the emulator is back", () =>
    Effect.gen(function* () {
      const first = yield* Scope.make()
      const { baseUrl } = yield* Scope.provide(NodeStacksEmulator.make(), first)
      const port = Number(new URL(baseUrl).port)
      const emulator = (service: StacksEmulator.Service) =>
        Effect.provideService(StacksEmulator.StacksEmulator, service)
      const seen = yield* visit().pipe(emulator(StacksEmulator.StacksEmulator.of({ ...(yield* unused), baseUrl })))
      yield* Scope.close(first, Exit.void)
      yield* sees(seen, "Connection lost. Trying again…")
      const second = yield* NodeStacksEmulator.make({ port })
      yield* second.addJobs([{ queueKey: "another" }])
      yield* sees(seen, "Live")
      yield* sees(seen, "another")
      // The browser itself reports that nobody answered.
      assert.deepStrictEqual(
        seen.complaints.filter((complaint) => !complaint.includes("net::ERR_")),
        []
      )
    })
  )
})

/** A service of which nothing but its address is of interest. */
const unused = StacksEmulator.make()
