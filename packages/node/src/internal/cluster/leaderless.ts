/** Warns of queues without a leader: if processes have different queues, the one that should lead a queue may not know it. */
import * as Effect from "effect/Effect"
import type { Queues } from "./queues.ts"

/** Longer than any change of leaders takes. */
const interval = "1 minute"

export const warnOfLeaderless = (
  { demands }: Queues,
  stacks: ReadonlyArray<{ readonly key: string; readonly queueKey: string }>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    let before: ReadonlySet<string> = new Set()
    const warned = new Set<string>()
    const check = Effect.gen(function* () {
      const led = new Set((yield* demands).map(({ stackKey }) => stackKey))
      const leaderless = stacks.filter(({ key }) => !led.has(key))
      for (const { key, queueKey } of leaderless) {
        if (!before.has(key) || warned.has(key)) continue
        warned.add(key)
        yield* Effect.logWarning(
          `The queue ${queueKey} has no leader: all processes of a cluster have to be given the same queues`
        )
      }
      before = new Set(leaderless.map(({ key }) => key))
      for (const key of led) warned.delete(key)
    })
    return check.pipe(Effect.ignore, Effect.andThen(Effect.sleep(interval)), Effect.forever)
  })
