/**
 * When a failed call is tried again: Effect's `Schedule`s with limits, chosen by layers.
 *
 * A policy is used by every call that can see it: provided around the call, or beneath the client's layer. The innermost
 * wins, and operations that a policy does not name fall through to the one outside it, at last to {@link standard}. Whatever
 * the policy, a fatal failure is never retried.
 *
 * A policy is made from a schedule by {@link make}. The combinators ({@link maxAttempts}, {@link maxElapsed},
 * {@link honorRetryAfter}, {@link withBudget}, {@link mapSchedule}) mean the same in any order.
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
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import { endpointOf } from "./internal/api/declaration.ts"
import { makeBudget } from "./internal/retry/budget.ts"
import { bounded, type Plan, type RetrySchedule } from "./internal/retry/plan.ts"
import type { Operation } from "./StacksApi.ts"
import type { StacksError } from "./StacksError.ts"

export type {
  /**
   * What a policy says of one operation: a schedule, and the limits that hold whatever the schedule says.
   *
   * @since 0.2.0
   * @category models
   */
  Plan,
  /**
   * The schedule of a policy: its input is the failure, and each of its recurrences is one more attempt.
   *
   * @since 0.1.0
   * @category models
   */
  RetrySchedule
} from "./internal/retry/plan.ts"

const TypeId = "~@stacksapi/core/RetryPolicy"

/**
 * A plan for every operation, or for some of them.
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy extends Pipeable {
  readonly [TypeId]: typeof TypeId
  /** The plan for an operation; undefined where this policy leaves it to the one outside. */
  readonly select: (operation: Operation) => Plan | undefined
}

const makePolicy = (select: Policy["select"]): Policy => ({
  [TypeId]: TypeId,
  select,
  pipe() {
    return pipeArguments(this, arguments)
  }
})

/** Changes every plan of a policy, each of them once. */
const mapPlans = (self: Policy, f: (plan: Plan) => Partial<Plan>): Policy => {
  const plans = new Map<Plan, Plan>()
  return makePolicy((operation) => {
    const plan = self.select(operation)
    if (plan === undefined) return undefined
    const changed = plans.get(plan) ?? { ...plan, ...f(plan) }
    plans.set(plan, changed)
    return changed
  })
}

/**
 * Changes the schedules of a policy: to log each retry, to count them, to jitter, or whatever else `Schedule` can do.
 *
 * **Details**
 *
 * The schedule that `f` gets has the policy's limits and waits for `Retry-After` if the policy does, whether those combinators
 * come before or after this one. They hold for the result as well: no wait becomes shorter than what the service asked for, and
 * no attempt is added above a limit.
 *
 * @since 0.1.0
 * @category combinators
 */
export const mapSchedule: {
  (f: (schedule: RetrySchedule) => RetrySchedule): (self: Policy) => Policy
  (self: Policy, f: (schedule: RetrySchedule) => RetrySchedule): Policy
} = dual(2, (self: Policy, f: (schedule: RetrySchedule) => RetrySchedule): Policy => {
  const schedules = new Map<Plan, RetrySchedule>()
  return mapPlans(self, ({ compile = bounded }) => ({
    compile: (plan) => {
      const schedule = schedules.get(plan) ?? f(compile(plan))
      schedules.set(plan, schedule)
      return schedule
    }
  }))
})

// -----------------------------------------------------------------------------
// Policies
// -----------------------------------------------------------------------------

/**
 * A policy from a schedule, for every operation: each recurrence of the schedule is one more attempt.
 *
 * **Details**
 *
 * `Retry-After` is not looked at: add {@link honorRetryAfter} for that. A schedule that never ends never gives up. The time that
 * a schedule sees goes on steadily, also where the machine's clock is set.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <Output>(schedule: Schedule.Schedule<Output, StacksError>): Policy => {
  const plan: Plan = {
    schedule,
    maxAttempts: Number.POSITIVE_INFINITY,
    maxElapsed: Number.POSITIVE_INFINITY,
    maxRetryAfter: 0,
    budgets: []
  }
  return makePolicy(() => plan)
}

/**
 * The delay that the reference client computes before retry `n` (from 0), without jitter: `1000 ^ (n / 16 + 1)`
 * milliseconds, so 1.0 s, 1.5 s, 2.4 s, 3.7 s.
 */
const referenceDelay = (n: number) => 1000 ** (n / 16 + 1)

const reference: RetrySchedule = Schedule.fromStep(
  Effect.sync(() => {
    let n = 0
    return () =>
      Effect.map(Random.next, (random): [number, Duration.Duration] => [
        n,
        Duration.millis(referenceDelay(n++) + 500 + 500 * random)
      ])
  })
)

// -----------------------------------------------------------------------------
// Combinators
// -----------------------------------------------------------------------------

/**
 * At most `n` attempts in all, the first one included. There is always a first one.
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
    mapPlans(self, (plan) => ({ maxAttempts: Math.min(plan.maxAttempts, Number.isNaN(n) ? 1 : Math.max(1, n)) }))
)

/**
 * No new attempt later than `duration` after the first failure, whatever the schedule says and the service asks for. A wait that
 * would end later is not begun: the call fails at once with what it has.
 *
 * @since 0.1.0
 * @category combinators
 */
export const maxElapsed: {
  (duration: Duration.Input): (self: Policy) => Policy
  (self: Policy, duration: Duration.Input): Policy
} = /*#__PURE__*/ dual(2, (self: Policy, duration: Duration.Input): Policy => {
  const maxMillis = Duration.toMillis(Duration.fromInputUnsafe(duration))
  return mapPlans(self, (plan) => ({ maxElapsed: Math.min(plan.maxElapsed, maxMillis) }))
})

/**
 * Waits at least as long as the service asks for (`Retry-After`, or the reset of a 429), but for its sake no longer than `max`
 * (5 minutes by default). Where the service asks for less than the schedule's own delay, the own delay counts.
 *
 * **Details**
 *
 * An HTTP date is compared with the response's own `Date`, where it has one: the clocks may differ. Of several `Retry-After` the
 * longest counts. Of several `max` the last one that was set counts.
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
    const maxRetryAfter = Duration.toMillis(Duration.fromInputUnsafe(options?.max ?? "5 minutes"))
    return mapPlans(self, () => ({ maxRetryAfter }))
  }
)

/**
 * Caps the retries of all callers together, so that an outage is not multiplied by them: a bucket of `capacity` retries
 * (default 100) that fills up again at `perSecond` (default 10). A call that finds it empty fails with what it has.
 *
 * **Details**
 *
 * A retry is taken from the bucket when it is sent. One that is not sent, because a limit or an interruption came first, costs
 * nothing. A wait is not begun where the bucket would be empty at its end.
 *
 * The budget belongs to the policy that this returns: every call that uses this policy, or one that is made from it, draws from
 * it. Of several budgets each must have something left.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withBudget: {
  (options?: BudgetOptions): (self: Policy) => Policy
  (self: Policy, options?: BudgetOptions): Policy
} = /*#__PURE__*/ dual(
  (args) => isPolicy(args[0]),
  (self: Policy, { capacity = 100, perSecond = 10 }: BudgetOptions = {}): Policy => {
    const budget = makeBudget(capacity, perSecond)
    return mapPlans(self, ({ budgets }) => ({ budgets: [...budgets, budget] }))
  }
)

/**
 * The size of a retry budget.
 *
 * @since 0.1.0
 * @category models
 */
export interface BudgetOptions {
  /** Retries that a full bucket holds; below 1, nothing is retried. Default 100. */
  readonly capacity?: number | undefined
  /** Retries that come back each second. Default 10. */
  readonly perSecond?: number | undefined
}

/**
 * The reference client's numbers, and the default: 5 attempts in all; before retry `n` (from 0) a delay of
 * `1000 ^ (n / 16 + 1)` milliseconds plus a jitter between 0.5 s and 1 s, or longer where the service asks for it, up to
 * 5 minutes.
 *
 * @since 0.1.0
 * @category policies
 */
export const standard: Policy = make(reference).pipe(maxAttempts(5), honorRetryAfter())

/**
 * No retries: one attempt, whatever happens.
 *
 * @since 0.1.0
 * @category policies
 */
export const none: Policy = maxAttempts(standard, 1)

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
