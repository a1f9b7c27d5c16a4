/** The stack on virtual machines as its users run it: a process, an HTTP API, and machines that outlive both. */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { AgentProvider } from "@stacksapi/core"
import { AgentProviderContract, StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { makeProvider } from "../../examples/vm-agents.ts"
import { environmentOf, start } from "../support/cli.ts"
import * as Random from "../support/random.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import * as VmService from "../support/vmService.ts"

const program = join(import.meta.dirname, "../../examples/vm-agents.ts")

const until = <E, R>(isSo: Effect.Effect<boolean, E, R>) =>
  isSo.pipe(Effect.delay("50 millis"), Effect.repeat({ until: (so) => so }), Effect.asVoid)

/** Starts the example's process; ready when it has registered. */
const launch = Effect.fnUntraced(function* (vms: VmService.VmService, folder: string) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const registrations = Effect.map(
    emulator.requests,
    (all) => all.filter(({ operation }) => operation === "registerStack").length
  )
  const before = yield* registrations
  const running = yield* start(process.execPath, [program], {
    ...environmentOf(emulator),
    VM_API_URL: vms.url,
    VM_API_TOKEN: vms.token,
    STACK_QUEUE: "q",
    STACK_CPUS: "8",
    STACK_STORE: join(folder, "jobs"),
    STACK_START_DEADLINE: "6 seconds"
  })
  yield* until(Effect.map(registrations, (count) => count > before))
  return running
})

const add = Effect.fnUntraced(function* (count: number, sizes: ReadonlyArray<string>) {
  const { addJobs } = yield* StacksEmulator.StacksEmulator
  const jobs = Array.from({ length: count }, (_, index) => {
    const size = sizes[index % sizes.length]
    return { queueKey: "q", agentQueryRules: size === undefined ? [] : [`size=${size}`] }
  })
  return (yield* addJobs(jobs)).map(({ id }) => id)
})

const unfinished = Effect.gen(function* () {
  const { jobs } = yield* StacksEmulator.StacksEmulator
  return (yield* jobs).filter(({ state }) => state !== "finished").length
})

const statusOf = (jobUuid: string) => Number.parseInt(jobUuid.slice(-1), 16) % 3

describe("A stack on virtual machines", () => {
  it.live(
    "runs each of 60 jobs once though machines don't boot, answers get lost, and it is killed ten times",
    () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const folder = yield* temporaryFolder
        const random = Random.make(13)
        const vms = yield* VmService.start({
          cpus: 8,
          seed: 13,
          failing: 0.15,
          hanging: 0.08,
          losing: 0.1,
          work: (jobUuid) => ({
            millis: 300 + (Number.parseInt(jobUuid.slice(-3), 16) % 1500),
            exitStatus: statusOf(jobUuid)
          })
        })
        const startedAt = performance.now()
        const ids = yield* add(60, ["small", "large", "medium", "small", "medium"])
        let killedInMidRun = 0
        let running = yield* launch(vms, folder)
        for (let kill = 0; kill < 10; kill++) {
          yield* Effect.sleep(random.between(0, 4000))
          if ((yield* unfinished) > 0) killedInMidRun++
          yield* running.kill("SIGKILL")
          yield* running.ended
          running = yield* launch(vms, folder)
        }
        yield* until(Effect.map(unfinished, (count) => count === 0))
        yield* until(Effect.sync(() => vms.machines().length === 0))
        const seconds = (performance.now() - startedAt) / 1000

        assert.strictEqual(killedInMidRun, 10)
        const jobs = yield* emulator.jobs
        for (const { exitStatus, id } of jobs) assert.strictEqual(exitStatus, statusOf(id), id)
        assert.deepStrictEqual(Object.fromEntries(vms.acquired), Object.fromEntries(ids.map((id) => [id, 1])))
        assert.isEmpty(vms.mistakes)
        assert.isAtMost(vms.counts.mostCpus, 8)
        // It never asked for more than there is.
        assert.strictEqual(vms.counts.refused, 0)
        assert.isAbove(vms.fates.failsToBoot, 3)
        assert.isAbove(vms.fates.hangs, 1)
        assert.isAbove(vms.counts.lost, 20)
        // No job has waited for the end of a reservation: all took less time than one lasts.
        assert.isBelow(seconds, 15 * 60)
        yield* running.kill("SIGTERM")
        const { stderr, stdout } = yield* running.ended
        assert.notMatch(stdout + stderr, /bkct_|bkjat_|vm-token/)
      }).pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer())),
    // Eleven processes start, one after the other.
    600_000
  )

  it.live("leaves its machines at work when it is stopped, and the next process goes on with them", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const folder = yield* temporaryFolder
      const vms = yield* VmService.start({ cpus: 8, seed: 1, work: () => ({ millis: 8000, exitStatus: 0 }) })
      yield* add(6, ["medium"])
      const first = yield* launch(vms, folder)
      const atWork = Effect.sync(() => vms.machines().filter(({ isAtWork }) => isAtWork).length)
      yield* until(Effect.map(atWork, (count) => count === 4))
      yield* first.kill("SIGTERM")
      yield* first.ended
      assert.strictEqual(yield* atWork, 4)
      const second = yield* launch(vms, folder)
      yield* until(Effect.map(unfinished, (count) => count === 0))
      yield* until(Effect.sync(() => vms.machines().length === 0))
      assert.deepStrictEqual(new Set((yield* emulator.jobs).map(({ exitStatus }) => exitStatus)), new Set([0]))
      assert.strictEqual(vms.counts.created, 6)
      assert.isEmpty(vms.mistakes)
      yield* second.kill("SIGTERM")
      yield* second.ended
    }).pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer()))
  )

  it.live("waits where there is less room than it believes, and fails no job", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const folder = yield* temporaryFolder
      const vms = yield* VmService.start({ cpus: 4, seed: 1, work: () => ({ millis: 1000, exitStatus: 0 }) })
      yield* add(6, ["large", "small", "medium"])
      const running = yield* launch(vms, folder)
      yield* until(Effect.map(unfinished, (count) => count === 0))
      yield* until(Effect.sync(() => vms.machines().length === 0))
      assert.deepStrictEqual(new Set((yield* emulator.jobs).map(({ exitStatus }) => exitStatus)), new Set([0]))
      assert.isAbove(vms.counts.refused, 0)
      assert.isAtMost(vms.counts.mostCpus, 4)
      yield* running.kill("SIGTERM")
      yield* running.ended
    }).pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer()))
  )

  describe("has a provider that keeps the contract:", () => {
    const cases = AgentProviderContract.cases({
      pollInterval: "50 millis",
      endedWithin: "10 seconds",
      adapt: (request) => ({ ...request, requests: { cpus: 1 } })
    })
    for (const [rule, check] of Object.entries(cases)) {
      it.live(rule, () =>
        Effect.gen(function* () {
          const vms = yield* VmService.start({
            cpus: 100,
            seed: 1,
            losing: 0.1,
            work: () => ({ millis: 0, exitStatus: 0 })
          })
          const provider = yield* makeProvider(vms.url, Redacted.make(vms.token))
          yield* Effect.provideService(check, AgentProvider.AgentProvider, provider)
          assert.isEmpty(vms.machines())
        }).pipe(Effect.scoped, Effect.provide([FetchHttpClient.layer, NodeStacksEmulator.layer()]))
      )
    }
  })
})
