#!/usr/bin/env node
/** The process around the command `stacksapi`: its arguments, signals, output and exit status. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import * as ExitStatus from "./internal/cli/exitStatus.ts"
import { Host } from "./internal/cli/host.ts"
import { main } from "./internal/cli/main.ts"
import { ofArguments } from "./internal/cli/outputMode.ts"
import * as Stdout from "./internal/cli/stdout.ts"
import { describeCode, errorCode } from "./internal/process/errorDescription.ts"
import { toJson } from "./internal/terminal/messages.ts"

const { signals } = ExitStatus

/** Why the command ends early: a signal, a closed pipe, or an output that can't be written. */
type Ending = ExitStatus.Signal | "NoReader" | { readonly code: string }

const args = process.argv.slice(2)
const mode = ofArguments(args)

let ending: Ending | undefined
let isSignaled = false
let isStopExpected = false
let interrupt = () => {}

const end = (reason: Ending): void => {
  if (ending !== undefined) return
  ending = reason
  interrupt()
}

const onOutputError = (cause: unknown): void => {
  const code = errorCode(cause)
  if (code === "EPIPE") end("NoReader")
  // A closed terminal fails like this before, or instead of, its signal.
  else if (code === "EIO" && process.stdout.isTTY) end("SIGHUP")
  else end({ code })
}

const onSignal = (signal: ExitStatus.Signal): void => {
  // The second signal ends the process at once. A closing terminal may send SIGHUP twice, and together with other signals.
  if (isSignaled && signal !== "SIGHUP") process.exit(signals[signal])
  isSignaled = true
  end(signal)
}

const exitStatusOf = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Predicate.isObject(ending)) {
    const message = `Can't write to the standard output: ${describeCode(ending.code)}`
    // @effect-diagnostics-next-line globalDate:off - the program has ended, and its services with it.
    const json = () => toJson({ level: "error", message, exitStatus: ExitStatus.failure }, Date.now())
    process.stderr.write(mode.isJson ? `${json()}\n` : `stacksapi: ${message}\n`)
    return ExitStatus.failure
  }
  if (Exit.isSuccess(exit) && Predicate.isNumber(exit.value)) return exit.value
  if (ending === undefined) return ExitStatus.failure
  if (ending === "NoReader") return ExitStatus.success
  return isStopExpected && ending !== "SIGINT" ? ExitStatus.success : signals[ending]
}

const host = Host.of({
  expectStop: Effect.sync(() => {
    isStopExpected = true
  })
})

const program = Effect.suspend(() => main(args, mode)).pipe(
  Effect.provideService(Host, host),
  Effect.provideService(Console.Console, Stdout.makeConsole(onOutputError)),
  Effect.provide(NodeServices.layer)
)

const run = Runtime.makeRunMain(({ fiber }) => {
  interrupt = () => fiber.interruptUnsafe(fiber.id)
  if (ending !== undefined) interrupt()
  for (const signal of Object.keys(signals) as ReadonlyArray<ExitStatus.Signal>) {
    process.on(signal, () => onSignal(signal))
  }
  // A closed pipe ends the command. Any other failure to write logs does not stop the work.
  process.stderr.on("error", (cause) => {
    if (errorCode(cause) === "EPIPE") end("NoReader")
  })
  fiber.addObserver((exit) => {
    // After this write, a failure to write the last output is known.
    process.stdout.write("", () => process.exit(exitStatusOf(exit)))
  })
})

run(program, { disableErrorReporting: true })
