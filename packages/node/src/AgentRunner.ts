/**
 * Runs each job by a `buildkite-agent` of its own, which acquires the job, runs it, and ends.
 *
 * **Details**
 *
 * An agent is started with the job's id and its acquisition token in the environment, never with the token of the stack, and never
 * with a secret on the command line. Of this process's environment it gets what programs need, and nothing else: `PATH`, `HOME`,
 * `USER`, `LOGNAME`, `SHELL`, `LANG`, `LC_ALL`, `LC_CTYPE`, `TZ`, `TMPDIR`, `SSL_CERT_FILE`, `SSL_CERT_DIR` and those of
 * proxies. What else an agent or its jobs need (`SSH_AUTH_SOCK`, `DOCKER_HOST`) goes into `env`. Agents of version 3 and of
 * version 4 work alike.
 *
 * What becomes of a job depends on its state when the agent has ended, not only on the agent's exit status: one that is still reserved
 * was not run. It is finished with -1 and `stack_error`, with the agent's last lines; or tried again, where the agent says
 * that it is locked (28). Any other was taken by the agent, or by somebody else, and is left alone.
 *
 * A job that is canceled, or that the stack does not wait for as it shuts down:
 *
 * | after | the agent gets | and does |
 * |---|---|---|
 * | 0 s | SIGTERM | finishes its job, and leaves |
 * | 1 s | SIGTERM | cancels its job, which has `cancelGracePeriod` to end |
 * | `cancelGracePeriod` + 10 s | SIGKILL, with all that came from it | |
 *
 * A stack that ends does not wait for that, but its process does: the layer's end takes as long.
 *
 * If this process itself is killed, a small guardian process does the same: nothing of a job is left `cancelGracePeriod` and 15
 * seconds later. Often it is less: nobody reads what an agent prints any more, so that it ends at its next line, before it has
 * told the service, which ends the job when it misses the agent. What an agent left running as it ended is stopped too: SIGTERM,
 * 2 seconds later SIGKILL.
 *
 * **Gotchas**
 *
 * For Linux and macOS. Everywhere but on Linux, what a killed agent leaves in other process groups, as all of its jobs are, is not
 * found and goes on; on Linux, only what also drops its environment. In a container, start this process under an init
 * (`docker run --init`), which takes note of orphans' ends.
 *
 * **Example** (A stack with an agent for each job)
 *
 * ```ts
 * import { Stack } from "@stacksapi/core"
 * import { AgentRunner, NodeStacksClient } from "@stacksapi/node"
 * import { Effect, Layer } from "effect"
 *
 * export const program = Stack.run({ key: "my-stack", queueKey: "default", maxInFlight: 8 }).pipe(
 *   Effect.provide(Layer.merge(NodeStacksClient.layerConfig, AgentRunner.layer({ buildPath: "/var/lib/my-stack/builds" })))
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as StacksClient from "@stacksapi/core/StacksClient"
import { isAgentOwned, type JobState, type ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import { describe, withLastLines } from "./internal/process/endings.ts"
import * as Environment from "./internal/process/environment.ts"
import * as JobOutputs from "./internal/process/jobOutputs.ts"
import { Lines } from "./internal/process/lines.ts"
import { ensureWritable, findProgram } from "./internal/process/needs.ts"
import * as Processes from "./internal/process/run.ts"
import * as Slots from "./internal/process/slots.ts"
import { gracePeriod } from "./internal/process/stopPlan.ts"
import { whyNot } from "./internal/process/whyNot.ts"
import * as JobOutput from "./JobOutput.ts"

/**
 * How agents are started.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends JobOutput.Options {
  /**
   * The folder in which agents check out and build, made where it is missing. Each slot has a folder of its own in it, `slot-1` and
   * so on, which stays for the next job. Two stacks must not share it.
   */
  readonly buildPath: string
  /** The agent: a path, or a name to look up on `PATH`. Default `buildkite-agent`. */
  readonly agentPath?: string | undefined
  /** Where agents find the service. Default: the setting `BUILDKITE_AGENT_ENDPOINT`, else `StacksClient.DefaultBaseUrl`. */
  readonly endpoint?: URL | string | undefined
  /** The name of an agent; as a text, a prefix of `-<slot>`. Default: the stack's key. */
  readonly name?: string | ((agent: AgentSeat) => string) | undefined
  /** The tags of agents, `key=value`. */
  readonly tags?: ReadonlyArray<string> | undefined
  /** Whether an agent ends with the exit status of its job. Default false. */
  readonly reflectExitStatus?: boolean | undefined
  /** How long a canceled job has to end. Default 10 seconds, at most 7 days; version 3 counts whole seconds. */
  readonly cancelGracePeriod?: Duration.Input | undefined
  /** The signal that an agent sends to a canceled job. Default `SIGTERM`. */
  readonly cancelSignal?: string | undefined
  /** A configuration file of the agent. Default: the one that the agent finds. */
  readonly configFile?: string | undefined
  /** More environment variables for agents, which hand them on to their jobs. */
  readonly env?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
}

/**
 * Where an agent runs, and for what job.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentSeat {
  readonly stackKey: string
  /** From 1 on. No two agents that run have the same one; a free one is used again, the lowest first. */
  readonly slot: number
  readonly job: ScheduledJob
}

/**
 * No agent can run here: its program is missing or no program, or a folder that it needs can't be written.
 *
 * @since 0.1.0
 * @category errors
 */
export class AgentUnusable extends Data.TaggedError("AgentUnusable")<{
  /** What is wrong, and what to do about it. */
  readonly message: string
  /** The option to look at. */
  readonly option: "agentPath" | "buildPath" | "logDirectory"
  readonly cause?: unknown
}> {}

/**
 * Runs each job by an agent of its own.
 *
 * **Details**
 *
 * The layer looks for the agent, asks it for its version and makes the folders. Where that fails, so does the layer, before any
 * job is reserved.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<JobRunner.JobRunner | JobOutput.JobOutput, AgentUnusable | Config.ConfigError> =>
  Layer.effectContext(make(options)).pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer]))

/** How long after the first SIGTERM an agent gets its second one. */
const secondSignal = Duration.seconds(1)

/** What an agent takes to send the rest of its log and to disconnect, beyond the time that its job has. */
const farewell = Duration.seconds(10)

const make = Effect.fnUntraced(function* (options: Options) {
  const fileSystem = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const cancelGracePeriod = gracePeriod(options.cancelGracePeriod)
  const endpoint = options.endpoint ?? (yield* configuredEndpoint)
  const base = Environment.minimal(options.env)
  const processes = yield* Processes.make({ again: secondSignal, killAfter: Duration.sum(cancelGracePeriod, farewell) })
  const needs = yield* check(options, base, processes)
  const outputs = yield* JobOutputs.make({ ...options, logDirectory: needs.logDirectory }, options.env ?? {})
  const slots = Slots.make()

  const settings: Environment.Environment = {
    BUILDKITE_AGENT_ENDPOINT: String(endpoint),
    BUILDKITE_AGENT_REFLECT_EXIT_STATUS: String(options.reflectExitStatus ?? false),
    BUILDKITE_WRITE_JOB_LOGS_TO_STDOUT: "true",
    BUILDKITE_CANCEL_SIGNAL: options.cancelSignal ?? "SIGTERM",
    // The time of a canceled job: version 3 knows it by the first name, version 4 by the second, and neither minds the other.
    BUILDKITE_CANCEL_GRACE_PERIOD: String(Math.max(1, Math.ceil(Duration.toSeconds(cancelGracePeriod)))),
    BUILDKITE_CANCEL_SIGNAL_TIMEOUT: `${Duration.toMillis(cancelGracePeriod)}ms`,
    ...(options.tags === undefined ? {} : { BUILDKITE_AGENT_TAGS: options.tags.join(",") }),
    ...(options.configFile === undefined ? {} : { BUILDKITE_AGENT_CONFIG: path.resolve(options.configFile) })
  }

  const run = Effect.fnUntraced(function* (context: JobRunner.JobContext) {
    const { job, stackKey } = context
    const slot = yield* slots
    const name = Predicate.isFunction(options.name)
      ? options.name({ stackKey, slot, job })
      : `${options.name ?? stackKey}-${slot}`
    const buildPath = path.join(needs.buildPath, `slot-${slot}`)
    yield* Effect.mapError(
      fileSystem.makeDirectory(buildPath, { recursive: true }),
      (error) => new JobRunner.JobRunnerError({ message: `No folder for the agent: ${whyNot(error)}` })
    )
    // The job's environment is of use for one thing only: to know its secrets.
    const [details, token] = yield* Effect.all(
      [
        options.redactedVars?.length === 0 ? Effect.succeedNone : Effect.option(context.details),
        context.acquisitionToken
      ],
      { concurrency: 2 }
    )
    const jobEnvironment = Option.match(details, { onNone: () => ({}), onSome: ({ env }) => env })
    const sink = yield* outputs.open(job.id, { ...base, ...jobEnvironment }, [Redacted.value(token)])
    const { ended } = yield* processes
      .run(
        {
          program: needs.program,
          args: ["start"],
          directory: buildPath,
          environment: {
            ...base,
            ...settings,
            BUILDKITE_AGENT_NAME: name,
            BUILDKITE_BUILD_PATH: buildPath,
            BUILDKITE_AGENT_ACQUIRE_JOB: job.id,
            BUILDKITE_AGENT_TOKEN: Redacted.value(token)
          }
        },
        sink.write
      )
      .pipe(
        Effect.mapError(
          ({ code }) =>
            new JobRunner.JobRunnerError({
              message: `The agent ${needs.program} did not start: ${code}`,
              isRetryable: passing.has(code)
            })
        ),
        Effect.ensuring(sink.end)
      )
    return yield* judge(context, ended, yield* outputs.tail(job.id))
  }, Effect.scoped)

  // A stack that stops does not wait for long. Without this process nobody would read what its agents say at their end.
  yield* Effect.addFinalizer(() => processes.gone)

  return Context.make(JobRunner.JobRunner, JobRunner.make(run)).pipe(
    Context.add(JobOutput.JobOutput, { lines: outputs.lines, tail: outputs.tail })
  )
})

const configuredEndpoint = Config.URL("BUILDKITE_AGENT_ENDPOINT").pipe(
  Config.withDefault(new URL(StacksClient.DefaultBaseUrl))
)

/** What the system says when it has too few processes, files or memory at the moment. */
const passing: ReadonlySet<string> = new Set(["EAGAIN", "EMFILE", "ENFILE", "ENOMEM", "ETXTBSY"])

// -----------------------------------------------------------------------------
// Ends
// -----------------------------------------------------------------------------

/** What an agent says by its exit status, when it has not run its job. */
const whyNotRun: Readonly<Record<number, string>> = {
  0: "it could not acquire the job",
  1: "it could not register, or its settings are wrong",
  27: "the service would not let it acquire the job",
  28: "the job is locked"
}

const rejected = 27
const locked = 28

/** Tells what became of the job: by its state, since no exit status of an agent proves that the job was run. */
const judge = Effect.fnUntraced(function* (
  { job, notify, state }: JobRunner.JobContext,
  ended: Processes.Ended,
  tail: ReadonlyArray<string>
): Effect.fn.Return<JobRunner.JobOutcome, JobRunner.JobRunnerError> {
  const now = yield* state
  const end = describe(ended)
  const status = ended._tag === "Exited" ? ended.status : undefined
  const mustWait = status === locked && now !== undefined && waitsForOthers.has(now)
  if (now === "reserved" || mustWait) {
    const why = status === undefined ? undefined : whyNotRun[status]
    return yield* new JobRunner.JobRunnerError({
      message: withLastLines(`The agent did not run the job (${end}${why === undefined ? "" : `: ${why}`})`, tail),
      isRetryable: status === locked
    })
  }
  if (now !== undefined && isAgentOwned(now) && status !== rejected && status !== locked) {
    const text = `The agent started for this job ended (${end}) while the job was ${now}`
    yield* notify(text)
    yield* Effect.logWarning(text).pipe(Effect.annotateLogs({ job_uuid: job.id }))
  }
  return JobRunner.AgentOwned
})

/** The states of a job that is locked. */
const waitsForOthers: ReadonlySet<JobState> = new Set(["waiting", "limiting", "limited", "pending", "blocked"])

// -----------------------------------------------------------------------------
// What must be there
// -----------------------------------------------------------------------------

const check = Effect.fnUntraced(function* (
  { agentPath = "buildkite-agent", buildPath, logDirectory }: Options,
  base: Environment.Environment,
  processes: Processes.Processes
) {
  const folder = (option: "buildPath" | "logDirectory", value: string) =>
    Effect.mapError(
      ensureWritable(value),
      (cause: PlatformError.PlatformError) =>
        new AgentUnusable({
          option,
          message: `Can't write to the folder ${value}: ${whyNot(cause)}; make it writable, or set ${option} to another`,
          cause
        })
    )
  const unusable = (reason: string) =>
    new AgentUnusable({
      option: "agentPath",
      message: `Can't run the agent ${agentPath}: ${reason}; install buildkite-agent, or set agentPath to it`
    })
  const program = yield* Effect.mapError(findProgram(agentPath, base["PATH"] ?? ""), ({ reason }) => unusable(reason))
  const whole = yield* folder("buildPath", buildPath)
  const printed = new Lines()
  const lines: Array<string> = []
  const { ended, isTimedOut } = yield* Effect.mapError(
    processes.run(
      { program, args: ["--version"], directory: whole, environment: base, timeout: Duration.seconds(10) },
      (_, bytes) => Effect.sync(() => void lines.push(...printed.push(bytes).map(({ text }) => text)))
    ),
    ({ code }) => unusable(`the system does not start it (${code})`)
  )
  // The status of a shell, or of a loader, that has not found what to run.
  if (isTimedOut || ended._tag === "Killed" || ended.status === 126 || ended.status === 127) {
    const end = isTimedOut ? "takes more than 10 seconds" : `ended with ${describe(ended)}`
    return yield* unusable([`\`--version\` ${end}`, ...lines.slice(-1)].join(": "))
  }
  return {
    program,
    buildPath: whole,
    logDirectory: logDirectory === undefined ? undefined : yield* folder("logDirectory", logDirectory)
  }
})
