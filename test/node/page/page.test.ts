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

const stateOf = (emulator: StacksEmulator.Service, id: string) =>
  Effect.map(emulator.jobs, (jobs) => jobs.find((job) => job.id === id)?.state)

layer(Browser.layer, { excludeTestServices: true })("the page in a browser", (it) => {
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
      yield* client.finishJob({ stackKey: "pool", jobUuid: "b", exitStatus: 7, detail: "no room" })
      yield* sees(seen, "1 passed, 1 failed")
      yield* sees(seen, "failed, exit 7")
      yield* client.deregisterStack({ stackKey: "pool" })
      yield* sees(seen, "No stack is registered.")
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("adds jobs", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const seen = yield* visit()
      yield* click(seen, "button", "Add jobs…")
      yield* fill(seen, "combobox", "Queue", "linux")
      yield* fill(seen, "spinbutton", "How many", "3")
      yield* fill(seen, "textbox", "Command", "make test\nmake docs")
      yield* fill(seen, "textbox", "Environment", "not a variable")
      yield* fill(seen, "spinbutton", "Priority", "-2")
      yield* click(seen, "button", "Add")
      yield* sees(seen, "Not NAME=value: not a variable")
      yield* fill(seen, "textbox", "Environment", "CI=true\n\nURL=http://x/?a=b")
      yield* click(seen, "button", "Add")
      yield* sees(seen, "3 jobs added to queue linux.")
      const jobs = yield* emulator.jobs
      assert.lengthOf(jobs, 3)
      assert.deepInclude(jobs[0], {
        queueKey: "linux",
        command: "make test\nmake docs",
        env: { CI: "true", URL: "http://x/?a=b" },
        priority: -2
      })
      yield* sees(seen, "3 scheduled")
      assert.deepStrictEqual(yield* jobNames(seen), ["make test", "make test", "make test"])
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("tells what the emulator refuses", () =>
    Effect.gen(function* () {
      const seen = yield* visit()
      yield* click(seen, "button", "Add jobs…")
      yield* fill(seen, "combobox", "Queue", "windows")
      yield* click(seen, "button", "Add")
      yield* sees(seen, "there is no queue windows")
      yield* click(seen, "button", "Cancel")
      assert.isFalse(yield* Effect.promise(() => control(seen, "dialog", "Add jobs").isVisible()))
      assert.deepStrictEqual(yield* (yield* StacksEmulator.StacksEmulator).jobs, [])
    }).pipe(Effect.provide(NodeStacksEmulator.layer({ queues: ["linux"] })))
  )

  it.effect("pauses and resumes a queue, and forgets a stack", () =>
    Effect.gen(function* () {
      const { emulator } = yield* prepared
      const paused = Effect.map(emulator.queues, (queues) => queues.map(({ key, paused }) => `${key} ${paused}`))
      const seen = yield* visit()
      yield* click(seen, "button", "Pause queue linux")
      yield* sees(seen, "Queue linux is paused.")
      assert.deepStrictEqual(yield* paused, ["linux true", "mac false"])
      yield* click(seen, "button", "Resume queue linux")
      yield* sees(seen, "Queue linux is resumed.")
      assert.deepStrictEqual(yield* paused, ["linux false", "mac false"])
      yield* click(seen, "button", "Forget stack s")
      yield* sees(seen, "Stack s is forgotten.")
      assert.deepStrictEqual(yield* emulator.stacks, [])
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("shows a job's details, and cancels it", () =>
    Effect.gen(function* () {
      const { client, emulator } = yield* prepared
      yield* client.createStackNotification({ stackKey: "s", jobUuid: "first", detail: "Pod is starting" })
      const seen = yield* visit()
      yield* click(seen, "button", "unit")
      const details = control(seen, "dialog", "unit")
      const text = yield* Effect.promise(() => details.textContent())
      for (const part of ["Statereserved", "Queuelinux", "by s", "make test", "CItrue", "Pod is starting"]) {
        assert.include(text ?? "", part)
      }
      yield* Effect.promise(() => details.getByRole("button", { name: "Cancel job" }).click())
      yield* Effect.promise(() => details.getByText("Canceled.").waitFor())
      assert.strictEqual(yield* stateOf(emulator, "first"), "canceled")
      yield* Effect.promise(() => details.getByText("canceled", { exact: true }).waitFor())
      yield* Effect.promise(() => details.getByRole("button", { name: "Cancel job" }).waitFor({ state: "hidden" }))
      yield* Effect.promise(() => details.getByRole("button", { name: "Close" }).click())
      yield* Effect.promise(() => details.waitFor({ state: "hidden" }))
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("shows an agent, and the output of its job as it comes", () =>
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

  it.effect("injects faults and clears them", () =>
    Effect.gen(function* () {
      const { client, emulator } = yield* prepared
      const seen = yield* visit()
      const inject = Effect.fnUntraced(function* (kind: string, fields: Readonly<Record<string, string>>) {
        yield* click(seen, "button", "Inject…")
        yield* Effect.promise(() => control(seen, "combobox", "What happens").selectOption({ label: kind }))
        for (const [name, value] of Object.entries(fields)) {
          if (name === "To which requests") {
            yield* Effect.promise(() => control(seen, "combobox", name).selectOption(value))
          } else yield* fill(seen, "spinbutton", name, value)
        }
        yield* click(seen, "button", "Inject")
        yield* Effect.promise(() => control(seen, "dialog", "Inject a fault").waitFor({ state: "hidden" }))
      })
      yield* inject("An error status", { Status: "418", "How often": "1", "To which requests": "getJob" })
      yield* sees(seen, "Fault Status is in force.")
      yield* inject("No answer for a while", {
        "For how many seconds": "0.5",
        "How often": "",
        "Probability in %": "25"
      })
      yield* sees(seen, "getJob, 0.5 s, probability 25 %")
      assert.deepInclude((yield* emulator.faults)[0], { _tag: "Status", status: 418, times: 1, operations: ["getJob"] })
      assert.deepInclude((yield* emulator.faults)[1], { _tag: "Stall", rate: 0.25 })

      const error = yield* Effect.flip(client.getJob({ stackKey: "s", jobUuid: "first" }))
      assert.include(error.message, "418")
      yield* Effect.promise(() => seen.page.getByRole("row", { name: /getJob 418 Status/ }).waitFor())

      yield* click(seen, "button", "Clear all")
      yield* sees(seen, "None: every request is answered as it should be.")
      assert.deepStrictEqual(yield* emulator.faults, [])
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
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
      yield* sees(seen, "No job is like that.")
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("shows a request as it came, without its authorization, and only the bad ones if asked", () =>
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
      assert.notInclude(text?.toLowerCase(), "authorization")
      yield* Effect.promise(() => details.getByRole("button", { name: "Close" }).click())
      yield* Effect.promise(() => control(seen, "checkbox", "Only problems").check())
      yield* Effect.promise(() => control(seen, "button", "batchReserveJobs").waitFor({ state: "detached" }))
      yield* Effect.promise(() => control(seen, "button", "getJob").waitFor())
    }).pipe(Effect.provide(emulated))
  )

  it.effect("shows what jobs and stacks say as text, whatever it is", () =>
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
      yield* Effect.promise(() => control(seen, "dialog", "finishJob").getByText("onerror").waitFor())
      assert.strictEqual(yield* Effect.promise(() => seen.page.locator("img").count()), 0)
      assert.strictEqual(yield* Effect.promise(() => seen.page.title()), "Stacks API emulator")
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("tells that the connection is lost, and goes on when the emulator is back", () =>
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
