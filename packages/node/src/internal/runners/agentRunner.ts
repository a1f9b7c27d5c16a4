/** The implementation of `AgentRunner`, which loads this module when it builds a layer. */
import { constants, tmpdir } from "node:os"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as StacksClient from "@stacksapi/core/StacksClient"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import { isAgentOwned, type JobState } from "@stacksapi/core/StacksSchema"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { Options } from "../../AgentRunner.ts"
import * as JobOutput from "../../JobOutput.ts"
import * as Check from "../options.ts"
import { agentExits } from "../process/agentExits.ts"
import * as ChildProcesses from "../process/childProcesses.ts"
import * as Environment from "../process/environment.ts"
import { describeCode, errorDescription } from "../process/errorDescription.ts"
import * as JobOutputs from "../process/jobOutputs.ts"
import { hostFailure, requestFailure, scoped } from "../process/jobScope.ts"
import { ensureWritable, findProgram } from "../process/preflight.ts"
import * as Slots from "../process/slots.ts"
import { describe, withLastLines } from "../process/termination.ts"
import { atOnce, gracePeriod } from "../process/terminationPolicy.ts"
import { Lines } from "../terminal/lines.ts"
import { AgentUnusable } from "./agentUnusable.ts"

export const layer = (
  options: Options
): Layer.Layer<JobRunner.JobRunner | JobOutput.JobOutput, AgentUnusable | InvalidOptions | Config.ConfigError> =>
  Layer.effectContext(make(options)).pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer]))

/** The time from the first SIGTERM to the second one. */
const secondSignal = Duration.seconds(1)

/** How long an agent of version 4 may take for logs and artifacts after its job. */
const cleanupTimeout = Duration.seconds(5)

/**
 * The time from the end of a job's grace period to SIGKILL. The agent exits by itself before: 1 second after `secondSignal`, the job's time (which version 3
 * counts in whole seconds) and, version 4, `cleanupTimeout`.
 */
const forcedExit = Duration.sum(cleanupTimeout, Duration.seconds(5))

const make = Effect.fnUntraced(function* (options: Options) {
  yield* checkOptions(options)
  const fileSystem = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const cancelGracePeriod = gracePeriod(options.cancelGracePeriod)
  const endpoint = options.endpoint ?? (yield* configuredEndpoint)
  const base = Environment.minimal(options.env)
  const processes = yield* ChildProcesses.make({
    policy: { again: secondSignal, killAfter: Duration.sum(cancelGracePeriod, forcedExit) },
    folders: path.resolve(tmpdir())
  })
  const paths = yield* preflight(options, base, processes)
  const outputs = yield* JobOutputs.make({ ...options, logDirectory: paths.logDirectory }, options.env ?? {})
  const slots = Slots.make()

  const graceSeconds = Math.max(1, Math.ceil(Duration.toSeconds(cancelGracePeriod)))
  const settings: Environment.Environment = {
    BUILDKITE_AGENT_ENDPOINT: String(endpoint),
    BUILDKITE_AGENT_REFLECT_EXIT_STATUS: String(options.reflectExitStatus ?? false),
    BUILDKITE_WRITE_JOB_LOGS_TO_STDOUT: "true",
    BUILDKITE_CANCEL_SIGNAL: options.cancelSignal ?? "SIGTERM",
    // The time of a canceled job. Version 3 reads the first two: up to 3.73.0 the second one has a default of its own, 0 or 9 seconds,
    // with which the agent kills the job too early, or does not start. Version 4 reads the other two.
    BUILDKITE_CANCEL_GRACE_PERIOD: String(graceSeconds),
    BUILDKITE_SIGNAL_GRACE_PERIOD_SECONDS: String(graceSeconds - 1),
    BUILDKITE_CANCEL_SIGNAL_TIMEOUT: `${Duration.toMillis(cancelGracePeriod)}ms`,
    BUILDKITE_CANCEL_CLEANUP_TIMEOUT: `${Duration.toSeconds(cleanupTimeout)}s`,
    ...(options.tags === undefined ? {} : { BUILDKITE_AGENT_TAGS: options.tags.join(",") }),
    ...(options.configFile === undefined ? {} : { BUILDKITE_AGENT_CONFIG: path.resolve(options.configFile) })
  }

  const runAgent = Effect.fnUntraced(function* (context: JobRunner.JobContext) {
    const { job, stackKey } = context
    const slot = yield* slots
    const name = Predicate.isFunction(options.name)
      ? options.name({ stackKey, slot, job })
      : `${options.name ?? stackKey}-${slot}`
    const buildPath = path.join(paths.buildPath, `slot-${slot}`)
    yield* Effect.mapError(fileSystem.makeDirectory(buildPath, { recursive: true }), (error) =>
      hostFailure(`Can't make the folder ${buildPath} for the agent: ${errorDescription(error)}`, error)
    )
    // The job's environment is needed only for its secrets.
    const [details, token] = yield* Effect.all(
      [
        options.redactedVars?.length === 0 ? Effect.succeedNone : Effect.option(context.details),
        Effect.mapError(context.acquisitionToken, requestFailure)
      ],
      { concurrency: 2 }
    )
    const jobEnvironment = Option.match(details, { onNone: () => ({}), onSome: ({ env }) => env })
    const sink = yield* outputs.open(job.id, { ...base, ...jobEnvironment }, [Redacted.value(token)])
    const { termination } = yield* processes
      .run(
        {
          program: paths.program,
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
        // An agent is started with nothing of the job, so its start can only fail because of the host.
        Effect.mapError((error) =>
          hostFailure(`The agent ${paths.program} did not start: ${describeCode(error.code)}`, error)
        ),
        Effect.ensuring(sink.end)
      )
    return yield* outcomeOf(context, termination, yield* outputs.tail(job.id))
  })

  const run = (context: JobRunner.JobContext) => processes.tracked(scoped(runAgent(context)))

  // The stack does not wait until canceled jobs have stopped, but the layer does, and reads the agents' last output.
  yield* Effect.addFinalizer(() => processes.settled)

  return Context.make(JobRunner.JobRunner, JobRunner.make(run)).pipe(
    Context.add(JobOutput.JobOutput, { lines: outputs.lines, tail: outputs.tail })
  )
})

const configuredEndpoint = Config.URL("BUILDKITE_AGENT_ENDPOINT").pipe(
  Config.withDefault(new URL(StacksClient.DefaultBaseUrl))
)

// -----------------------------------------------------------------------------
// Outcomes
// -----------------------------------------------------------------------------

/** Acquiring failed, but the service did not reject it. Most agents exit with this status for a locked job, too. */
const notAcquired = 0
const rejected = 27
const locked = 28

/**
 * Decides the outcome by the job's state, because no exit status of an agent proves that the job ran. If the job is still reserved, no
 * agent has acquired it, and another one can be started. Before it acquires the job, an agent knows only its id, so only a rejection by
 * the service is about this job; any other failure is about this host, or the service as a whole.
 */
const outcomeOf = Effect.fnUntraced(function* (
  { job, notify, state }: JobRunner.JobContext,
  termination: ChildProcesses.Termination,
  tail: ReadonlyArray<string>
): Effect.fn.Return<JobRunner.JobOutcome, JobRunner.JobRunnerError> {
  const now = yield* state
  const end = describe(termination)
  const status = termination._tag === "Exited" ? termination.status : undefined
  const mustWait = (status === locked || status === notAcquired) && now !== undefined && waitsForOthers.has(now)
  if (now === "reserved" || mustWait) {
    const reason = status === undefined ? undefined : agentExits[status]
    return yield* new JobRunner.JobRunnerError({
      message: withLastLines(
        `The agent did not run the job (${end}${reason === undefined ? "" : `: ${reason}`})`,
        tail
      ),
      isRetryable: status !== rejected
    })
  }
  if (now !== undefined && isAgentOwned(now) && status !== rejected && status !== locked) {
    const text = `The agent started for this job ended (${end}) while the job was ${now}`
    yield* notify(text)
    yield* Effect.logWarning(text).pipe(Effect.annotateLogs({ job_uuid: job.id }))
  }
  return JobRunner.AgentOwned
})

/** The states of a locked job. */
const waitsForOthers: ReadonlySet<JobState> = new Set([
  "waiting",
  "limiting",
  "limited",
  "platform_limiting",
  "platform_limited",
  "pending",
  "blocked"
])

// -----------------------------------------------------------------------------
// Preflight
// -----------------------------------------------------------------------------

const checkOptions = Effect.fnUntraced(function* (options: Options) {
  yield* Check.text("buildPath", options.buildPath, "the path of a folder")
  yield* Check.text("agentPath", options.agentPath, "a path or the name of a program")
  yield* Check.httpUrl("endpoint", options.endpoint)
  if (!Predicate.isFunction(options.name)) yield* Check.text("name", options.name, "a text or a function")
  yield* Check.tags("tags", options.tags)
  yield* Check.gracePeriod("cancelGracePeriod", options.cancelGracePeriod)
  yield* Check.oneOf("cancelSignal", options.cancelSignal, Object.keys(constants.signals))
  yield* Check.text("configFile", options.configFile, "the path of a file")
  yield* Check.environment("env", options.env)
  yield* Check.jobOutput(options)
})

/** How long `--version` may take. */
const versionTimeout = Duration.seconds(10)

/** How much `--version` may print. */
const maxVersionBytes = 64 * 1024

const preflight = Effect.fnUntraced(function* (
  { agentPath = "buildkite-agent", buildPath, logDirectory }: Options,
  base: Environment.Environment,
  processes: ChildProcesses.ChildProcesses
) {
  const folder = (option: "buildPath" | "logDirectory", value: string) =>
    Effect.mapError(
      ensureWritable(value),
      (cause: PlatformError.PlatformError) =>
        new AgentUnusable({
          option,
          message: `Can't write to the folder ${value}: ${errorDescription(cause)}; make it writable, or set ${option} to another`,
          cause
        })
    )
  const unusable = (reason: string) =>
    new AgentUnusable({
      option: "agentPath",
      message: `Can't run the agent ${agentPath}: ${reason}; install buildkite-agent, or set agentPath to its path`
    })
  const program = yield* Effect.mapError(findProgram(agentPath, base["PATH"] ?? ""), ({ reason }) => unusable(reason))
  const whole = yield* folder("buildPath", buildPath)
  const version = new Lines()
  let lastLine = ""
  let bytesSeen = 0
  const hasPrintedTooMuch = Deferred.makeUnsafe<void>()
  const run = processes.run(
    { program, args: ["--version"], directory: whole, environment: base, timeout: versionTimeout, policy: atOnce },
    (_, bytes) =>
      Effect.sync(() => {
        if (bytesSeen > maxVersionBytes) return
        bytesSeen += bytes.length
        for (const { text } of version.push(bytes)) lastLine = text
        if (bytesSeen > maxVersionBytes) Deferred.doneUnsafe(hasPrintedTooMuch, Effect.void)
      })
  )
  const outcome = yield* Effect.raceFirst(
    Effect.mapError(run, ({ code }) => unusable(`the system does not start it: ${describeCode(code)}`)),
    Effect.as(Deferred.await(hasPrintedTooMuch), undefined)
  )
  // 126 and 127 are the statuses of a shell or a loader that has not found the program.
  const problem =
    outcome === undefined
      ? `prints more than ${maxVersionBytes / 1024} KiB`
      : outcome.isTimedOut
        ? `takes more than ${Duration.format(versionTimeout)}`
        : outcome.termination._tag === "Killed" ||
            outcome.termination.status === 126 ||
            outcome.termination.status === 127
          ? `ended with ${describe(outcome.termination)}`
          : undefined
  if (problem !== undefined) {
    return yield* unusable([`\`--version\` ${problem}`, ...(lastLine === "" ? [] : [lastLine])].join(": "))
  }
  return {
    program,
    buildPath: whole,
    logDirectory: logDirectory === undefined ? undefined : yield* folder("logDirectory", logDirectory)
  }
})
