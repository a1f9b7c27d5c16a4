/** Modules that need optional packages. They are imported only when a flag or a variable needs them. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import { Failed } from "./failure.ts"

/** Imports a module for a flag or a variable. Fails if the package that it needs is not installed. */
export const importPeer = <A>(what: string, load: () => Promise<A>): Effect.Effect<A, Failed> =>
  Effect.tryPromise(load).pipe(
    Effect.catch(({ cause }) => {
      const missing = Predicate.isError(cause) ? missingPackage.exec(cause.message)?.[1] : undefined
      return missing === undefined
        ? Effect.die(cause)
        : Effect.fail(
            new Failed({
              message: `${what} needs the package ${missing}. Install it beside @stacksapi/node: npm install --global ${missing}`
            })
          )
    })
  )

/** Matches Node's ERR_MODULE_NOT_FOUND for the optional packages. Any other missing file is a bug. */
const missingPackage = /^Cannot find package '(@effect\/sql-pg|redis)'/
