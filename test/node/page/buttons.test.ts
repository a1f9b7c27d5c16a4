import { assert, layer } from "@effect/vitest"
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Layer } from "effect"
import { Browser, click, control, fill, sees, type Visit, visit } from "../../support/browser.ts"

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

layer(Browser.layer, { excludeTestServices: true })("The buttons of the emulator's page", (it) => {
  it.effect("add jobs", () =>
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

  it.effect("propose an existing queue until another one is entered", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const seen = yield* visit()
      const proposed = Effect.gen(function* () {
        yield* click(seen, "button", "Add jobs…")
        return yield* Effect.promise(() => control(seen, "combobox", "Queue").inputValue())
      })
      assert.strictEqual(yield* proposed, "_default")
      yield* click(seen, "button", "Cancel")
      yield* emulator.addJobs([{ queueKey: "mac" }])
      yield* sees(seen, "1 scheduled")
      assert.strictEqual(yield* proposed, "mac")
      yield* fill(seen, "combobox", "Queue", "linux")
      yield* click(seen, "button", "Add")
      yield* sees(seen, "1 job added to queue linux.")
      assert.strictEqual(yield* proposed, "linux")
    }).pipe(Effect.provide(emulated))
  )

  it.effect("show why the emulator refuses a command", () =>
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

  it.effect("pause and resume a queue, and forget a stack", () =>
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

  it.effect("show a job's details, and cancel the job", () =>
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

  it.effect("inject faults and clear them", () =>
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
      yield* inject("No response for a while", {
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
      yield* sees(seen, "None: all requests get normal responses.")
      assert.deepStrictEqual(yield* emulator.faults, [])
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("unblock steps of a pipeline, with the values of their fields", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const stateOfStep = (key: string) =>
        Effect.map(emulator.steps, (steps) => steps.find((step) => step.key === key)?.state)
      yield* emulator.uploadPipelines([
        {
          steps: [
            { block: "Deploy?", key: "deploy" },
            {
              block: "Release",
              key: "release",
              prompt: "What is its name?",
              fields: [
                { text: "Name", key: "name" },
                { select: "Stream", key: "stream", default: "beta", options: [{ value: "beta" }, { value: "stable" }] },
                { select: "Regions", key: "regions", multiple: true, options: ["na", "eu", "asia"] }
              ]
            },
            { command: "make release", label: "Release it", key: "last" }
          ]
        }
      ])
      const seen = yield* visit()
      yield* sees(seen, "emulated-pipeline #1: the block step waits until somebody unblocks it")
      yield* click(seen, "button", "Unblock Deploy?")
      yield* sees(seen, "Deploy? is unblocked.")
      assert.strictEqual(yield* stateOfStep("deploy"), "passed")

      yield* click(seen, "button", "Unblock Release")
      yield* sees(seen, "What is its name?")
      yield* fill(seen, "textbox", "Name", "Dolphin")
      yield* Effect.promise(() => control(seen, "combobox", "Stream").selectOption("stable"))
      yield* Effect.promise(() => control(seen, "listbox", "Regions").selectOption(["na", "asia"]))
      yield* Effect.promise(() =>
        control(seen, "dialog", "Unblock Release").getByRole("button", { name: "Unblock" }).click()
      )
      yield* sees(seen, "Release is unblocked.")
      assert.strictEqual(yield* stateOfStep("last"), "running")
      assert.deepStrictEqual((yield* emulator.builds)[0]?.metaData, {
        name: "Dolphin",
        stream: "stable",
        regions: "na\nasia"
      })
      yield* Effect.promise(() => seen.page.locator("#held-section").waitFor({ state: "hidden" }))
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("retries a job that has failed", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const { jobs } = yield* emulator.uploadPipelines([{ steps: [{ command: "make test", label: "Test" }] }])
      yield* emulator.acquireJob(jobs[0]?.id ?? "")
      yield* emulator.completeJob(jobs[0]?.id ?? "", 1)
      const seen = yield* visit()
      yield* click(seen, "button", "Test")
      const details = control(seen, "dialog", "Test")
      yield* Effect.promise(() => details.getByRole("button", { name: "Retry job" }).click())
      yield* Effect.promise(() => details.getByText("Retried.").waitFor())
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ state }) => state),
        ["finished", "scheduled"]
      )
      yield* Effect.promise(() => details.getByRole("button", { name: "Retry job" }).waitFor({ state: "hidden" }))
      assert.deepStrictEqual(seen.complaints, [])
    }).pipe(Effect.provide(emulated))
  )
})
