/** What all commands that call the service share. */
import type * as StacksClient from "@stacksapi/core/StacksClient"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"

/** Their flags. */
export const flags = { json: Output.json, ...Settings.connection }

/** Provides a command with the client for its flags. */
export const withClient = <A, E, R>(
  effect: Effect.Effect<A, E, R | StacksClient.StacksClient>,
  input: Settings.Connection
) => logFailure(Effect.provide(effect, Settings.layerClient(input)))

/** Logs the whole cause of a failure at the level Debug. */
export const logFailure = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.tapCause(effect, (cause) =>
    Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logDebug("The command failed", cause)
  )
