/** A stack of containers as its users run it: the command `stacksapi`, an Engine, and containers that outlive both. */
import { readFileSync, renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Context, Effect, Layer } from "effect"
import { bin, environmentOf, start } from "../support/cli.ts"
import * as Docker from "../support/docker.ts"
import * as Images from "../support/dockerImages.ts"
import * as Random from "../support/random.ts"
import type { Plan } from "../support/standInAgent.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

class TestEngine extends Context.Service<TestEngine, Docker.Engine>()("TestEngine") {}

const image = "stacksapi-stand-in:1"

const Engine = Layer.effect(
  TestEngine,
  Effect.tap(Docker.engine(), (engine) => Images.importStandIn(engine, image))
)

/** An image with the real agent that this variable names, else with the stand-in. */
const agentImage = Effect.gen(function* () {
  const { BUILDKITE_AGENT_PROGRAM: program } = process.env
  if (program === undefined) return image
  yield* Images.importRealAgent(yield* TestEngine, "stacksapi-real-agent:1", program)
  return "stacksapi-real-agent:1"
})

/** A folder that containers have as /plans. */
const plansFolder = Effect.map(temporaryFolder, (folder) => {
  const acquired = join(folder, "acquired")
  writeFileSync(acquired, "")
  return {
    folder,
    setPlans: (plans: Readonly<Record<string, Plan>>) => {
      // In one step: an agent may be reading them.
      writeFileSync(join(folder, "plans.next"), JSON.stringify(plans))
      renameSync(join(folder, "plans.next"), join(folder, "plans.json"))
    },
    /** The jobs that agents have acquired, in that order. */
    acquired: () =>
      readFileSync(acquired, "utf8")
        .split("\n")
        .filter((id) => id !== "")
  }
})

type Plans = Effect.Success<typeof plansFolder>

const until = <E, R>(isSo: Effect.Effect<boolean, E, R>) =>
  isSo.pipe(Effect.delay("50 millis"), Effect.repeat({ until: (so) => so }), Effect.asVoid)

/** Starts a process of the stack; ready when it has registered. */
const launch = Effect.fnUntraced(function* (key: string, { folder }: Plans, agents = image) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const { host } = yield* TestEngine
  const registrations = Effect.map(
    emulator.requests,
    (all) => all.filter(({ operation }) => operation === "registerStack").length
  )
  const before = yield* registrations
  const running = yield* start(
    process.execPath,
    [
      ...[bin, "run", "--key", key, "--queue", "q", "--max-in-flight", "8", "--format", "json"],
      ...["--runner", "docker", "--image", agents, "--pull", "never", "--docker-host", host],
      ...["--network", "host", "--memory", "128m", "--volume", `${folder}:/plans`],
      ...["--container-env", "STAND_IN_ACQUIRED=/plans/acquired", "--store", join(folder, "store")]
    ],
    environmentOf(emulator)
  )
  yield* until(Effect.map(registrations, (count) => count > before))
  return running
})

const isGone = (key: string) =>
  Effect.flatMap(TestEngine, (engine) => Effect.map(Docker.containers(engine, key), ({ length }) => length === 0))

const isDone = Effect.map(
  Effect.flatMap(StacksEmulator.StacksEmulator, ({ jobs }) => jobs),
  (jobs) => jobs.every(({ state }) => state === "finished" || state === "canceled")
)

/** What becomes of the jobs. An agent that never acquires its job does so only at first: its job must not be lost. */
const kinds = [
  "passes",
  "passes",
  "fails",
  "passes",
  "isCanceled",
  "passes",
  "hogs",
  "passes",
  "passes",
  "neverAcquires"
]

const planOf = (kind: string | undefined, millis: number): Plan => {
  switch (kind) {
    case "fails":
      return { millis, jobExits: 3 }
    case "isCanceled":
      return { millis: 24 * 3600 * 1000 }
    case "hogs":
      return { hogs: true }
    case "neverAcquires":
      return { quits: 1 }
    default:
      return { millis }
  }
}

const expected: Readonly<Record<string, string>> = {
  passes: "finished 0",
  neverAcquires: "finished 0",
  fails: "finished 3",
  hogs: "finished 137",
  isCanceled: "canceled -1"
}

layer(Engine, { excludeTestServices: true })("A stack of containers", (it) => {
  it.effect(
    "runs each of 60 jobs once though agents fail, are canceled, run out of memory and don't start, the stack is killed five times, and the Engine once",
    () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const engine = yield* TestEngine
        const plans = yield* plansFolder
        const key = `stack-${process.pid}`
        const random = Random.make(14)
        const ids = (yield* emulator.addJobs(Array.from({ length: 60 }, () => ({ queueKey: "q" })))).map(({ id }) => id)
        const kindOf = new Map(ids.map((id, index) => [id, kinds[index % kinds.length] ?? ""]))
        const byJob = Object.fromEntries(ids.map((id) => [id, planOf(kindOf.get(id), random.between(0, 2000))]))
        plans.setPlans(byJob)
        let most = 0
        const watchAndHelp = Effect.gen(function* () {
          most = Math.max(
            most,
            (yield* Docker.containers(engine, key)).filter(({ State }) => State === "running").length
          )
          // A user cancels a job that has begun.
          for (const id of plans.acquired()) if (kindOf.get(id) === "isCanceled") yield* emulator.cancelJob(id)
          // The mistake is found, and the agents start from now on.
          for (const { detail, jobUuid } of yield* emulator.notifications) {
            if (
              !detail.startsWith("The agent ended before it had acquired the job") ||
              byJob[jobUuid]?.quits === undefined
            )
              continue
            byJob[jobUuid] = {}
            plans.setPlans(byJob)
          }
        }).pipe(
          // The Engine is away for a while.
          Effect.ignoreCause,
          Effect.andThen(Effect.sleep("100 millis")),
          Effect.forever
        )
        yield* Effect.forkScoped(watchAndHelp)

        const startedAt = performance.now()
        const outputs: Array<string> = []
        let running = yield* launch(key, plans)
        for (let kill = 1; kill <= 5; kill++) {
          // At any moment of its work, and never after its end.
          yield* until(Effect.sync(() => plans.acquired().length >= kill * 8))
          yield* Effect.sleep(random.between(0, 1000))
          yield* running.kill("SIGKILL")
          const { stderr, stdout } = yield* running.ended
          outputs.push(stdout, stderr)
          running = yield* launch(key, plans)
          if (kill !== 3) continue
          yield* engine.kill
          yield* Effect.sleep("1 second")
          yield* engine.start
        }
        yield* until(isDone)
        yield* until(isGone(key))
        const seconds = (performance.now() - startedAt) / 1000

        for (const { exitStatus, id, state } of yield* emulator.jobs) {
          assert.strictEqual(`${state} ${exitStatus}`, expected[kindOf.get(id) ?? ""], kindOf.get(id))
        }
        const acquired = plans.acquired()
        assert.strictEqual(acquired.length, 60)
        assert.deepStrictEqual(new Set(acquired), new Set(ids))
        assert.isAtMost(most, 8)
        assert.isAbove(most, 1)
        // None has waited for the end of a reservation: all took less time than one lasts.
        assert.isBelow(seconds, 15 * 60)
        const told = (yield* emulator.notifications).map(({ detail, jobUuid }) => `${kindOf.get(jobUuid)}: ${detail}`)
        assert.include(told, "hogs: The agent failed: The container ran out of memory: its limit is 128 MiB")
        assert.isTrue(told.some((text) => /^neverAcquires: .*its last line: Starting agent-/.test(text)))
        yield* running.kill("SIGTERM")
        const { stderr, stdout } = yield* running.ended
        outputs.push(stdout, stderr)
        assert.notMatch(outputs.join(""), /bkct_|bkjat_/)
      }).pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer())),
    // Six processes start, one after the other, and sixty containers.
    900_000
  )

  it.effect("runs, fails and cancels jobs by a real agent, if BUILDKITE_AGENT_PROGRAM names one", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const plans = yield* plansFolder
      const key = `agents-${process.pid}`
      const job = (command: string) => ({ queueKey: "q", command, env: { BUILDKITE_SKIP_CHECKOUT: "true" } })
      const [passing, failing, endless] = yield* emulator.addJobs([job("id"), job("exit 7"), job("sleep 600")])
      assert(passing !== undefined && failing !== undefined && endless !== undefined)
      plans.setPlans({ [failing.id]: { jobExits: 7 }, [endless.id]: { millis: 600_000 } })
      const running = yield* launch(key, plans, yield* agentImage)
      const isAtWork = Effect.map(emulator.jobs, (jobs) =>
        jobs.some(({ id, state }) => id === endless.id && state === "running")
      )
      yield* until(isAtWork)
      yield* emulator.cancelJob(endless.id)
      yield* until(isDone)
      yield* until(isGone(key))
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ exitStatus, state }) => `${state} ${exitStatus}`),
        ["finished 0", "finished 7", "canceled -1"]
      )
      yield* running.kill("SIGTERM")
      const { stderr, stdout } = yield* running.ended
      assert.notMatch(stdout + stderr, /bkct_|bkjat_/)
    }).pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer()))
  )

  it.effect("is replaced by a new version without an end of a job, and agents are listed and deleted by hand", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const { host } = yield* TestEngine
      const plans = yield* plansFolder
      const key = `rolling-${process.pid}`
      plans.setPlans({ "*": { millis: 4000 } })
      yield* emulator.addJobs(Array.from({ length: 10 }, () => ({ queueKey: "q" })))
      let running = yield* launch(key, plans)
      for (const count of [3, 6]) {
        yield* until(Effect.sync(() => plans.acquired().length >= count))
        yield* running.kill("SIGTERM")
        const { status, stderr } = yield* running.ended
        assert.strictEqual(status, 0, stderr)
        running = yield* launch(key, plans)
      }
      yield* until(isDone)
      yield* until(isGone(key))
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ exitStatus, state }) => `${state} ${exitStatus}`),
        Array.from({ length: 10 }, () => "finished 0")
      )
      assert.strictEqual(plans.acquired().length, 10)

      plans.setPlans({ "*": { millis: 24 * 3600 * 1000, prints: ["at work"] } })
      const [job] = yield* emulator.addJobs([{ queueKey: "q" }])
      yield* until(Effect.sync(() => plans.acquired().length === 11))
      yield* running.kill("SIGTERM")
      yield* running.ended
      const agents = (...args: ReadonlyArray<string>) =>
        Effect.flatMap(
          start(process.execPath, [bin, "agents", ...args, "--key", key], { STACKSAPI_DOCKER_HOST: host }),
          ({ ended }) => ended
        )
      const { stdout } = yield* agents("list", "--json")
      const listed = JSON.parse(stdout)
      assert.deepStrictEqual([listed.jobUuid, listed.phase], [job?.id, "Running"])
      assert.match((yield* agents("delete")).stderr, new RegExp(`^Deleted the agents of the stack ${key}: 1$`, "m"))
      assert.isTrue(yield* isGone(key))
      assert.match((yield* agents("list")).stderr, new RegExp(`^The stack ${key} has no agents$`, "m"))
    }).pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer()))
  )
})
