/** All cases. */
import { Cause, Effect, Exit } from "effect"
import { batches } from "./cases/batches.ts"
import { failures } from "./cases/failures.ts"
import { methods } from "./cases/methods.ts"
import { patience } from "./cases/patience.ts"
import { programs } from "./cases/programs.ts"
import { retries } from "./cases/retries.ts"
import { streams } from "./cases/streams.ts"
import { CurrentPlatform, type Platform } from "./support/platform.ts"
import { play } from "./support/scene.ts"

/** How a case ended: without a problem, or with one. */
export interface Outcome {
  readonly name: string
  readonly problem?: string
}

const cases = { ...methods, ...failures, ...retries, ...patience, ...streams, ...batches, ...programs }

const outcomes = Effect.forEach(
  Object.entries(cases),
  ([name, self]) =>
    play(self).pipe(
      Effect.timeout("4 minutes"),
      Effect.exit,
      Effect.map((exit): Outcome => (Exit.isSuccess(exit) ? { name } : { name, problem: Cause.pretty(exit.cause) }))
    ),
  { concurrency: 8 }
)

/** Runs all cases on a platform, and reports how they ended to its host. */
export const report = async (run: string, platform: Platform): Promise<void> => {
  const ended = await Effect.runPromise(Effect.provideService(outcomes, CurrentPlatform, platform))
  await fetch(new URL(`report/${run}`, platform.host), { method: "POST", body: JSON.stringify(ended) })
}
