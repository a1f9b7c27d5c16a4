import * as Effect from "effect/Effect"
import { concurrency } from "./contender.ts"

/** `sumConcurrently` for effects: the same number of workers, each a fiber. */
export const sumEffects = <E, R>(
  times: number,
  f: (index: number) => Effect.Effect<number, E, R>
): Effect.Effect<number, E, R> =>
  Effect.suspend(() => {
    let next = 0
    let sum = 0
    const work = Effect.whileLoop({
      while: () => next < times,
      body: () => f(next++),
      step: (count) => {
        sum += count
      }
    })
    const workers = Array.from({ length: concurrency }, () => work)
    return Effect.as(Effect.all(workers, { concurrency: "unbounded", discard: true }), () => sum)
  }).pipe(Effect.map((sum) => sum()))
