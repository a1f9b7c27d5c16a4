/** Tells of queues that nobody leads: where processes differ in their queues, the one that should may not know them. */
import * as Effect from "effect/Effect"
import type { Queues } from "./queues.ts"

/** Longer than any change of the lead takes. */
const interval = "1 minute"

export const warnOfUnled = (
  { demands }: Queues,
  stacks: ReadonlyArray<{ readonly key: string; readonly queueKey: string }>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    let before: ReadonlySet<string> = new Set()
    const warned = new Set<string>()
    const look = Effect.gen(function* () {
      const led = new Set((yield* demands).map(({ stackKey }) => stackKey))
      const unled = stacks.filter(({ key }) => !led.has(key))
      for (const { key, queueKey } of unled) {
        if (!before.has(key) || warned.has(key)) continue
        warned.add(key)
        yield* Effect.logWarning(
          `Nobody leads the queue ${queueKey}: all processes of a cluster have to be given the same queues`
        )
      }
      before = new Set(unled.map(({ key }) => key))
      for (const key of led) warned.delete(key)
    })
    return look.pipe(Effect.ignore, Effect.andThen(Effect.sleep(interval)), Effect.forever)
  })
