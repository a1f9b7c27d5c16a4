/** What a command may ask of the process in which it runs. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

export class Host extends Context.Service<
  Host,
  {
    /**
     * From now on SIGTERM, SIGHUP and SIGQUIT are how the command is meant to end: when it has ended in order, that is a success.
     */
    readonly expectStop: Effect.Effect<void>
    /** What the machine, or container, calls itself. */
    readonly name: Effect.Effect<string>
  }
>()("@stacksapi/node/internal/cli/host") {}
