/** What is left of agents: nothing, however they and their stack end. */
import { type ChildProcess, fork } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { JobRunner } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { JobOutput } from "@stacksapi/node"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { isAlive, processes, processesWith, until } from "../support/processes.ts"
import type { Plan } from "../support/standInAgent.ts"
import { standIn } from "../support/standInAgentSetup.ts"
import { reserved, runner, service } from "../support/standInAgentStack.ts"

/** Runs an agent until its job has printed something. */
const begin = Effect.fnUntraced(function* (plan: Plan, printed: string) {
  const agents = yield* standIn
  yield* agents.setPlans({ "*": plan })
  const one = yield* reserved()
  const built = yield* Layer.build(runner(agents))
  const { run } = Context.get(built, JobRunner.JobRunner)
  const { lines, tail } = Context.get(built, JobOutput.JobOutput)
  const heard = yield* lines.pipe(
    Stream.filter(({ text }) => text.startsWith(printed)),
    Stream.runHead,
    Effect.forkChild({ startImmediately: true })
  )
  const fiber = yield* Effect.forkChild(run(one.context))
  yield* Fiber.join(heard)
  const pid = (text: string) =>
    Effect.map(tail(one.jobUuid), (lines) =>
      Number(lines.find((line) => line.startsWith(`${text} `))?.slice(text.length + 1))
    )
  return { ...one, fiber, mark: dirname(agents.agentPath), pid }
})

/** Lets the time of a fiber pass fast, while that of processes does not. */
const fast = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  TestClock.adjust("1 second").pipe(
    Effect.andThen(TestClock.withLive(Effect.sleep("20 millis"))),
    Effect.repeat({ until: () => fiber.pollUnsafe() !== undefined })
  )

describe("An agent that is stopped", () => {
  it.live("while its job runs, cancels the job and exits", () =>
    Effect.gen(function* () {
      const { fiber, job, mark } = yield* begin({ prints: ["working"], millis: 60_000 }, "working")
      yield* Fiber.interrupt(fiber)
      assert.isEmpty(processesWith(mark))
      const { exitStatus, signalReason, state } = (yield* job) ?? assert.fail()
      assert.deepStrictEqual([state, exitStatus, signalReason], ["finished", -1, "cancel"])
    }).pipe(Effect.scoped, Effect.provide(service))
  )

  it.live("is awaited by the runner's layer, but not by the stack", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { fiber, job, mark } = yield* Scope.provide(
        begin({ prints: ["working"], millis: 60_000 }, "working"),
        scope
      )
      yield* Effect.forkDetach(Fiber.interrupt(fiber), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.isEmpty(processesWith(mark))
      const { exitStatus, signalReason, state } = (yield* job) ?? assert.fail()
      assert.deepStrictEqual([state, exitStatus, signalReason], ["finished", -1, "cancel"])
    }).pipe(Effect.provide(service))
  )

  it.live("and ignores the first SIGTERM, exits after the second one", () =>
    Effect.gen(function* () {
      // The second SIGTERM is the first that it hears: it lets its job end.
      const { fiber, job, mark } = yield* begin({ prints: ["working"], millis: 3000, isDeafTo: 1 }, "working")
      yield* Fiber.interrupt(fiber)
      assert.isEmpty(processesWith(mark))
      assert.strictEqual((yield* job)?.exitStatus, 0)
    }).pipe(Effect.scoped, Effect.provide(service))
  )

  it.effect("and ignores all signals, is killed 10 seconds after cancelGracePeriod, with all of its descendants", () =>
    Effect.gen(function* () {
      const plan: Plan = { prints: ["working"], millis: 60_000, isDeafTo: 99, leavesBehind: "deaf" }
      const { fiber, mark, pid } = yield* begin(plan, "left")
      const left = yield* pid("left")
      assert.isTrue(isAlive(left))
      const stopping = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* TestClock.adjust("10900 millis")
      assert.isTrue(isAlive(left))
      assert.isDefined(processesWith(mark)[0])
      yield* fast(stopping)
      assert.isEmpty(processesWith(mark))
      assert.isFalse(isAlive(left))
    }).pipe(Effect.scoped, Effect.provide(service))
  )
})

describe("An agent that ends", () => {
  for (const [how, plan] of [
    ["in order", {}],
    ["by a signal", { breaks: "SIGKILL" }]
  ] satisfies ReadonlyArray<readonly [string, Plan]>) {
    it.effect(`${how} does not leave a process behind, even one that has left its group and is deaf`, () =>
      Effect.gen(function* () {
        const { fiber, mark } = yield* begin({ ...plan, leavesBehind: "deaf" }, "left")
        yield* fast(fiber)
        assert.isEmpty(processesWith(mark))
      }).pipe(Effect.scoped, Effect.provide(service))
    )
  }
})

describe("A stack whose jobs are run by agents", () => {
  const program = fileURLToPath(new URL("../support/standInAgentProcess.ts", import.meta.url))

  /** Starts one in a process of its own; gives what a user has of it. */
  const launch = Effect.fnUntraced(function* (plans: Record<string, Plan>, jobs: number) {
    const emulator = yield* StacksEmulator.StacksEmulator
    const agents = yield* standIn
    yield* agents.setPlans(plans)
    yield* emulator.addJobs(Array.from({ length: jobs }, () => ({ queueKey: "q" })))
    const mark = dirname(agents.agentPath)
    const events: Array<string> = []
    let output = ""
    const gone = Deferred.makeUnsafe<number | null>()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child: ChildProcess = fork(program, [agents.agentPath, agents.buildPath, join(mark, "plans.json")], {
          stdio: ["ignore", "pipe", "pipe", "ipc"],
          env: { ...process.env, BUILDKITE_CLUSTER_TOKEN: "bkct_emulator", BUILDKITE_AGENT_ENDPOINT: emulator.baseUrl }
        })
        child.on("message", (event) => events.push(String(event)))
        const keep = (text: Buffer) => {
          output += String(text)
        }
        child.stdout?.on("data", keep)
        child.stderr?.on("data", keep)
        child.once("close", (status) => Deferred.doneUnsafe(gone, Effect.succeed(status)))
        return child
      }),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const countOf = (event: string) => events.filter((other) => other === event).length
    return {
      child,
      countOf,
      emulator,
      gone: Deferred.await(gone),
      logs: join(agents.buildPath, "logs"),
      mark,
      output: () => output
    }
  })

  it.live("that gets SIGTERM lets them end, takes no more jobs, and leaves nothing", () =>
    Effect.gen(function* () {
      const { child, countOf, emulator, gone, mark } = yield* launch({ "*": { millis: 1500 } }, 40)
      yield* until(() => processesWith(mark).filter(({ commandLine }) => commandLine.includes("start")).length >= 8)
      child.kill("SIGTERM")
      yield* gone
      assert.isEmpty(processesWith(mark))
      const jobs = yield* emulator.jobs
      const finished = jobs.filter(({ state }) => state === "finished")
      // Those that had started have passed; the others wait for another stack.
      assert.strictEqual(finished.length, countOf("AgentOwned"))
      assert.isAtLeast(finished.length, 8)
      assert.deepStrictEqual(new Set(finished.map(({ exitStatus }) => exitStatus)), new Set([0]))
      assert.isAbove(jobs.length, finished.length)
    }).pipe(Effect.scoped, Effect.provide(service))
  )

  it.live("that gets SIGKILL leaves no process for longer than documented", () =>
    Effect.gen(function* () {
      const { child, gone, mark } = yield* launch({ "*": { millis: 60_000, leavesBehind: "plain" } }, 40)
      const left = () => processesWith(mark).filter(({ commandLine }) => commandLine.includes("sleep 600"))
      yield* until(() => left().length >= 8)
      const reaper = processes().find(
        ({ commandLine, parent }) => parent === child.pid && commandLine.includes("stacksapi-reaper")
      )
      assert.isDefined(reaper)
      child.kill("SIGKILL")
      yield* gone
      const started = performance.now()
      yield* until(() => processesWith(mark).length === 0)
      // One second for the job of a canceled agent, and fifteen, where there is somebody to count them: by themselves they
      // would be there for minutes.
      assert.isBelow(performance.now() - started, 60_000)
      yield* until(() => reaper === undefined || !isAlive(reaper.pid))
    }).pipe(Effect.scoped, Effect.provide(service))
  )

  it.live("shows no token in the process list, in logs, or to its jobs", () =>
    Effect.gen(function* () {
      const plan: Plan = { prints: ["$BUILDKITE_AGENT_TOKEN"], millis: 400, leavesBehind: "plain" }
      const { child, countOf, gone, logs, mark, output } = yield* launch({ "*": plan }, 12)
      const commandLines = new Set<string>()
      const jobEnvironments = new Set<string>()
      yield* until(() => {
        for (const { commandLine, environment } of processesWith(mark)) {
          commandLines.add(commandLine)
          if (commandLine.includes("sleep 600")) jobEnvironments.add(environment)
        }
        for (const { commandLine } of processes()) commandLines.add(commandLine)
        return countOf("AgentOwned") === 12
      })
      child.kill("SIGTERM")
      yield* gone
      const files = readdirSync(logs).map((file) => readFileSync(join(logs, file), "utf8"))
      assert.isNotEmpty(jobEnvironments)
      assert.strictEqual(files.length, 12)
      assert.isTrue(files.every((text) => text.includes("[REDACTED]")))
      for (const text of [...commandLines, ...jobEnvironments, ...files, output()])
        assert.notMatch(text, /bk(ct|jat)_\w/)
    }).pipe(Effect.scoped, Effect.provide(service))
  )
})
