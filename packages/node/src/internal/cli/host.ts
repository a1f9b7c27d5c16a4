/** The process that a command runs in. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

export class Host extends Context.Service<
  Host,
  {
    /** Makes an orderly shutdown on SIGTERM, SIGHUP or SIGQUIT a success from now on. */
    readonly expectStop: Effect.Effect<void>
  }
>()("@stacksapi/node/internal/cli/host") {}
