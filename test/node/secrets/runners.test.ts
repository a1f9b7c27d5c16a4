/** What a stack at work shows, with secrets in its own environment, in those of its jobs, and in what jobs print. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { type JobRunner, Stack, type StackEvent } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { AgentRunner, CommandRunner, HealthServer, JobOutput, NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Layer, Metric, Redacted, type Scope, Stream } from "effect"
import { processes } from "../../support/processes.ts"
import { record } from "../../support/recording.ts"
import * as Secrets from "../../support/secrets.ts"
import { standIn } from "../../support/standInAgentSetup.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

/** This process has secrets of its own, as a stack's has. */
const ownSecrets = Effect.acquireRelease(
  Effect.sync(() => {
    const before = { ...process.env }
    Object.assign(process.env, Secrets.ownEnvironment)
    return before
  }),
  (before) =>
    Effect.sync(() => {
      for (const name of Object.keys(Secrets.ownEnvironment)) delete process.env[name]
      Object.assign(process.env, before)
    })
)

/** All that the page of the emulator is given. */
const pageOf = Effect.fnUntraced(function* (emulator: StacksEmulator.Service) {
  const get = (path: string) =>
    Effect.promise(() => fetch(new URL(`/ui/${path}`, emulator.baseUrl)).then((a) => a.text()))
  const lists = yield* Effect.forEach(
    ["overview", "jobs", "notifications", "requests", "requests?only=problems", "job?id=none"],
    get
  )
  const jobs = yield* Effect.forEach(yield* emulator.jobs, ({ id }) => get(`job?id=${id}`))
  const ids = Array.from(lists.join("").matchAll(/"id":"(\d+-\d+)"/g), ([, id]) => id)
  const requests = yield* Effect.forEach(ids, (id) => get(`request?id=${id}`))
  assert.isNotEmpty(requests)
  const events = yield* Effect.promise(() =>
    fetch(new URL("/ui/events", emulator.baseUrl)).then(async ({ body }) => {
      const reader = body?.getReader()
      const first = await reader?.read()
      await reader?.cancel()
      return new TextDecoder().decode(first?.value)
    })
  )
  return [...lists, ...jobs, ...requests, events]
})

/** Printed by a job that is there to be looked at. */
const announcement = "look at me"

type Runner = Layer.Layer<JobRunner.JobRunner | JobOutput.JobOutput, unknown>

/** Runs jobs to their ends, and gives all that anybody could see meanwhile and afterwards. */
const shownBy = Effect.fnUntraced(function* (
  runner: (path: string, emulator: StacksEmulator.Service) => Effect.Effect<Runner, unknown, Scope.Scope>,
  jobs: ReadonlyArray<Partial<StacksEmulator.NewJob>>,
  options: Partial<Stack.Options> = {}
) {
  yield* ownSecrets
  const path = yield* temporaryFolder
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs(jobs.map((job) => ({ queueKey: "q", env: Secrets.jobEnvironment, ...job })))
  const events: Array<StackEvent.StackEvent> = []
  const output: Array<string> = []
  const health: Array<string> = []
  const commandLines = new Set<string>()
  const environments = new Map<string, string>()

  const look = Effect.sync(() => {
    for (const { commandLine, environment } of processes()) {
      commandLines.add(commandLine)
      if (environment.includes(path)) environments.set(commandLine, environment)
    }
  })

  const program = Effect.gen(function* () {
    const { lines } = yield* JobOutput.JobOutput
    yield* lines.pipe(
      Stream.runForEach(({ text }) => {
        output.push(text)
        // Whoever prints this waits for what follows.
        return text === announcement
          ? Effect.andThen(
              look,
              Effect.sync(() => writeFileSync(join(path, "seen"), ""))
            )
          : Effect.void
      }),
      Effect.forkScoped({ startImmediately: true })
    )
    yield* look.pipe(Effect.delay("200 millis"), Effect.forever, Effect.forkScoped)
    const stack = yield* Stack.make({
      key: "s",
      queueKey: "q",
      ...options,
      onEvent: (event) => Effect.sync(() => void events.push(event))
    })
    const server = yield* HealthServer.make({ port: 0 })
    yield* server.watch(stack)
    const isReleased = Effect.sync(() => events.some(({ _tag }) => _tag === "Released"))
    // A job that is given back would be tried again and again.
    yield* Effect.raceFirst(stack.awaitIdle, Effect.repeat(Effect.delay(isReleased, "100 millis"), { until: Boolean }))
    for (const name of ["metrics", "healthz", "readyz"]) {
      health.push(yield* Effect.promise(() => fetch(new URL(name, server.url)).then((answer) => answer.text())))
    }
  }).pipe(Effect.scoped, Effect.provide(yield* runner(path, emulator)))

  const { exit, recording } = yield* record(program)
  assert(exit._tag === "Success", String(exit))
  const files = readdirSync(join(path, "logs")).map((file) => readFileSync(join(path, "logs", file), "utf8"))
  return {
    events,
    output,
    files,
    environments,
    shown: {
      "the log and the spans": Secrets.recorded(recording),
      "the events": events.flatMap(Secrets.renderings),
      "the metrics": [...health, ...Secrets.renderings(yield* Metric.snapshot)],
      "the output of jobs": output,
      "the files with it": files,
      "command lines": Array.from(commandLines),
      "what the service was told": Secrets.renderings([yield* emulator.requests, yield* emulator.notifications]),
      "the emulator's page": yield* pageOf(emulator)
    }
  }
})

const service = NodeStacksEmulator.layerClient.pipe(
  Layer.provideMerge(NodeStacksEmulator.layer({ token: Redacted.make(Secrets.clusterToken) }))
)

const assertShown = (shown: Readonly<Record<string, ReadonlyArray<string>>>) => {
  for (const [what, texts] of Object.entries(shown)) {
    assert.isNotEmpty(texts, what)
    Secrets.assertNone(what, texts)
  }
}

/** What no process of a job has to do with. */
const ofTheStack = /bkct_|PLANTED_(?:cluster|agent_token|redis|database)/

describe("Commands, and the stack that runs them", () => {
  it.live("show no secret, although jobs print their environments", () =>
    Effect.gen(function* () {
      const { environments, events, files, output, shown } = yield* shownBy(
        (path) =>
          Effect.succeed(
            CommandRunner.layer({
              logDirectory: join(path, "logs"),
              env: {
                MARK: path,
                BUILDKITE_CLUSTER_TOKEN: Secrets.clusterToken,
                EXTRA: Redacted.make("PLANTED_extra")
              },
              secrets: [Redacted.make("PLANTED_known_to_the_stack")]
            })
          ),
        [
          { command: `env; echo ${announcement}; until [ -e "$MARK/seen" ]; do sleep 0.02; done` },
          {
            command: 'echo "$SOME_CREDENTIAL $DB_PASSWORD"; echo "$HTTPS_PROXY" >&2; exit 3',
            env: { ...Secrets.jobEnvironment, SOME_CREDENTIAL: "PLANTED_known_to_the_stack" }
          },
          // biome-ignore lint/suspicious/noTemplateCurlyInString: it is for the shell
          { command: 'printf "${DB_PASSWORD%word}"; sleep 0.1; printf word; kill -9 $$' },
          { command: `echo "a very long command with ${"x".repeat(50)}" ` }
        ]
      )
      assertShown(shown)
      assert.deepStrictEqual(events.filter(({ _tag }) => _tag === "Finished").length, 4)
      assert.include(output, "HARMLESS=shown-as-it-is")
      for (const name of ["DEPLOY_TOKEN", "DB_PASSWORD", "EXTRA"]) assert.include(output, `${name}=[REDACTED]`)
      assert.include(output, "DATABASE_URL=postgres://app:[REDACTED]@db.test/app")
      assert.include(output, "HTTPS_PROXY=http://proxy-user:[REDACTED]@127.0.0.1:9")
      assert.lengthOf(files, 4)
      assert.isAtLeast(environments.size, 1)
      for (const [commandLine, environment] of environments) {
        assert.notMatch(environment, ofTheStack, commandLine)
        assert.notInclude(environment, "bkjat_", commandLine)
      }
    }).pipe(Effect.scoped, Effect.provide(service))
  )
})

describe("Agents, and the stack that starts them", () => {
  it.live("show no secret; only the agent itself has the job's token", () =>
    Effect.gen(function* () {
      const { environments, events, output, shown } = yield* shownBy(
        Effect.fnUntraced(function* (path, { baseUrl }) {
          const agents = yield* standIn
          yield* agents.setPlans({
            "*": {
              prints: ["token $BUILDKITE_AGENT_TOKEN", "job $DB_PASSWORD $DATABASE_URL", announcement],
              millis: 200
            },
            quits: { prints: ["$BUILDKITE_AGENT_TOKEN"], quits: 1 }
          })
          return AgentRunner.layer({
            agentPath: agents.agentPath,
            buildPath: join(path, "builds"),
            logDirectory: join(path, "logs"),
            endpoint: baseUrl,
            env: { ...agents.env, MARK: path, BUILDKITE_AGENT_ACCESS_TOKEN: "bkaat_PLANTED_by_mistake_0000" }
          })
        }),
        [{ command: "make" }, { id: "quits", command: "make" }],
        { startTimeout: 0 }
      )
      assertShown(shown)
      assert.sameMembers(
        events.filter(({ _tag }) => _tag === "AgentOwned" || _tag === "Released").map(({ _tag }) => _tag),
        ["AgentOwned", "Released"]
      )
      assert.include(output, "token [REDACTED]")
      assert.include(output, "job [REDACTED] postgres://app:[REDACTED]@db.test/app")
      assert.isAtLeast(environments.size, 1)
      for (const [commandLine, environment] of environments) {
        assert.notMatch(environment, ofTheStack, commandLine)
        // A job's environment is the service's to give, and its secrets the agent's to ask for.
        assert.notInclude(environment, "PLANTED_job", commandLine)
        assert.notInclude(environment, "bkaat_", commandLine)
        for (const variable of environment.split("\0").filter((text) => text.includes("bkjat_"))) {
          assert.match(variable, /^BUILDKITE_AGENT_TOKEN=bkjat_[\w.-]+$/, commandLine)
          assert.match(commandLine, /start/)
        }
      }
      assert.match(Array.from(environments.values()).join(), /BUILDKITE_AGENT_TOKEN=bkjat_/)
    }).pipe(Effect.scoped, Effect.provide(service))
  )
})
