/**
 * Retry policies: when to retry a failed call. A policy is a `Schedule` of Effect with limits.
 *
 * Provide a policy around calls, or beneath a client's layer to use it for all calls of that client. The innermost policy wins.
 * Operations that it does not name use the next one outside, and finally {@link standard}. A fatal failure is never retried.
 *
 * Make a policy from a schedule with {@link make}. The order of the combinators ({@link maxAttempts}, {@link maxElapsed},
 * {@link honorRetryAfter}, {@link withBudget}, {@link mapSchedule}) does not matter.
 *
 * **Example** (Choosing policies)
 *
 * ```ts
 * import * as RetryPolicy from "@stacksapi/core/RetryPolicy"
 * import * as Layer from "effect/Layer"
 *
 * // Polls need no retries. Everything else gives up after 30 seconds.
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

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

export type {
  /**
   * The policy for one operation: a schedule, and limits that override it.
   *
   * @since 0.2.0
   * @category models
   */
  Plan,
  /**
   * The schedule of a policy. Its input is the failure. Each recurrence is another attempt.
   *
   * @since 0.1.0
   * @category models
   */
  RetrySchedule
} from "./internal/retry/plan.ts"

const TypeId = "~@stacksapi/core/RetryPolicy"

/**
 * A plan for all or some operations.
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy extends Pipeable {
  readonly [TypeId]: typeof TypeId
  /** The plan for an operation; undefined to use the policy outside. */
  readonly select: (operation: Operation) => Plan | undefined
}

const makePolicy = (select: Policy["select"]): Policy => ({
  [TypeId]: TypeId,
  select,
  pipe() {
    return pipeArguments(this, arguments)
  }
})

/** Changes each plan of a policy once. */
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

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * The policy in force. The default is {@link standard}.
 *
 * @since 0.1.0
 * @category references
 */
export const RetryPolicy: Context.Reference<Policy> = Context.Reference("@stacksapi/core/RetryPolicy", {
  defaultValue: () => standard
})

/**
 * Options of {@link withBudget}.
 *
 * @since 0.1.0
 * @category options
 */
export interface BudgetOptions {
  /** The retries in a full bucket. Below 1, nothing is retried. Default 100. */
  readonly capacity?: number | undefined
  /** The retries that are refilled each second. Default 10. */
  readonly perSecond?: number | undefined
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Makes a policy for all operations from a schedule. Each recurrence of the schedule is another attempt.
 *
 * **Details**
 *
 * The policy ignores `Retry-After` without {@link honorRetryAfter}. With an endless schedule it never gives up without
 * {@link maxAttempts} or {@link maxElapsed}. The schedule's time is monotonic, even if the machine's clock is set.
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
 * The reference client's delay before retry `n` (from 0), without jitter: `1000 ^ (n / 16 + 1)` milliseconds, which is 1.0 s, 1.5 s,
 * 2.4 s, 3.7 s.
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
 * Limits the attempts to `n`, including the first one. There is always a first one.
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
 * Starts no attempt later than `duration` after the first failure. If a delay would end later, the call fails at once with its last
 * failure.
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
 * Waits at least as long as the service asks for in `Retry-After` or the reset of a 429, up to `max` (default 5 minutes). If the
 * schedule's delay is longer, it is used.
 *
 * **Details**
 *
 * An HTTP date is compared with the response's `Date` if there is one, because the clocks may differ. Of several `Retry-After`, the
 * longest is used. Of several `max`, the last one is used.
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
 * Limits the retries of all calls together, so that they don't multiply the load of an outage. The budget is a bucket of `capacity`
 * retries (default 100), which is refilled at `perSecond` (default 10). If it is empty, a call fails with its last failure.
 *
 * **Details**
 *
 * A retry is taken from the bucket when it is sent. If a limit or an interruption comes first, it costs nothing. If the bucket would
 * be empty at the end of a delay, the call fails at once.
 *
 * The budget belongs to the returned policy: all calls under it, or under a policy that is made from it, share the budget. With
 * several budgets, each must have a retry left.
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
 * Changes the schedules of a policy, for example to log retries, count them or add jitter.
 *
 * **Details**
 *
 * The schedule that `f` gets includes the policy's limits and `Retry-After`, even if their combinators come later. They also apply
 * to the result: `f` can't make a delay shorter than `Retry-After`, or add attempts above a limit.
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

/**
 * Uses a policy for all calls in an effect.
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

// -----------------------------------------------------------------------------
// Policies
// -----------------------------------------------------------------------------

/**
 * The default policy, with the numbers of the reference client.
 *
 * **Details**
 *
 * 5 attempts. The delay before retry `n` (from 0) is `1000 ^ (n / 16 + 1)` milliseconds plus a jitter between 0.5 s and 1 s, or longer
 * if the service asks for it, up to 5 minutes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const standard: Policy = make(reference).pipe(maxAttempts(5), honorRetryAfter())

/**
 * No retries.
 *
 * @since 0.1.0
 * @category constructors
 */
export const none: Policy = maxAttempts(standard, 1)

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * Uses a policy for all operations.
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
 * Uses a policy for each named operation. The others use the policy of the layer below.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFor = (policies: { readonly [O in Operation]?: Policy | undefined }): Layer.Layer<never> =>
  // Fresh, because the layer below differs from place to place.
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

// -----------------------------------------------------------------------------
// Guards
// -----------------------------------------------------------------------------

/**
 * Whether a value is a policy.
 *
 * @since 0.1.0
 * @category guards
 */
export function isPolicy(u: unknown): u is Policy {
  return typeof u === "object" && u !== null && TypeId in u
}
