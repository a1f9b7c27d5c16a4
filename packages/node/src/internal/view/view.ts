/** A view at work. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import type { Options, View } from "../../StackView.ts"

export const make = Effect.fnUntraced(function* (
  _options: Options = {}
): Effect.fn.Return<View, never, Scope.Scope | Stdio.Stdio | Terminal.Terminal> {
  return {
    format: "lines",
    onEvent: (event) => Console.log(event._tag),
    watch: () => Effect.void,
    print: (text) => Console.error(text),
    logger: Logger.withConsoleError(Logger.formatLogFmt)
  }
})
