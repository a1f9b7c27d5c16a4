/** Modules that need a package which not everybody has: they are importPeer when somebody asks for them. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import { Failed } from "./failure.ts"

/** Loads a module for a flag or a variable; fails where a package is missing that it needs. */
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

/** In what Node says with ERR_MODULE_NOT_FOUND; another file that is not found is a mistake of ours. */
const missingPackage = /^Cannot find package '(@effect\/sql-pg|redis)'/
