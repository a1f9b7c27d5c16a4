/**
 * Takes the screenshot of the emulator's page for the documentation, `docs/images/emulator-page.png`: a stack and its
 * agents at work for half a minute.
 */
import { fileURLToPath } from "node:url"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner, Stack, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Layer, Logger, Redacted } from "effect"
import * as Agents from "./agents.ts"
import { Browser, visit } from "./browser.ts"

const file = fileURLToPath(new URL("../../docs/images/emulator-page.png", import.meta.url))

const { Fault } = StacksEmulator

/** How long each step takes, in seconds, and how it ends. */
const steps: Readonly<Record<string, readonly [seconds: number, exitStatus: number]>> = {
  install: [4, 0],
  lint: [3, 1],
  types: [5, 0],
  "unit tests": [9, 0],
  integration: [12, 0],
  build: [7, 0],
  package: [4, 0]
}

/** An agent for each job, as the service sees it. */
const Runner = Layer.effect(
  JobRunner.JobRunner,
  Effect.gen(function* () {
    const services = yield* Effect.context<Effect.Services<ReturnType<typeof Agents.connect>>>()
    let count = 0
    return JobRunner.make(({ acquisitionToken, job, notify }) =>
      Effect.gen(function* () {
        const [seconds, exitStatus] = steps[job.step.key ?? ""] ?? [5, 0]
        yield* notify(`Pod linux-pool-${job.id.slice(0, 5)} is starting`)
        const token = Redacted.value(yield* acquisitionToken)
        yield* Effect.sleep("700 millis")
        const agent = yield* Agents.connect(token, {
          name: `linux-${++count}`,
          version: "3.137.0",
          meta_data: ["os=linux"]
        })
        yield* Agents.begin(agent, job.id)
        yield* Agents.upload(agent, job.id, 1, 0, "Done\r\n")
        yield* Effect.sleep(seconds * 1000)
        yield* Agents.finish(agent, job.id, exitStatus)
        yield* agent.ask("POST", "disconnect")
        return JobRunner.AgentOwned
      }).pipe(Effect.provide(services), Effect.orDie)
    )
  })
)

const addBuild = (number: number, queueKey: string) =>
  Effect.gen(function* () {
    const emulator = yield* StacksEmulator.StacksEmulator
    const ids = new Map<string, string>()
    const add = Effect.fnUntraced(function* (key: string, ...needs: ReadonlyArray<string>) {
      const [job] = yield* emulator.addJobs([
        {
          queueKey: key === "integration" ? "macos" : queueKey,
          step: { key },
          command: `make ${key}`,
          pipeline: { slug: "web-shop" },
          build: { number },
          dependsOn: needs.map((need) => ids.get(need) ?? "")
        }
      ])
      if (job !== undefined) ids.set(key, job.id)
    })
    yield* add("install")
    yield* add("lint", "install")
    yield* add("types", "install")
    yield* add("unit tests", "install")
    yield* add("integration")
    yield* add("build", "types", "unit tests")
    yield* add("package", "build")
  })

const scene = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const client = yield* StacksClient.StacksClient
  yield* Effect.forkScoped(Stack.run({ key: "linux-pool", type: "kubernetes", queueKey: "default", maxInFlight: 4 }))
  yield* addBuild(40, "default")
  yield* client.registerStack({ key: "mac-minis", type: "custom", queueKey: "macos" })
  yield* emulator.pauseQueue("macos", true)
  yield* Effect.sleep("9 seconds")
  yield* addBuild(41, "default")
  yield* emulator.setFaults([
    Fault.Status({ status: 503, retryAfter: "2 seconds", operations: ["getJobStates"], rate: 0.3 }),
    Fault.LostResponse({ operations: ["finishJob"], times: 3 })
  ])
  yield* Effect.sleep("17 seconds")
  const { page } = yield* visit({ width: 1400, height: 880 })
  yield* Effect.sleep("1 second")
  yield* Effect.promise(() => page.screenshot({ path: file }))
}).pipe(Effect.scoped)

NodeRuntime.runMain(
  scene.pipe(
    Effect.provide(Runner),
    Effect.provide([
      Browser.layer,
      Layer.provideMerge(NodeStacksEmulator.layerClient, NodeStacksEmulator.layer({ port: 4567 })),
      NodeHttpClient.layerUndici,
      Logger.layer([])
    ])
  )
)
