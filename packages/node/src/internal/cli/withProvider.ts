import type * as AgentProvider from "@stacksapi/core/AgentProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { EngineInput } from "./dockerFlags.ts"
import { logFailure } from "./withClient.ts"

/** Provides the commands of `stacksapi agents` with the place where the agents are. */
export const withProvider = <A, E, R>(
  effect: Effect.Effect<A, E, R | AgentProvider.AgentProvider>,
  input: EngineInput
) =>
  logFailure(
    Effect.provide(
      effect,
      Layer.unwrap(
        Effect.map(
          Effect.promise(() => import("./docker.ts")),
          (docker) => docker.layerAgents(input)
        )
      )
    )
  )
