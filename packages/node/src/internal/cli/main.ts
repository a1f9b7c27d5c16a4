/** The command `stacksapi`. */
import * as Cause from "effect/Cause"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Console from "effect/Console"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Messages from "../terminal/messages.ts"
import * as Sanitize from "../terminal/sanitize.ts"
import { agents } from "./agents.ts"
import * as ConfigFile from "./configFile.ts"
import { deregister } from "./deregister.ts"
import { doctor } from "./doctor.ts"
import { emulator } from "./emulator.ts"
import * as ExitStatus from "./exitStatus.ts"
import { type Description, describe, oneLine } from "./failure.ts"
import * as Flag from "./flag.ts"
import { withHelpFlag } from "./help.ts"
import { jobs } from "./jobs.ts"
import * as OneQueue from "./oneQueue.ts"
import { sayFailure } from "./output.ts"
import { OutputMode, ofArguments } from "./outputMode.ts"
import { register } from "./register.ts"
import { run } from "./run.ts"
import { runFlags } from "./runFlags.ts"
import { version } from "./version.ts"

export const stacksapi = Command.make("stacksapi").pipe(
  Command.withDescription(
    "Use Buildkite's Stacks API from a terminal. Set the cluster token with BUILDKITE_CLUSTER_TOKEN or --token-file"
  ),
  Command.withSubcommands([register, deregister, jobs, run, agents, doctor, emulator])
)

/** Runs the command with these arguments. Returns the exit status. `mode` becomes JSON if a flag or a variable asks for it. */
export const main = (args: ReadonlyArray<string>, mode: OutputMode = ofArguments(args)) =>
  ConfigFile.provider(args, Flag.settingsOf(runFlags)).pipe(
    Effect.flatMap((provider) => OneQueue.narrow(args, provider)),
    Effect.flatMap((provider) =>
      Effect.provideService(
        Command.runWith(stacksapi, { version })(withHelpFlag(args)),
        ConfigProvider.ConfigProvider,
        provider
      )
    ),
    Effect.as(ExitStatus.success),
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause) ? Effect.failCause(cause) : report(Cause.squash(cause))
    ),
    Effect.provide(settings),
    Effect.provideService(OutputMode, mode)
  )

const report = (error: unknown): Effect.Effect<number> => {
  // The presenter has shown it already. It is no error if a command without its subcommand shows its help.
  if (CliError.isCliError(error) && error._tag === "ShowHelp") {
    return Effect.succeed(error.errors.length === 0 ? ExitStatus.success : ExitStatus.usage)
  }
  const { exitStatus, message }: Description = describe(error)
  return Effect.as(sayFailure(message, exitStatus), exitStatus)
}

/** Prints errors in the arguments like other errors, without the whole help. */
const presenter: CliOutput.Presenter = {
  present: (event) => {
    if (event._tag !== "InvalidInvocation") return CliOutput.defaultPresenter.present(event)
    const { commandPath, errors } = event
    const problems = errors.some(isTokenFlag) ? [tokenFlag] : errors.map(problemOf)
    return sayFailure(
      problems.join("\n"),
      ExitStatus.usage,
      `See ${commandPath.map(Sanitize.sanitizeLine).join(" ")} --help`
    )
  }
}

/** The message of an error. A flag without an argument takes its variable, whose value may be invalid. */
const problemOf = (error: CliError.NonShowHelpErrors): string =>
  withPlainTerms(
    error._tag === "InvalidValue" && error.value === "config"
      ? `A setting in the environment can't be used: ${oneLine(error.expected)}`
      : error.message
  )

const withPlainTerms = (message: string): string =>
  message.replace("a string representing a finite number", "a number").replace(/Expected: (?=Invalid |Path )/, "")

const isTokenFlag = (error: CliError.NonShowHelpErrors): boolean =>
  error._tag === "UnrecognizedOption" && /^--?(access-|agent-|cluster-)?token$/.test(error.option)

/** Replaces all errors if a token was given as a flag: the others may show it. */
const tokenFlag =
  "There is no flag for the token, because every user of this machine can read command lines. " +
  "Set BUILDKITE_CLUSTER_TOKEN, or use --token-file FILE"

/** Prints log entries to the standard error. With `--json` it writes JSON. */
const logger = Logger.make((options) => {
  const { isJson } = options.fiber.getRef(OutputMode)
  options.fiber.getRef(Console.Console).error((isJson ? Messages.logToJson : Messages.logToLines).log(options))
})

const settings = Layer.mergeAll(
  CliOutput.layerPresenter(presenter),
  CliConfig.layer({
    builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel]
  }),
  Logger.layer([logger])
)
