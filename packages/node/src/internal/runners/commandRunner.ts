/** The implementation of `CommandRunner`, which loads this module when it builds a layer. */
import { tmpdir } from "node:os"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as JobRunner from "@stacksapi/core/JobRunner"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Predicate from "effect/Predicate"
import * as Record from "effect/Record"
import type { Options } from "../../CommandRunner.ts"
import * as JobOutput from "../../JobOutput.ts"
import * as Check from "../options.ts"
import * as ChildProcesses from "../process/childProcesses.ts"
import * as Environment from "../process/environment.ts"
import { codeOf, describeCode, errorDescription } from "../process/errorDescription.ts"
import { invocationOf } from "../process/invocation.ts"
import * as JobFolder from "../process/jobFolder.ts"
import * as JobOutputs from "../process/jobOutputs.ts"
import { hostFailure, requestFailure, scoped } from "../process/jobScope.ts"
import { ensureWritable, findProgram } from "../process/preflight.ts"
import * as StatusReporter from "../process/statusReporter.ts"
import { describeReported, statusOf, withLastLines } from "../process/termination.ts"
import { gracePeriod } from "../process/terminationPolicy.ts"
import { CommandRunnerUnusable } from "./commandRunnerUnusable.ts"

export const layer = (
  options: Options
): Layer.Layer<JobRunner.JobRunner | JobOutput.JobOutput, CommandRunnerUnusable | InvalidOptions> =>
  Layer.effectContext(make(options)).pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer]))

const make = Effect.fnUntraced(function* (options: Options) {
  yield* checkOptions(options)
  const path = yield* Path.Path
  const base = Environment.minimal(options.env)
  const settings = yield* preflight(options, base["PATH"] ?? "")
  const outputs = yield* JobOutputs.make({ ...options, logDirectory: settings.logDirectory }, options.env ?? {})
  const folders = path.resolve(tmpdir())
  const processes = yield* ChildProcesses.make({
    policy: { killAfter: gracePeriod(options.cancelGracePeriod) },
    folders
  })
  const dependencies: Dependencies = {
    base,
    settings,
    outputs,
    folders,
    processes,
    reporterOf: StatusReporter.make(yield* hasBash),
    timeout: options.timeout === undefined ? undefined : Duration.fromInputUnsafe(options.timeout)
  }
  // Not the layer's scope: each run has its own.
  const services = Context.pick(
    FileSystem.FileSystem,
    Path.Path
  )(yield* Effect.context<FileSystem.FileSystem | Path.Path>())
  const run = (context: JobRunner.JobContext) =>
    processes.tracked(scoped(Effect.provideContext(runCommand(dependencies, context), services)))

  // The stack does not wait until canceled jobs have stopped, but the layer does.
  yield* Effect.addFinalizer(() => processes.settled)

  return Context.make(JobRunner.JobRunner, JobRunner.make(run)).pipe(
    Context.add(JobOutput.JobOutput, { lines: outputs.lines, tail: outputs.tail })
  )
})

// -----------------------------------------------------------------------------
// One job
// -----------------------------------------------------------------------------

/** What the runs of all jobs share. */
interface Dependencies {
  readonly base: Environment.Environment
  readonly settings: Effect.Success<ReturnType<typeof preflight>>
  readonly outputs: JobOutputs.JobOutputs
  /** Where the folders of jobs are. */
  readonly folders: string
  readonly processes: ChildProcesses.ChildProcesses
  readonly reporterOf: ReturnType<typeof StatusReporter.make>
  readonly timeout: Duration.Duration | undefined
}

const runCommand = Effect.fnUntraced(function* (dependencies: Dependencies, context: JobRunner.JobContext) {
  const { base, outputs, processes, reporterOf, settings, timeout } = dependencies
  const { command, env } = yield* Effect.mapError(context.details, requestFailure)
  if (command.trim() === "") {
    if ((env["BUILDKITE_PLUGINS"] ?? "") !== "") return onlyPlugins
    return yield* new JobRunner.JobRunnerError({ message: "The job has no command to run" })
  }
  if (command.includes("\0")) {
    return yield* new JobRunner.JobRunnerError({ message: "The job's command has a NUL character in it" })
  }
  const [program] = settings.shell
  const environment = { ...base, ...describeJob(context), ...env }
  const { directory, file } = yield* prepare(dependencies, command)
  const sink = yield* outputs.open(context.job.id, environment, [])
  yield* ensureShell(program)
  const reporter = reporterOf(environment)
  const { isTimedOut, termination } = yield* processes
    .run(
      {
        program: reporter[0],
        args: [...reporter.slice(1), ...invocationOf(settings.shell, file)],
        directory,
        environment,
        timeout
      },
      sink.write
    )
    .pipe(
      Effect.catchTag("CannotStart", (error) =>
        Effect.flatMap(notStarted(program, error.code, directory, error), Effect.fail)
      ),
      Effect.ensuring(sink.end)
    )
  if (StatusReporter.couldNotStart(termination)) {
    yield* ensureShell(program)
    return yield* yield* notStarted(program, "EAGAIN", directory, termination)
  }
  return outcomeOf(termination, isTimedOut ? timeout : undefined, yield* outputs.tail(context.job.id))
})

/** Makes the job's file and folder. They are removed after its processes are gone. */
const prepare = Effect.fnUntraced(
  function* ({ folders, processes, settings }: Dependencies, command: string) {
    const fileSystem = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const folder = yield* JobFolder.open(folders, processes.reaper)
    const file = path.join(folder, "command")
    yield* fileSystem.writeFileString(file, command, { flag: "wx", mode: 0o600 })
    const directory = settings.workingDirectory ?? path.join(folder, "work")
    if (settings.workingDirectory === undefined) yield* fileSystem.makeDirectory(directory)
    return { file, directory: path.resolve(directory) }
  },
  (prepared, { folders }) =>
    Effect.mapError(prepared, (error) =>
      hostFailure(
        `Can't make a folder for the job in ${folders}: ${describeCode(error._tag === "FolderError" ? error.code : codeOf(error))}`,
        error
      )
    )
)

/** Why a program could not be started. Only the job's command and environment are reasons that are not of this host. */
const notStarted = Effect.fnUntraced(function* (program: string, code: string, directory: string, cause: unknown) {
  if (code === "E2BIG" || code === "EINVAL") {
    return new JobRunner.JobRunnerError({ message: `Can't start ${program}: ${describeCode(code)}` })
  }
  const fileSystem = yield* FileSystem.FileSystem
  const hasDirectory = yield* Effect.orElseSucceed(fileSystem.exists(directory), () => true)
  return hasDirectory
    ? hostFailure(`Can't start ${program}: ${describeCode(code)}`, cause)
    : hostFailure(`Can't run commands in ${directory}: there is no such folder`, cause)
})

/** Fails if the shell is missing or can't run at the moment. */
const ensureShell = (program: string) =>
  Effect.mapError(findProgram(program, ""), (error) => hostFailure(`Can't start ${program}: ${error.reason}`, error))

/** The outcome of a command. `timeout` is set if it timed out. */
const outcomeOf = (
  termination: ChildProcesses.Termination,
  timeout: Duration.Duration | undefined,
  tail: ReadonlyArray<string>
) => {
  const isTimedOut = timeout !== undefined
  const status = statusOf(termination)
  const end = describeReported(termination)
  const text = isTimedOut
    ? `Timed out after ${Duration.format(timeout)} (${end})`
    : `The command ${termination._tag === "Exited" ? "ended with" : "was"} ${end}`
  return JobRunner.Finished({
    // A command that exits with 0 on SIGTERM has not done its work.
    exitStatus: isTimedOut && status === 0 ? 1 : status,
    detail: withLastLines(text, tail),
    signalReason: isTimedOut ? "cancel" : undefined
  })
}

/** A job whose step has plugins and no command: there is nothing that this runner could run. */
const onlyPlugins = JobRunner.Finished({
  exitStatus: 0,
  detail: "The job has no command, and this runner does not run its plugins: it did nothing"
})

/** The variables that jobs can rely on in every runner. */
const describeJob = ({ job }: JobRunner.JobContext): Environment.Environment =>
  Record.filter(
    {
      CI: "true",
      BUILDKITE: "true",
      BUILDKITE_JOB_ID: job.id,
      BUILDKITE_PIPELINE_SLUG: job.pipeline.slug,
      BUILDKITE_PIPELINE_ID: job.pipeline.uuid,
      BUILDKITE_BUILD_ID: job.build.uuid,
      BUILDKITE_BUILD_NUMBER: job.build.number === null ? null : String(job.build.number),
      BUILDKITE_BRANCH: job.build.branch,
      BUILDKITE_STEP_KEY: job.step.key
    },
    Predicate.isNotNull
  )

const checkOptions = Effect.fnUntraced(function* (options: Options) {
  if (options.shell !== undefined) {
    yield* Check.text("shell", options.shell[0] ?? "", "a program and its arguments")
    for (const argument of options.shell.slice(1)) {
      // An empty argument is one. The byte 0 ends every argument.
      yield* Check.text("shell", `${argument}.`, "a program and its arguments, without the byte 0")
    }
  }
  yield* Check.text("workingDirectory", options.workingDirectory, "the path of a folder")
  yield* Check.duration("timeout", options.timeout, { min: "1 millis" })
  yield* Check.gracePeriod("cancelGracePeriod", options.cancelGracePeriod)
  yield* Check.environment("env", options.env)
  yield* Check.jobOutput(options)
})

const preflight = Effect.fnUntraced(function* ({ logDirectory, shell, workingDirectory }: Options, searchPath: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const unusable = (option: CommandRunnerUnusable["option"], what: string) => (cause: PlatformError.PlatformError) =>
    new CommandRunnerUnusable({ option, message: `${what}: ${errorDescription(cause)}`, cause })
  const [program, ...args] = shell ?? [(yield* hasBash) ? "/bin/bash" : "/bin/sh", "-e", "-c"]
  return {
    logDirectory:
      logDirectory === undefined
        ? undefined
        : yield* Effect.mapError(
            ensureWritable(logDirectory),
            unusable(
              "logDirectory",
              `Can't keep output in ${logDirectory}; make it writable, or set logDirectory to another`
            )
          ),
    workingDirectory:
      workingDirectory === undefined
        ? undefined
        : yield* Effect.mapError(
            fileSystem.realPath(workingDirectory),
            unusable("workingDirectory", `Can't run commands in ${workingDirectory}; set workingDirectory to a folder`)
          ),
    shell: [
      yield* Effect.mapError(
        findProgram(program, searchPath),
        ({ reason }) =>
          new CommandRunnerUnusable({
            option: "shell",
            message: `Can't run commands by ${program}: ${reason}; set shell to an installed one`
          })
      ),
      ...args
    ]
  } as const
})

const hasBash = FileSystem.FileSystem.pipe(
  Effect.flatMap((fileSystem) => fileSystem.exists("/bin/bash")),
  Effect.orElseSucceed(() => false)
)
