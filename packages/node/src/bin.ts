#!/usr/bin/env node
/** The process around the command `stacksapi`: its arguments, signals, output and exit status. */
import { hostname } from "node:os"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import { Host } from "./internal/cli/host.ts"
import { main } from "./internal/cli/main.ts"
import * as Stdout from "./internal/cli/stdout.ts"
import { describeCode, errorCode } from "./internal/process/errorDescription.ts"

const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129, SIGQUIT: 131 } as const

type Signal = keyof typeof signals

/** Why the command is ended: a signal, that nobody reads its output any more, or that its output can't be written. */
type Ending = Signal | "NoReader" | { readonly code: string }

let ending: Ending | undefined
let isAsked = false
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
  // A terminal that is gone answers like this before, or instead of, its signal.
  else if (code === "EIO" && process.stdout.isTTY) end("SIGHUP")
  else end({ code })
}

const onSignal = (signal: Signal): void => {
  // Whoever asks twice does not want to wait. A terminal that closes may send SIGHUP twice, and together with other signals.
  if (isAsked && signal !== "SIGHUP") process.exit(signals[signal])
  isAsked = true
  end(signal)
}

const exitStatus = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Predicate.isObject(ending)) {
    process.stderr.write(`stacksapi: Can't write to the standard output: ${describeCode(ending.code)}\n`)
    return 1
  }
  if (Exit.isSuccess(exit) && Predicate.isNumber(exit.value)) return exit.value
  if (ending === undefined) return 1
  if (ending === "NoReader") return 0
  return isStopExpected && ending !== "SIGINT" ? 0 : signals[ending]
}

const host = Host.of({
  expectStop: Effect.sync(() => {
    isStopExpected = true
  }),
  name: Effect.sync(hostname)
})

const program = Effect.suspend(() => main(process.argv.slice(2))).pipe(
  Effect.provideService(Host, host),
  Effect.provideService(Console.Console, Stdout.makeConsole(onOutputError)),
  Effect.provide(NodeServices.layer)
)

const run = Runtime.makeRunMain(({ fiber }) => {
  interrupt = () => fiber.interruptUnsafe(fiber.id)
  if (ending !== undefined) interrupt()
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const) process.on(signal, () => onSignal(signal))
  // Without a reader there is nobody to tell anything. Any other trouble of the log is no reason to stop the work.
  process.stderr.on("error", (cause) => {
    if (errorCode(cause) === "EPIPE") end("NoReader")
  })
  fiber.addObserver((exit) => {
    // What can't be written of the last output is known when this is.
    process.stdout.write("", () => process.exit(exitStatus(exit)))
  })
})

run(program, { disableErrorReporting: true })
