#!/usr/bin/env node
/** The process around the command `stacksapi`: its arguments, signals and exit status. */
import { hostname } from "node:os"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import { Host } from "./internal/cli/host.ts"
import { main } from "./internal/cli/main.ts"

/** Why the command is ended: a signal, or that nobody reads its output any more. */
type Ending = "SIGINT" | "SIGTERM" | "EPIPE"

const exitStatus = { SIGINT: 130, SIGTERM: 143, EPIPE: 0 }

const program = Effect.suspend(() => Effect.provideService(main(process.argv.slice(2)), Host, host)).pipe(
  Effect.provide(NodeServices.layer)
)

let ending: Ending | undefined
const host = Host.of({
  expectSigterm: Effect.sync(() => {
    exitStatus.SIGTERM = 0
  }),
  name: Effect.sync(hostname)
})

const run = Runtime.makeRunMain(({ fiber }) => {
  const end = (reason: Ending): void => {
    // Who asks twice does not want to wait.
    if (ending !== undefined && reason !== "EPIPE") process.exit(reason === "SIGTERM" ? 143 : 130)
    ending ??= reason
    fiber.interruptUnsafe(fiber.id)
  }
  process.on("SIGINT", () => end("SIGINT"))
  process.on("SIGTERM", () => end("SIGTERM"))
  process.stdout.on("error", () => end("EPIPE"))
  process.stderr.on("error", () => end("EPIPE"))
  fiber.addObserver((exit) => {
    if (Exit.isSuccess(exit) && Predicate.isNumber(exit.value)) process.exit(exit.value)
    process.exit(ending === undefined ? 1 : exitStatus[ending])
  })
})

run(program, { disableErrorReporting: true })
