/** Handlers that are loaded when their command runs. So help, and errors in the arguments, need only the declarations of the flags. */
import * as Effect from "effect/Effect"

/** Loads a module, and runs the handler in it. */
export const handledBy =
  <Input, A, E, R>(load: () => Promise<{ readonly handle: (input: Input) => Effect.Effect<A, E, R> }>) =>
  (input: Input): Effect.Effect<A, E, R> =>
    Effect.flatMap(Effect.promise(load), ({ handle }) => handle(input))
