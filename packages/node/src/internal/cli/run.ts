import type * as JobRunner from "@stacksapi/core/JobRunner"
import * as Stack from "@stacksapi/core/Stack"
import type { StackEvent } from "@stacksapi/core/StackEvent"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as AgentRunner from "../../AgentRunner.ts"
import * as CommandRunner from "../../CommandRunner.ts"
import * as HealthServer from "../../HealthServer.ts"
import * as JobOutput from "../../JobOutput.ts"
import * as StackView from "../../StackView.ts"
import { connected, flags } from "./connected.ts"
import { Failed, Misused } from "./failure.ts"
import { Host } from "./host.ts"
import * as Settings from "./settings.ts"

const folder = (name: string, description: string) =>
  Settings.path(name, "directory").pipe(Flag.withMetavar("FOLDER"), Flag.withDescription(description))

/** What only `--runner agent` uses. */
const agentFlags = {
  agentPath: Flag.String("agent-path").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("With --runner agent: the agent (default buildkite-agent, looked up on PATH)"),
    Flag.optional
  ),
  buildPath: folder(
    "build-path",
    "With --runner agent: where agents check out and build (else BUILDKITE_BUILD_PATH)"
  ).pipe(Flag.withFallbackConfig(Config.String("BUILDKITE_BUILD_PATH")), Flag.optional),
  reflectExitStatus: Flag.Boolean("reflect-exit-status").pipe(
    Flag.withDescription("With --runner agent: agents end with the exit status of their job"),
    Flag.withDefault(false)
  )
}

/** What only `--runner command` uses. */
const commandFlags = {
  directory: Flag.optional(
    folder(
      "directory",
      "With --runner command: the folder in which all commands run (default: for each job a new empty one)"
    )
  ),
  timeout: Settings.integer("timeout", 1, 7 * 24 * 3600).pipe(
    Flag.withMetavar("SECONDS"),
    Flag.withDescription("With --runner command: how long a job may run (default: as long as it takes)"),
    Flag.optional
  )
}

const healthFlags = {
  healthPort: Settings.integer("health-port", 0, 65_535).pipe(
    Flag.withDescription("Serve /metrics, /healthz and /readyz on this port; 0 is a free one (default: not at all)"),
    Flag.optional
  ),
  healthHost: Flag.String("health-host").pipe(
    Flag.withDescription("The address for --health-port (default 127.0.0.1: only this machine reaches it)"),
    Flag.withDefault("127.0.0.1")
  )
}

export const run = Command.make(
  "run",
  {
    key: Settings.key,
    queue: Settings.queue,
    runner: Flag.Literals("runner", ["agent", "command"]).pipe(
      Flag.withDescription(
        "What runs a job: a buildkite-agent of its own (default), or a shell that runs its command and isolates nothing"
      ),
      Flag.withDefault("agent")
    ),
    maxInFlight: Settings.integer("max-in-flight", 1, 10_000).pipe(
      Flag.withDescription("How many jobs run at once (default 25)"),
      Flag.withDefault(25)
    ),
    tags: Settings.tags,
    untilIdle: Flag.Boolean("until-idle").pipe(
      Flag.withDescription("End when the queue is empty and all is done; with 1 where a job failed here"),
      Flag.withDefault(false)
    ),
    shutdownGrace: Settings.integer("shutdown-grace", 0, 24 * 3600).pipe(
      Flag.withMetavar("SECONDS"),
      Flag.withDescription("How long jobs may go on after SIGTERM or Ctrl-C (default 30)"),
      Flag.withDefault(30)
    ),
    format: Flag.Literals("format", ["auto", "live", "lines", "json"]).pipe(
      Flag.withDescription(
        "What to show: a live view, a line for each event, or JSON; auto is live on a terminal, else lines (default auto)"
      ),
      Flag.withDefault("auto")
    ),
    logDirectory: Flag.optional(folder("log-directory", "Keep the output of each job in a file of this folder")),
    ...agentFlags,
    ...commandFlags,
    ...healthFlags,
    ...flags
  },
  Effect.fnUntraced(
    function* (input) {
      yield* (yield* Host).expectSigterm
      // They end after the stack: it needs its runner to the last, and its end is to be seen.
      const runner = yield* Layer.build(layerRunner(input))
      const view = yield* StackView.make({
        format: input.json ? "json" : input.format,
        output: Context.get(runner, JobOutput.JobOutput)
      })
      let failures = 0
      const onEvent = (event: StackEvent) => {
        if (hasFailed(event)) failures++
        return view.onEvent(event)
      }
      yield* runStack(input, view, onEvent).pipe(
        Effect.scoped,
        // The view tells what the stack logs at the level of information.
        Effect.updateService(References.MinimumLogLevel, (level) => (level === "Info" ? "Warn" : level)),
        Effect.provideContext(runner),
        Effect.provide(Logger.layer([view.logger]))
      )
      if (failures > 0)
        return yield* new Failed({ message: failures === 1 ? "a job failed" : `${failures} jobs failed` })
    },
    Effect.scoped,
    connected
  )
).pipe(
  Command.withDescription(
    "Run a stack: take the jobs of a queue and run each by an agent, or by a shell. On SIGTERM or Ctrl-C it takes no more " +
      "jobs, lets those that run end, and leaves; a second time, it ends at once"
  ),
  Command.withShortDescription("Run a stack: take the jobs of a queue, and run them"),
  Command.withExamples([
    { command: "stacksapi run --key my-stack --queue linux --build-path /var/lib/my-stack --max-in-flight 8" },
    { command: "stacksapi run --key try --runner command --directory . --until-idle" }
  ])
)

interface StackInput {
  readonly key: string
  readonly queue: string
  readonly maxInFlight: number
  readonly tags: Option.Option<Record<string, string>>
  readonly shutdownGrace: number
  readonly untilIdle: boolean
  readonly healthHost: string
  readonly healthPort: Option.Option<number>
}

/** Runs the stack for as long as it is to run. */
const runStack = Effect.fnUntraced(function* (
  input: StackInput,
  view: StackView.View,
  onEvent: StackView.View["onEvent"]
) {
  const health = Option.isSome(input.healthPort)
    ? yield* HealthServer.make({ host: input.healthHost, port: input.healthPort.value })
    : undefined
  if (health !== undefined) yield* view.print(`Health and metrics: ${health.url}`)
  const stack = yield* Stack.make({
    key: input.key,
    queueKey: input.queue,
    maxInFlight: input.maxInFlight,
    tags: Option.getOrUndefined(input.tags),
    shutdownGrace: input.shutdownGrace * 1000,
    metadata: { program: "stacksapi run" },
    onEvent
  })
  yield* view.watch(stack)
  if (health !== undefined) yield* health.watch(stack)
  yield* input.untilIdle ? Effect.raceFirst(stack.awaitIdle, stack.awaitFailure) : stack.awaitFailure
})

interface RunnerInput extends Settings.Connection {
  readonly runner: "agent" | "command"
  readonly tags: Option.Option<Record<string, string>>
  readonly agentPath: Option.Option<string>
  readonly buildPath: Option.Option<string>
  readonly reflectExitStatus: boolean
  readonly directory: Option.Option<string>
  readonly timeout: Option.Option<number>
  readonly logDirectory: Option.Option<string>
}

const layerRunner = (
  input: RunnerInput
): Layer.Layer<
  JobRunner.JobRunner | JobOutput.JobOutput,
  AgentRunner.AgentUnusable | CommandRunner.CommandRunnerUnusable | Config.ConfigError | Failed | Misused
> =>
  input.runner === "command"
    ? CommandRunner.layer({
        workingDirectory: Option.getOrUndefined(input.directory),
        timeout: Option.getOrUndefined(Option.map(input.timeout, (seconds) => seconds * 1000)),
        logDirectory: Option.getOrUndefined(input.logDirectory)
      })
    : Layer.unwrap(layerAgents(input))

const layerAgents = Effect.fnUntraced(function* (input: RunnerInput) {
  if (Option.isNone(input.buildPath)) {
    return yield* new Misused({
      message: "Agents need a folder to build in: give --build-path FOLDER, or use --runner command"
    })
  }
  const tags = Option.map(input.tags, (tags) => Object.entries(tags).map(([name, value]) => `${name}=${value}`))
  return AgentRunner.layer({
    agentPath: Option.getOrUndefined(input.agentPath),
    buildPath: input.buildPath.value,
    endpoint: yield* Settings.endpoint(input),
    tags: Option.getOrUndefined(tags),
    reflectExitStatus: input.reflectExitStatus,
    logDirectory: Option.getOrUndefined(input.logDirectory)
  })
})

const hasFailed = (event: StackEvent): boolean =>
  event._tag === "Failed" || event._tag === "GivenUp" || (event._tag === "Finished" && event.exitStatus !== 0)
