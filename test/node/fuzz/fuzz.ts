/** What fuzzing has in common, whichever side it is of. */
import { Clock, Data, type Duration, Effect } from "effect"

/** How often each outcome was. */
export type Outcomes = Record<string, number>

/** An outcome that may not be. The seed and the number of the case bring it back. */
export class Unexpected extends Data.TaggedError("Unexpected")<{
  readonly seed: number
  readonly index: number
  readonly problem: string
  readonly sent: string
}> {
  override get message(): string {
    return `Case ${this.index} of seed ${this.seed}: ${this.problem}\n${this.sent.slice(0, 4000)}`
  }
}

const realClock = Effect.runSync(Clock.Clock)

/** In real time, also within a test; fails where it takes too long. */
export const live = <A, E, R>(most: Duration.Input, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | string, R> =>
  effect.pipe(
    Effect.timeoutOrElse({ duration: most, orElse: () => Effect.fail(`It hangs: no end within ${String(most)}`) }),
    Effect.provideService(Clock.Clock, realClock)
  )
