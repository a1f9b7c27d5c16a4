/**
 * Runs the command of each job itself, in a shell: for local runs, and for stacks whose jobs need no agent.
 *
 * **Details**
 *
 * A command gets the job's environment, the variables that Buildkite's own jobs can rely on (`BUILDKITE_JOB_ID`, `CI` and so on), and
 * of this process's environment only what programs need: `PATH`, `HOME`, `USER`, `LOGNAME`, `SHELL`, `LANG`, `LC_ALL`,
 * `LC_CTYPE`, `TZ`, `TMPDIR`, `SSL_CERT_FILE`, `SSL_CERT_DIR` and those of proxies. Its standard input is empty. Nothing is checked
 * out, and plugins, hooks and artifacts are the agent's.
 *
 * A command is passed to the shell as a file that only this user can read, in the folder for temporary files. It can have any
 * length, and nothing of it is in the process list.
 *
 * The job ends with the exit status of the shell, and the last lines of its output as the detail. If a signal ended the shell, also
 * a real-time signal, the status is 128 and the signal's number. Processes that the command left running are stopped: SIGTERM, 2
 * seconds later SIGKILL. Then the job's folder is removed. A folder that can't be removed is logged, and does not change the job's
 * outcome.
 *
 * A job that is canceled or times out gets SIGTERM, and `cancelGracePeriod` later SIGKILL, with all of its descendants. A stack that
 * ends does not wait for that, but its process does: the layer's end takes as long. If this process itself is killed, a small
 * reaper process does the same: nothing of a job is left `cancelGracePeriod` and 5 seconds later, neither a process nor its folder.
 *
 * Where this host can't start a command at the moment, the runner fails with an error that is retryable: no file descriptors, processes,
 * memory or disk space, a shell or a folder that is missing. The command has not been started then. An environment that is too
 * long for the system, or has a NUL character in it, fails the job.
 *
 * **Gotchas**
 *
 * A `shell` that runs commands elsewhere, such as in a container or as another user, has to be able to read the command's file.
 *
 * For Linux and macOS. It isolates nothing. A command runs as this process's user: it can read that user's files, reach the
 * network, signal other processes, and read what this process can, its token included. Run only commands that you trust.
 * Everywhere but on Linux, a process that leaves the command's process group (`setsid`, a daemon) is not found and goes on; on
 * Linux, only one that drops its environment too. In a container, start this process under an init (`docker run --init`), which
 * takes note of orphans' ends.
 *
 * @since 0.1.0
 */
import { tmpdir } from "node:os"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as JobRunner from "@stacksapi/core/JobRunner"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Predicate from "effect/Predicate"
import * as Record from "effect/Record"
import type * as Redacted from "effect/Redacted"
import * as Check from "./internal/options.ts"
import * as ChildProcesses from "./internal/process/childProcesses.ts"
import * as Environment from "./internal/process/environment.ts"
import { codeOf, describeCode, errorDescription } from "./internal/process/errorDescription.ts"
import { invocationOf } from "./internal/process/invocation.ts"
import * as JobFolder from "./internal/process/jobFolder.ts"
import * as JobOutputs from "./internal/process/jobOutputs.ts"
import { hostTrouble, notGiven, scoped } from "./internal/process/jobScope.ts"
import { ensureWritable, findProgram } from "./internal/process/preflight.ts"
import * as StatusReporter from "./internal/process/statusReporter.ts"
import { describeReported, statusOf, withLastLines } from "./internal/process/termination.ts"
import { gracePeriod } from "./internal/process/terminationPolicy.ts"
import * as JobOutput from "./JobOutput.ts"

/**
 * How commands are run.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends JobOutput.Options {
  /**
   * The program and arguments that run a command. Default `/bin/bash -e -c`, as the agent's; where there is no such file,
   * `/bin/sh -e -c`. A shell with `-c` as its last argument reads the command's file as `. FILE` does. Any other program gets the
   * file as its last argument, in place of an option for code (`python3 -c`, `node -e`).
   */
  readonly shell?: readonly [program: string, ...args: ReadonlyArray<string>] | undefined
  /** The folder to run all commands in, such as a checkout. Default: for each job a new empty one, removed after it. */
  readonly workingDirectory?: string | undefined
  /**
   * How long a job may run; then it is stopped as a canceled one is, and fails with the signal reason `cancel`. At least 1
   * millisecond; default: as long as it takes.
   */
  readonly timeout?: Duration.Input | undefined
  /** How long a job that is canceled or timed out has from SIGTERM to SIGKILL. Default 10 seconds, at most 7 days. */
  readonly cancelGracePeriod?: Duration.Input | undefined
  /** More environment variables; a job's own win over them. Buildkite's tokens are left out. */
  readonly env?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
}

/**
 * No command can run here: a folder that it needs is missing or can't be written.
 *
 * @since 0.1.0
 * @category errors
 */
export class CommandRunnerUnusable extends Data.TaggedError("CommandRunnerUnusable")<{
  /** What is wrong, and what to do about it. */
  readonly message: string
  /** The option to look at. */
  readonly option: "logDirectory" | "shell" | "workingDirectory"
  readonly cause?: unknown
}> {}

/**
 * Runs the command of each job in a shell.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<JobRunner.JobRunner | JobOutput.JobOutput, CommandRunnerUnusable | InvalidOptions> =>
  Layer.effectContext(make(options)).pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer]))

const make = Effect.fnUntraced(function* (options: Options) {
  yield* checkOptions(options)
  const fileSystem = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const base = Environment.minimal(options.env)
  const settings = yield* check(options, base["PATH"] ?? "")
  const outputs = yield* JobOutputs.make({ ...options, logDirectory: settings.logDirectory }, options.env ?? {})
  const folders = path.resolve(tmpdir())
  const processes = yield* ChildProcesses.make({
    policy: { killAfter: gracePeriod(options.cancelGracePeriod) },
    folders
  })
  const timeout = options.timeout === undefined ? undefined : Duration.fromInputUnsafe(options.timeout)
  const [program] = settings.shell
  const reporterOf = StatusReporter.make(yield* hasBash)

  /** The job's file and folder. They are removed after its processes are gone. */
  const prepare = Effect.fnUntraced(
    function* (command: string) {
      const folder = yield* JobFolder.open(folders, processes.reaper)
      const file = path.join(folder, "command")
      yield* fileSystem.writeFileString(file, command, { flag: "wx", mode: 0o600 })
      const directory = settings.workingDirectory ?? path.join(folder, "work")
      if (settings.workingDirectory === undefined) yield* fileSystem.makeDirectory(directory)
      return { file, directory: path.resolve(directory) }
    },
    Effect.mapError((error) =>
      hostTrouble(
        `Can't make a folder for the job in ${folders}: ${describeCode(error._tag === "FolderError" ? error.code : codeOf(error))}`,
        error
      )
    )
  )

  /** Why a program could not be started. The job's command and environment are the only reasons that are not of this host. */
  const notStarted = Effect.fnUntraced(function* (code: string, directory: string, cause: unknown) {
    if (code === "E2BIG" || code === "EINVAL") {
      return new JobRunner.JobRunnerError({ message: `Can't start ${program}: ${describeCode(code)}` })
    }
    const hasDirectory = yield* Effect.orElseSucceed(fileSystem.exists(directory), () => true)
    return hasDirectory
      ? hostTrouble(`Can't start ${program}: ${describeCode(code)}`, cause)
      : hostTrouble(`Can't run commands in ${directory}: there is no such folder`, cause)
  })

  /** Fails where the shell is missing or can't be run at the moment. */
  const ensureShell = findProgram(program, "").pipe(
    Effect.provideContext(yield* Effect.context<FileSystem.FileSystem | Path.Path>()),
    Effect.mapError((error) => hostTrouble(`Can't start ${program}: ${error.reason}`, error))
  )

  const runCommand = Effect.fnUntraced(function* (context: JobRunner.JobContext) {
    const { command, env } = yield* Effect.mapError(context.details, notGiven)
    if (command.trim() === "") {
      return yield* new JobRunner.JobRunnerError({ message: "The job has no command to run" })
    }
    if (command.includes("\0")) {
      return yield* new JobRunner.JobRunnerError({ message: "The job's command has a NUL character in it" })
    }
    const environment = { ...base, ...describeJob(context), ...env }
    const { directory, file } = yield* prepare(command)
    const sink = yield* outputs.open(context.job.id, environment, [])
    yield* ensureShell
    const reporter = reporterOf(environment)
    const { ended, isTimedOut } = yield* processes
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
          Effect.flatMap(notStarted(error.code, directory, error), Effect.fail)
        ),
        Effect.ensuring(sink.end)
      )
    if (StatusReporter.couldNotStart(ended)) {
      yield* ensureShell
      return yield* yield* notStarted("EAGAIN", directory, ended)
    }
    const status = statusOf(ended)
    const end = describeReported(ended)
    const text =
      isTimedOut && timeout !== undefined
        ? `Timed out after ${Duration.format(timeout)} (${end})`
        : `The command ${ended._tag === "Exited" ? "ended with" : "was"} ${end}`
    return JobRunner.Finished({
      // A command that takes a SIGTERM for a reason to succeed did not do what it was there for.
      exitStatus: isTimedOut && status === 0 ? 1 : status,
      detail: withLastLines(text, yield* outputs.tail(context.job.id)),
      signalReason: isTimedOut ? "cancel" : undefined
    })
  })

  const run = (context: JobRunner.JobContext) => processes.tracked(scoped(runCommand(context)))

  // A stack that stops does not wait for long.
  yield* Effect.addFinalizer(() => processes.settled)

  return Context.make(JobRunner.JobRunner, JobRunner.make(run)).pipe(
    Context.add(JobOutput.JobOutput, { lines: outputs.lines, tail: outputs.tail })
  )
})

/** What jobs can rely on wherever they run. */
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
  if (options.shell !== undefined) yield* Check.text("shell", options.shell[0] ?? "", "a program and its arguments")
  yield* Check.text("workingDirectory", options.workingDirectory, "the path of a folder")
  yield* Check.duration("timeout", options.timeout, { min: "1 millis" })
  yield* Check.gracePeriod("cancelGracePeriod", options.cancelGracePeriod)
  yield* Check.environment("env", options.env)
  yield* Check.jobOutput(options)
})

const check = Effect.fnUntraced(function* ({ logDirectory, shell, workingDirectory }: Options, searchPath: string) {
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
            message: `Can't run commands by ${program}: ${reason}; set shell to one that is there`
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
