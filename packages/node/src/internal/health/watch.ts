/** The stacks that are watched, and what each looks like now. */
import type * as Stack from "@stacksapi/core/Stack"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type { Service, StackReport } from "../../HealthServer.ts"

export interface Watch {
  readonly watch: Service["watch"]
  readonly reports: Effect.Effect<ReadonlyArray<StackReport>>
}

interface Watched {
  readonly stack: Stack.Service
  failure: string | null
}

export const make: Effect.Effect<Watch, never, Scope.Scope> = Effect.map(Effect.scope, (scope) => {
  const all = new Set<Watched>()
  return {
    watch: (stack) =>
      Effect.suspend(() => {
        const watched: Watched = { stack, failure: null }
        all.add(watched)
        return stack.awaitFailure.pipe(
          Effect.catchCause((cause) => Effect.sync(() => (watched.failure = messageOf(cause)))),
          Effect.forkIn(scope, { startImmediately: true }),
          Effect.asVoid
        )
      }),
    reports: Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.forEach(all, ({ failure, stack }) => Effect.map(stack.status, (status) => report(status, failure, now)))
    )
  }
})

/** A failure's message alone: what else belongs to it is for the log. */
const messageOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return Predicate.isError(error) ? error.message : String(error)
}

const report = (status: Stack.Status, failure: string | null, now: number): StackReport => ({
  key: status.key,
  queueKey: status.queueKey,
  phase: status.phase,
  isPaused: status.isPaused,
  maxInFlight: status.maxInFlight,
  inFlight: status.inFlight.length,
  waiting: status.waiting,
  held: status.held,
  secondsSincePoll:
    status.lastPolledAt === undefined ? null : Math.max(0, (now - DateTime.toEpochMillis(status.lastPolledAt)) / 1000),
  failure
})
