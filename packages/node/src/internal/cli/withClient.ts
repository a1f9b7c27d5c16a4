/** What the handlers of commands that call the service share. */
import type * as StacksClient from "@stacksapi/core/StacksClient"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { layerClient } from "./access.ts"
import type { Connection } from "./settings.ts"

/** Provides a command with the client for its flags. */
export const withClient = <A, E, R>(effect: Effect.Effect<A, E, R | StacksClient.StacksClient>, input: Connection) =>
  logFailure(Effect.provide(effect, layerClient(input)))

/** Logs the whole cause of a failure at the level Debug. */
export const logFailure = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.tapCause(effect, (cause) =>
    Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logDebug("The command failed", cause)
  )
