/** Runs the recipes of the cookbook as they stand, against the emulator. */
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { promisify } from "node:util"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import type { AgentProvider, StacksClient } from "@stacksapi/core"
import { JobRunner } from "@stacksapi/core"
import { AgentProviderEmulator, StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Fiber, FileSystem, Layer, Logger } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { writeSnippets } from "./snippets.ts"

const snippets = writeSnippets("cookbook")

type Program<R = never> = Effect.Effect<unknown, unknown, R | StacksClient.StacksClient | JobRunner.JobRunner>

/** What a recipe's first code block exports as its program. */
const recipe = <A = Program>(page: string): Effect.Effect<{ readonly program: A }> =>
  Effect.promise(() => {
    const snippet = snippets.find(({ name }) => name.startsWith(`docs/cookbook/${page}.md`))
    return import(snippet?.path ?? assert.fail(`${page} has no code`))
  })

/** Lets seconds pass. */
const pass = (seconds: number) => TestClock.adjust("1 second").pipe(Effect.repeat({ times: seconds - 1 }))

const states = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  return Object.fromEntries((yield* emulator.jobs).map(({ id, state }) => [id, state]))
})

const addJobs = (jobs: Parameters<StacksEmulator.Service["addJobs"]>[0]) =>
  Effect.flatMap(StacksEmulator.StacksEmulator, (emulator) => emulator.addJobs(jobs))

/** A runner whose jobs take a minute, and the jobs that it runs. */
const slowRunner = () => {
  const running = new Set<string>()
  const layer = JobRunner.layer(({ job }) =>
    Effect.gen(function* () {
      running.add(job.id)
      yield* Effect.sleep("1 minute")
      return JobRunner.Finished({ exitStatus: 0, detail: "done" })
    }).pipe(Effect.ensuring(Effect.sync(() => running.delete(job.id))))
  )
  return { layer, running }
}

/** The files of a recipe's code blocks. */
const filesOf = (page: string): ReadonlyArray<string> =>
  snippets.filter(({ name }) => name.startsWith(`docs/cookbook/${page}.md`)).map(({ path }) => path)

/** Runs a file as a program of its own, and returns what it prints. */
const runFile = (file = "", env: NodeJS.ProcessEnv) =>
  Effect.promise(async () => (await promisify(execFile)(process.execPath, [file], { env })).stdout)

/** Starts the recipe's control server on free ports. */
const controlServer = Effect.fn(function* (file = "") {
  const env = { ...process.env, CONTROL_PORT: "0", EMULATOR_PORT: "0" }
  const server = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(process.execPath, [file], { env, stdio: ["ignore", "pipe", "inherit"] })),
    (server) =>
      Effect.promise(async () => {
        const exit = once(server, "exit")
        server.kill()
        await exit
      })
  )
  return yield* Effect.promise(async () => {
    let printed = ""
    for await (const chunk of server.stdout) {
      printed += String(chunk)
      const [, endpoint, control] = /^BUILDKITE_AGENT_ENDPOINT=(.+)\nCONTROL=(.+)\n/.exec(printed) ?? []
      if (endpoint !== undefined && control !== undefined) return { control, endpoint }
    }
    return assert.fail(`The server ended: ${printed}`)
  })
})

/** For recipes that bring a runner of their own, or need none. */
const noRunner = JobRunner.layer(() => Effect.die("not used"))

/** For jobs that can't run. */
const broken = JobRunner.layer(() => Effect.fail(new JobRunner.JobRunnerError({ message: "No machine has this size" })))

/** Layers over an emulator in memory. */
const inEmulator = <A, E, R>(layer: Layer.Layer<A, E, R>) => Layer.provideMerge(layer, StacksEmulator.layerTest())

describe("The cookbook", () => {
  it.effect("runs a virtual machine for each job, within the capacity", () =>
    Effect.gen(function* () {
      const { program } = yield* recipe<Program<AgentProvider.AgentProvider>>("vm-per-job")
      yield* addJobs(Array.from({ length: 40 }, (_, i) => ({ id: `job-${i}`, queueKey: "_default" })))
      yield* Effect.forkScoped(program)
      const provider = yield* AgentProviderEmulator.AgentProviderEmulator
      let most = 0
      for (let i = 0; i < 60; i++) {
        yield* pass(1)
        most = Math.max(most, (yield* provider.agents).length)
      }
      assert.strictEqual(most, 32)
      assert.deepStrictEqual(new Set(Object.values(yield* states)), new Set(["finished"]))
    }).pipe(
      Effect.scoped,
      Effect.provide(inEmulator(Layer.merge(AgentProviderEmulator.layer({ runTime: () => "10 seconds" }), noRunner)))
    )
  )

  it.effect("counts the CPUs of jobs by the size that they ask for", () => {
    const { layer, running } = slowRunner()
    return Effect.gen(function* () {
      const { program } = yield* recipe("sizes-by-tag")
      const sized = (id: string, size: string) => ({ id, queueKey: "_default", agentQueryRules: [`size=${size}`] })
      yield* addJobs([sized("l1", "large"), sized("l2", "large"), sized("l3", "large"), sized("huge", "huge")])
      const fiber = yield* Effect.forkScoped(program)
      yield* pass(5)
      assert.deepStrictEqual([...running].sort(), ["l1", "l2"])
      yield* pass(130)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* states, { l1: "finished", l2: "finished", l3: "finished", huge: "scheduled" })
    }).pipe(Effect.scoped, Effect.provide(inEmulator(layer)))
  })

  it.effect("serves many queues on shared slots", () => {
    const { layer, running } = slowRunner()
    return Effect.gen(function* () {
      const { program } = yield* recipe("many-queues")
      for (const queueKey of ["linux", "deploy", "nightly"])
        yield* addJobs(Array.from({ length: 20 }, (_, i) => ({ id: `${queueKey}-${i}`, queueKey })))
      const fiber = yield* Effect.forkScoped(program)
      yield* pass(10)
      const count = (queue: string) => [...running].filter((id) => id.startsWith(queue)).length
      assert.strictEqual(running.size, 10)
      assert.isAtMost(count("nightly"), 2)
      assert.isAbove(count("deploy"), count("linux"))
      yield* Fiber.interrupt(fiber).pipe(Effect.forkScoped)
      yield* pass(90)
    }).pipe(Effect.scoped, Effect.provide(inEmulator(layer)))
  })

  it.effect("bounds how many jobs of a pipeline run at once", () => {
    const { layer, running } = slowRunner()
    return Effect.gen(function* () {
      const { program } = yield* recipe("quotas")
      const jobs = (slug: string) =>
        Array.from({ length: 3 }, (_, i) => ({ id: `${slug}-${i}`, queueKey: "_default", pipeline: { slug } }))
      yield* addJobs([...jobs("docs"), ...jobs("nightly-benchmarks"), ...jobs("app")])
      const fiber = yield* Effect.forkScoped(program)
      yield* pass(5)
      const count = (slug: string) => [...running].filter((id) => id.startsWith(slug)).length
      assert.deepStrictEqual([count("docs"), count("nightly-benchmarks"), count("app")], [1, 2, 3])
      yield* pass(250)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(new Set(Object.values(yield* states)), new Set(["finished"]))
    }).pipe(Effect.scoped, Effect.provide(inEmulator(layer)))
  })

  it.effect("takes only the jobs of some pipelines, and says which it leaves", () => {
    const { layer, running } = slowRunner()
    const logged: Array<string> = []
    const logger = Logger.make(({ message }) => void logged.push(String(message)))
    return Effect.gen(function* () {
      const { program } = yield* recipe("only-some-pipelines")
      const job = (slug: string) => ({ id: slug, queueKey: "_default", pipeline: { slug } })
      yield* addJobs(["app", "docs", "other"].map(job))
      const fiber = yield* Effect.forkScoped(program)
      yield* pass(5)
      assert.deepStrictEqual([...running].sort(), ["app", "docs"])
      yield* pass(70)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* states, { app: "finished", docs: "finished", other: "scheduled" })
      assert.include(logged, "Job other is not admitted: admit said no")
    }).pipe(Effect.scoped, Effect.provide(inEmulator(Layer.merge(Logger.layer([logger]), layer))))
  })

  it.effect("says in a dry run what a stack would take, and reserves nothing", () => {
    const logged: Array<string> = []
    const logger = Logger.make(({ message }) => void logged.push(String(message)))
    return Effect.gen(function* () {
      const { program } = yield* recipe("dry-run")
      yield* addJobs([
        { id: "mine", queueKey: "_default", pipeline: { slug: "app" }, agentQueryRules: ["os=linux"] },
        { id: "other", queueKey: "_default", agentQueryRules: ["os=windows"] }
      ])
      yield* Effect.forkScoped(program)
      yield* pass(30)
      assert.deepStrictEqual(
        logged.filter((line) => line.startsWith("would take")),
        ["would take mine of app"]
      )
      assert.deepStrictEqual(yield* states, { mine: "scheduled", other: "scheduled" })
    }).pipe(Effect.scoped, Effect.provide(inEmulator(Layer.merge(Logger.layer([logger]), noRunner))))
  })

  it.effect("retries requests with a backoff of its own", () =>
    Effect.gen(function* () {
      const { program } = yield* recipe("custom-backoff")
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.setFaults([StacksEmulator.Fault.Status({ status: 503, operations: ["getTokenIdentity"] })])
      const fiber = yield* Effect.forkScoped(Effect.exit(program))
      yield* pass(90)
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Failure")
      const sent = (yield* emulator.requests).length
      assert.isAbove(sent, 4)
      assert.isBelow(sent, 9)
    }).pipe(Effect.scoped, Effect.provide(inEmulator(noRunner)))
  )

  it.effect("calls a webhook when a job can't run", () => {
    const alerts: Array<unknown> = []
    const webhook = HttpClient.make((request) =>
      Effect.sync(() => {
        alerts.push(request.body._tag === "Uint8Array" ? JSON.parse(new TextDecoder().decode(request.body.body)) : "")
        return HttpClientResponse.fromWeb(request, new Response(null, { status: 204 }))
      })
    )
    return Effect.gen(function* () {
      const { program } = yield* recipe<Program<HttpClient.HttpClient>>("alerts")
      yield* addJobs([{ id: "job-1", queueKey: "_default" }])
      const fiber = yield* Effect.forkScoped(program)
      yield* pass(10)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(alerts, [{ text: "Job job-1 could not run: No machine has this size" }])
    }).pipe(Effect.scoped, Effect.provideService(HttpClient.HttpClient, webhook), Effect.provide(inEmulator(broken)))
  })

  it.live("hands working agents over to the next process, and ends no job", () =>
    Effect.gen(function* () {
      type Upgrade = (jobsFile: string) => Program<AgentProvider.AgentProvider>
      const { program } = yield* recipe<Upgrade>("upgrades")
      const { makeTempDirectoryScoped } = yield* FileSystem.FileSystem
      const jobsFile = `${yield* makeTempDirectoryScoped()}/jobs`
      const provider = yield* AgentProviderEmulator.AgentProviderEmulator
      yield* addJobs(Array.from({ length: 5 }, (_, i) => ({ id: `job-${i}`, queueKey: "_default" })))
      const old = yield* Effect.forkScoped(program(jobsFile))
      yield* Effect.repeat(Effect.delay(states, "50 millis"), {
        until: (all) => Object.values(all).every((state) => state === "running")
      })
      yield* Fiber.interrupt(old)
      assert.lengthOf(yield* provider.agents, 5)
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* Effect.forkScoped(program(jobsFile))
      for (const id of Object.keys(yield* states)) yield* emulator.completeJob(id)
      yield* Effect.repeat(Effect.delay(provider.agents, "50 millis"), { until: (agents) => agents.length === 0 })
      assert.strictEqual((yield* provider.calls).created, 5)
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ exitStatus }) => exitStatus),
        Array(5).fill(0)
      )
    }).pipe(
      Effect.scoped,
      Effect.provide(inEmulator(Layer.merge(AgentProviderEmulator.layer({ runTime: () => "1 hour" }), noRunner))),
      Effect.provide([NodeFileSystem.layer, Logger.layer([])])
    )
  )

  it.effect("runs the jobs of all pages by the loop of a program that used the Go client", () =>
    Effect.gen(function* () {
      const { program } = yield* recipe("from-go")
      const emulator = yield* StacksEmulator.StacksEmulator
      const linux = (id: string, command = "true") => ({
        id,
        queueKey: "_default",
        agentQueryRules: ["os=linux"],
        command
      })
      const others = Array.from({ length: 1000 }, (_, i) => `windows-${i}`)
      yield* addJobs(others.map((id) => ({ id, queueKey: "_default", agentQueryRules: ["os=windows"] })))
      yield* addJobs([linux("passes"), linux("fails", "false"), linux("canceled")])
      const ends = Effect.map(emulator.jobs, (jobs) =>
        jobs.slice(1000).map(({ exitStatus, id, signalReason, state }) => [id, state, exitStatus, signalReason])
      )

      const loop = yield* Effect.forkScoped(program)
      yield* pass(3)
      const listed = yield* states
      assert.deepStrictEqual(new Set(others.map((id) => listed[id])), new Set(["scheduled"]))
      yield* Effect.forEach([...others, "canceled"], emulator.cancelJob)
      yield* pass(70)
      yield* emulator.pauseQueue("_default", true)
      yield* addJobs([linux("stopped")])
      yield* pass(5)
      assert.deepStrictEqual((yield* ends).at(-1), ["stopped", "scheduled", undefined, undefined])
      yield* emulator.pauseQueue("_default", false)
      yield* pass(5)
      yield* Fiber.interrupt(loop)
      assert.deepStrictEqual(yield* ends, [
        ["passes", "finished", 0, undefined],
        ["fails", "finished", 1, undefined],
        ["canceled", "canceled", undefined, undefined],
        ["stopped", "finished", -1, "stack_error"]
      ])
      assert.lengthOf(yield* emulator.notifications, 4)
      assert.lengthOf(yield* emulator.stacks, 0)
    }).pipe(Effect.scoped, Effect.provide(inEmulator(noRunner)))
  )

  it.live("runs calls and a stack in a program of promises", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs([
        { id: "job-1", queueKey: "_default", command: "echo hello" },
        { id: "job-2", queueKey: "_default", command: "exit 3" }
      ])
      const env = {
        ...process.env,
        BUILDKITE_AGENT_ENDPOINT: emulator.baseUrl,
        BUILDKITE_CLUSTER_TOKEN: "bkct_emulator"
      }
      const [calls, stack] = filesOf("without-effect")
      assert.strictEqual(yield* runFile(calls, env), "echo hello\nexit 3\n")
      const refused = yield* runFile(calls, { ...env, BUILDKITE_CLUSTER_TOKEN: "bkct_wrong" })
      assert.match(refused, /^ErrorResponse: POST .*: 401 /)

      yield* runFile(stack, env)
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ detail, exitStatus }) => [exitStatus, detail?.split(":")[0]]),
        [
          [0, "hello"],
          [-1, "The command failed"]
        ]
      )
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )

  it.live("serves an emulator that a program in another language controls", () =>
    Effect.gen(function* () {
      const [file] = filesOf("control-server")
      const { control, endpoint } = yield* controlServer(file)
      const send = (method: string, path: string, body?: unknown) =>
        Effect.promise(() =>
          fetch(`${control}${path}`, { method, body: body === undefined ? null : JSON.stringify(body) })
        )
      const list = Effect.promise(() =>
        fetch(`${endpoint}/stacks/other/scheduled-jobs?queue_key=_default`, {
          headers: { authorization: "Token bkct_emulator" }
        })
      )

      const added = yield* send("POST", "/jobs", [
        { id: "a", queueKey: "_default" },
        { id: "b", queueKey: "_default" }
      ])
      assert.deepStrictEqual(yield* Effect.promise(() => added.json()), ["a", "b"])
      assert.strictEqual((yield* send("POST", "/jobs", [{ command: "true" }])).status, 400)
      assert.strictEqual((yield* send("POST", "/jobs/b/cancel")).status, 204)
      const jobs = yield* send("GET", "/jobs")
      assert.deepStrictEqual(yield* Effect.promise(() => jobs.json()), [
        { id: "a", state: "scheduled" },
        { id: "b", state: "canceled" }
      ])
      assert.strictEqual((yield* send("PUT", "/outage", { status: 503, times: 1 })).status, 204)
      assert.strictEqual((yield* list).status, 503)
      assert.strictEqual((yield* list).status, 404)
      yield* Effect.promise(() =>
        fetch(`${endpoint}/stacks/register`, {
          method: "POST",
          headers: { authorization: "Token bkct_emulator", "content-type": "application/json" },
          body: JSON.stringify({ key: "other", type: "custom", queue_key: "_default", metadata: {} })
        })
      )
      assert.strictEqual((yield* send("PUT", "/queues/_default", { isPaused: true })).status, 204)
      const page = yield* list
      assert.include(yield* Effect.promise(() => page.text()), '"dispatch_paused":true')
    }).pipe(Effect.scoped)
  )
})
