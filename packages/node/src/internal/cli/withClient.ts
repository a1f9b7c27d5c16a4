/** What all commands have in common that call the service. */
import type * as StacksClient from "@stacksapi/core/StacksClient"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"

/** Their flags. */
export const flags = { json: Output.json, ...Settings.connection }

/** Gives a command the client that its flags ask for. */
export const withClient = <A, E, R>(
  effect: Effect.Effect<A, E, R | StacksClient.StacksClient>,
  input: Settings.Connection
) => logFailure(Effect.provide(effect, Settings.layerClient(input)))

/** The whole story of a failure is told at the log level debug. */
export const logFailure = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.tapCause(effect, (cause) =>
    Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logDebug("The command failed", cause)
  )
