/**
 * When a failed call is tried again: Effect's `Schedule`s, chosen by layers.
 *
 * A policy is used by every call that can see it: provided around the call, or beneath the client's layer. The innermost
 * wins, and operations that a policy does not name fall through to the one outside it, at last to {@link standard}. Whatever
 * the policy, a fatal failure is never retried.
 *
 * **Example** (Choosing policies)
 *
 * ```ts
 * import * as RetryPolicy from "@stacksapi/core/RetryPolicy"
 * import * as Layer from "effect/Layer"
 *
 * // The poll is its own retry; everything else gives up after 30 seconds.
 * export const layer = RetryPolicy.layerFor({ listScheduledJobs: RetryPolicy.none }).pipe(
 *   Layer.provide(RetryPolicy.layer(RetryPolicy.standard.pipe(RetryPolicy.maxElapsed("30 seconds"))))
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import { endpointOf } from "./internal/schema/declaration.ts"
import type { Operation } from "./StacksApi.ts"
import type { StacksError } from "./StacksError.ts"

/**
 * The schedule of a policy: its input is the failure, and each of its recurrences is one more attempt.
 *
 * @since 0.1.0
 * @category models
 */
export type RetrySchedule = Schedule.Schedule<unknown, StacksError>

const TypeId = "~@stacksapi/core/RetryPolicy"

/**
 * A schedule for every operation, or for some of them.
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy extends Pipeable {
  readonly [TypeId]: typeof TypeId
  /** The schedule for an operation; undefined where this policy leaves it to the one outside. */
  readonly select: (operation: Operation) => RetrySchedule | undefined
}

const makePolicy = (select: Policy["select"]): Policy => ({
  [TypeId]: TypeId,
  select,
  pipe() {
    return pipeArguments(this, arguments)
  }
})

/**
 * Changes the schedules of a policy: to log each retry, to count them, to jitter, or whatever else `Schedule` can do.
 *
 * @since 0.1.0
 * @category combinators
 */
export const mapSchedule: {
  (f: (schedule: RetrySchedule) => RetrySchedule): (self: Policy) => Policy
  (self: Policy, f: (schedule: RetrySchedule) => RetrySchedule): Policy
} = dual(2, (self: Policy, f: (schedule: RetrySchedule) => RetrySchedule): Policy => {
  const schedules = new Map<RetrySchedule, RetrySchedule>()
  return makePolicy((operation) => {
    const schedule = self.select(operation)
    if (schedule === undefined) return undefined
    let mapped = schedules.get(schedule)
    if (mapped === undefined) {
      mapped = f(schedule)
      schedules.set(schedule, mapped)
    }
    return mapped
  })
})

// -----------------------------------------------------------------------------
// Policies
// -----------------------------------------------------------------------------

/**
 * A policy from a schedule, for every operation: each recurrence of the schedule is one more attempt.
 *
 * **Details**
 *
 * `Retry-After` is not looked at: add {@link honorRetryAfter} for that. A schedule that never ends never gives up.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <Output>(schedule: Schedule.Schedule<Output, StacksError>): Policy => makePolicy(() => schedule)

/**
 * No retries: one attempt, whatever happens.
 *
 * @since 0.1.0
 * @category policies
 */
export const none: Policy = make(Schedule.recurs(0))

/**
 * The delay that the reference client computes before retry `n` (from 0), without jitter: `1000 ^ (n / 16 + 1)`
 * milliseconds, so 1.0 s, 1.5 s, 2.4 s, 3.7 s.
 */
const referenceDelay = (n: number) => 1000 ** (n / 16 + 1)

const reference: RetrySchedule = Schedule.fromStepWithMetadata(
  Effect.succeed(({ attempt }: Schedule.InputMetadata<StacksError>) =>
    Effect.map(Random.next, (random): [number, Duration.Duration] => [
      attempt,
      Duration.millis(referenceDelay(attempt - 1) + 500 + 500 * random)
    ])
  )
)

// -----------------------------------------------------------------------------
// Combinators
// -----------------------------------------------------------------------------

/**
 * At most `n` attempts in all, the first one included.
 *
 * @since 0.1.0
 * @category combinators
 */
export const maxAttempts: {
  (n: number): (self: Policy) => Policy
  (self: Policy, n: number): Policy
} = dual(
  2,
  (self: Policy, n: number): Policy =>
    mapSchedule(self, (schedule) => Schedule.upTo(schedule, { times: Math.max(0, n - 1) }))
)

/**
 * No new attempt later than `duration` after the first failure: a wait that would end after that is not begun.
 *
 * @since 0.1.0
 * @category combinators
 */
export const maxElapsed: {
  (duration: Duration.Input): (self: Policy) => Policy
  (self: Policy, duration: Duration.Input): Policy
} = /*#__PURE__*/ dual(2, (self: Policy, duration: Duration.Input): Policy => {
  const maxMillis = Duration.toMillis(Duration.fromInputUnsafe(duration))
  return mapSchedule(self, (schedule) =>
    Schedule.fromStep(
      Effect.map(Schedule.toStep(schedule), (step) => {
        let firstFailureAt: number | undefined
        return (now: number, input: StacksError) => {
          firstFailureAt ??= now
          const elapsed = now - firstFailureAt
          return Effect.flatMap(step(now, input), (next) =>
            elapsed + Duration.toMillis(next[1]) <= maxMillis ? Effect.succeed(next) : Cause.done(next[0])
          )
        }
      })
    )
  )
})

/**
 * Waits as long as the service asks for (`Retry-After`, or the reset of a 429) instead of the computed delay, and never
 * longer than `max` (5 minutes by default).
 *
 * @since 0.1.0
 * @category combinators
 */
export const honorRetryAfter: {
  (options?: { readonly max?: Duration.Input | undefined }): (self: Policy) => Policy
  (self: Policy, options?: { readonly max?: Duration.Input | undefined }): Policy
} = dual(
  (args) => isPolicy(args[0]),
  (self: Policy, options?: { readonly max?: Duration.Input | undefined }): Policy => {
    const max = Duration.toMillis(Duration.fromInputUnsafe(options?.max ?? "5 minutes"))
    return mapSchedule(self, (schedule) =>
      Schedule.modifyDelay(schedule, ({ duration, input }) => {
        const asked = input._tag === "ErrorResponse" ? input.retryAfter : undefined
        return Effect.succeed(asked === undefined ? duration : Duration.millis(Math.min(Duration.toMillis(asked), max)))
      })
    )
  }
)

/**
 * Caps the retries of all callers together, so that an outage is not multiplied by them: a bucket of `capacity` retries
 * (default 100) that fills up again at `perSecond` (default 10). A call that finds it empty fails with what it has.
 *
 * **Details**
 *
 * The budget belongs to the policy that this returns: every call that uses this policy draws from it.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withBudget: {
  (options?: BudgetOptions): (self: Policy) => Policy
  (self: Policy, options?: BudgetOptions): Policy
} = /*#__PURE__*/ dual(
  (args) => isPolicy(args[0]),
  (self: Policy, options?: BudgetOptions): Policy => {
    const capacity = options?.capacity ?? 100
    const perMilli = (options?.perSecond ?? 10) / 1000
    let tokens = capacity
    let filledAt: number | undefined
    const take = (now: number): boolean => {
      tokens = Math.min(capacity, tokens + Math.max(0, now - (filledAt ?? now)) * perMilli)
      filledAt = now
      if (tokens < 1) return false
      tokens -= 1
      return true
    }
    return mapSchedule(self, (schedule) =>
      Schedule.fromStep(
        Effect.map(
          Schedule.toStep(schedule),
          (step) => (now: number, input: StacksError) =>
            Effect.flatMap(step(now, input), (next) => (take(now) ? Effect.succeed(next) : Cause.done(next[0])))
        )
      )
    )
  }
)

/**
 * The size of a retry budget.
 *
 * @since 0.1.0
 * @category models
 */
export interface BudgetOptions {
  /** Retries that a full bucket holds. Default 100. */
  readonly capacity?: number | undefined
  /** Retries that come back each second. Default 10. */
  readonly perSecond?: number | undefined
}

/**
 * The reference client's numbers, and the default: 5 attempts in all; before retry `n` (from 0) a delay of
 * `1000 ^ (n / 16 + 1)` milliseconds plus a jitter between 0.5 s and 1 s; `Retry-After` replaces it, up to 5 minutes.
 *
 * @since 0.1.0
 * @category policies
 */
export const standard: Policy = make(reference).pipe(maxAttempts(5), honorRetryAfter())

/**
 * Whether it is a policy.
 *
 * @since 0.1.0
 * @category guards
 */
export function isPolicy(u: unknown): u is Policy {
  return typeof u === "object" && u !== null && TypeId in u
}

// -----------------------------------------------------------------------------
// Choosing one
// -----------------------------------------------------------------------------

/**
 * The policy in force. Without any layer it is {@link standard}.
 *
 * @since 0.1.0
 * @category references
 */
export const RetryPolicy: Context.Reference<Policy> = Context.Reference("@stacksapi/core/RetryPolicy", {
  defaultValue: () => standard
})

/**
 * Uses a policy for every operation.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (policy: Policy): Layer.Layer<never> => Layer.succeed(RetryPolicy, policy)

/**
 * Never retries.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerNone: Layer.Layer<never> = /*#__PURE__*/ layer(none)

/**
 * Uses a policy for each operation that is named, and leaves the others to the layer below.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFor = (policies: { readonly [O in Operation]?: Policy | undefined }): Layer.Layer<never> =>
  // Made anew wherever it is used: what is below it differs from place to place.
  Layer.fresh(
    Layer.effect(
      RetryPolicy,
      Effect.contextWith((context: Context.Context<never>) => {
        const below = Context.getOrUndefined(context, RetryPolicy)
        return Effect.succeed(
          makePolicy(
            (operation) =>
              (policies[operation] ?? policies[endpointOf(operation)])?.select(operation) ?? below?.select(operation)
          )
        )
      })
    )
  )

/**
 * Uses a policy for every call that one effect makes.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withPolicy: {
  (policy: Policy): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(effect: Effect.Effect<A, E, R>, policy: Policy): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(effect: Effect.Effect<A, E, R>, policy: Policy): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, RetryPolicy, policy)
)
