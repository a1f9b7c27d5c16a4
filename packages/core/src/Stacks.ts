/**
 * Many queues in one process: one stack per queue, with fair shares of one pool of slots.
 *
 * **When to use**
 *
 * Use it for several queues that share a runner and the slots of one process. For one queue, use `Stack`. For queues with different
 * runners, start a stack for each with a shared `SlotPool`.
 *
 * **Details**
 *
 * Each queue has its own stack with its own key ({@link keyOf}). It registers, polls, reserves and ends by itself. The service
 * counts requests by stack, so no queue uses up another queue's rate limit. The slots are shared: see {@link SlotPool}.
 *
 * A stack may be unable to start or continue, for example because its queue does not exist (404) or the organization has too many
 * stacks (403). The failure is logged and shown in the status, and the stack is tried again every `retryInterval`. The other queues
 * continue. All stacks end if the token is refused (401), if an option is invalid, or if no queue is left. While a stack runs, it takes
 * its `authGrace` of 401 until the token counts as refused, also if the start of another stack gets 401.
 *
 * A queue that needs more than one stack's rate limits, for example to finish more than 95 jobs per second, can be listed several
 * times, each time with its own `key`.
 *
 * **Example** (Three queues, fifty jobs at a time)
 *
 * ```ts
 * import { JobRunner, Stacks } from "@stacksapi/core"
 * import { Effect } from "effect"
 *
 * export const program = Stacks.run({
 *   key: "my-stack",
 *   queues: ["linux", "deploy", { queueKey: "nightly", weight: 0.5, maxInFlight: 20 }],
 *   maxInFlight: 50
 * }).pipe(Effect.provide(JobRunner.layer(() => Effect.succeed(JobRunner.Finished({ exitStatus: 0, detail: "done" })))))
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Check from "./internal/options.ts"
import * as Metrics from "./internal/stack/metrics.ts"
import * as Settings from "./internal/stack/settings.ts"
import { stackKey } from "./internal/stack/stackKey.ts"
import { CheckToken, checkToken } from "./internal/stack/tokenCheck.ts"
import type { JobRunner } from "./JobRunner.ts"
import * as SlotPool from "./SlotPool.ts"
import * as Stack from "./Stack.ts"
import type { StackEvent } from "./StackEvent.ts"
import { StacksClient } from "./StacksClient.ts"
import { InvalidOptions } from "./StacksError.ts"

/**
 * Settings that the stacks of all queues share.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends Omit<Stack.Options, "key" | "queueKey" | "pool" | "weight" | "onEvent"> {
  /** The prefix of the stacks' keys: 1 to 80 letters, digits, `_` and `-`. */
  readonly key: string
  /** The queues, at least one. A queue that is listed twice needs its own `key` the second time. */
  readonly queues: ReadonlyArray<string | Queue>
  /** The number of slots for all queues together: a whole number of 0 or more. Default 25. */
  readonly maxInFlight?: number | undefined
  /** How much there is of each amount of `requests`, for all queues together. Default: unlimited. */
  readonly capacity?: Readonly<Record<string, number>> | undefined
  /** How long to wait before a queue that could not continue is tried again. Default 1 minute, minimum 1 second. */
  readonly retryInterval?: Duration.Input | undefined
  /** Called with every event and its queue's key; see `Stack.Options`. */
  readonly onEvent?: ((event: StackEvent, queueKey: string) => Effect.Effect<void>) | undefined
  /** Called with every stack that has registered: once for each queue, and again after each retry of the queue. */
  readonly onStack?: ((stack: Stack.Service) => Effect.Effect<void>) | undefined
}

/**
 * A queue, and the settings that differ for it.
 *
 * @since 0.1.0
 * @category options
 */
export interface Queue extends Omit<Stack.Options, "key" | "pool" | "capacity" | "onEvent"> {
  /** How many slots the queue may use. Default: all. */
  readonly maxInFlight?: number | undefined
  /** The queue's share of the slots, relative to other queues. Default 1. */
  readonly weight?: number | undefined
  /** The stack's key. Default {@link keyOf}. */
  readonly key?: string | undefined
}

/**
 * A snapshot of a queue.
 *
 * @since 0.1.0
 * @category models
 */
export interface QueueStatus {
  readonly queueKey: string
  /** The key of the queue's stack. */
  readonly key: string
  /** Undefined while the stack is not registered or can't continue. */
  readonly stack: Stack.Status | undefined
  /** Why the stack can't continue; undefined while it runs. */
  readonly failure: Stack.StartError | undefined
}

/**
 * A snapshot of all queues.
 *
 * @since 0.1.0
 * @category models
 */
export interface Status {
  readonly maxInFlight: number
  /** The number of free slots. */
  readonly free: number
  readonly queues: ReadonlyArray<QueueStatus>
}

/**
 * The stacks of several queues.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly status: Effect.Effect<Status>
  /** The running stacks, by their keys. */
  readonly stacks: Effect.Effect<ReadonlyMap<string, Stack.Service>>
  /** Changes the number of slots. No running job is stopped; if more slots are taken than remain, no job starts until enough are free. */
  readonly setMaxInFlight: (count: number) => Effect.Effect<void, InvalidOptions>
  /** Drains all stacks at once; see `Stack.Service`. */
  readonly drain: Effect.Effect<void>
  /** Fails when no stack can continue. */
  readonly awaitFailure: Effect.Effect<never, Stack.StartError>
}

/**
 * The stacks of several queues.
 *
 * @since 0.1.0
 * @category services
 */
export class Stacks extends Context.Service<Stacks, Service>()("@stacksapi/core/Stacks") {}

/**
 * The key of a queue's stack: `key--queue` if that is a valid key. Otherwise both parts are cropped, and a hash of them is added.
 *
 * **Details**
 *
 * The same inputs always give the same key, and different inputs give different keys, because registering a key for another queue would
 * move the stack. The result has at most 80 letters, digits, `_` and `-` if `key` has no other characters.
 *
 * The service keeps one stack per key in an organization, not in a cluster. If stacks of several clusters share a `key` and a queue's
 * name, pass the uuid or the name of the cluster as `cluster`, so that each gets its own stack key. `getTokenIdentity` of
 * `StacksClient` returns the cluster of a token.
 *
 * @since 0.1.0
 * @category accessors
 */
export const keyOf: (key: string, queueKey: string, cluster?: string) => string = stackKey

/**
 * How many stacks start at the same time. If a thousand stacks started together, they would also poll together each second, with a
 * connection for each of them.
 */
const startsAtOnce = 50

interface Entry {
  readonly options: Queue & { readonly key: string }
  readonly isTried: Deferred.Deferred<void>
  stack: Stack.Service | undefined
  failure: Stack.StartError | undefined
}

/**
 * Starts the stacks of all queues in the background. When the scope closes, all of them drain or detach at once.
 *
 * **Details**
 *
 * Returns when each queue has registered or was refused. Fails if all queues or the token were refused. Fails with `InvalidOptions`,
 * and starts nothing, in these cases: an option is invalid, also one of a queue; there is no queue; or two queues have the same stack
 * key, because they would run jobs twice.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* ({
  capacity,
  key,
  maxInFlight = 25,
  onEvent,
  onStack,
  queues,
  retryInterval = "1 minute",
  ...shared
}: Options): Effect.fn.Return<Service, Stack.StartError, StacksClient | JobRunner | Scope.Scope> {
  const entries = queues.map((queue): Entry => {
    const own = typeof queue === "string" ? { queueKey: queue } : queue
    return {
      options: { ...shared, ...withoutUndefined(own), key: own.key ?? keyOf(key, own.queueKey) },
      isTried: Deferred.makeUnsafe(),
      stack: undefined,
      failure: undefined
    }
  })
  yield* check(key, shared, queues, maxInFlight, retryInterval)
  const byKey = new Map<string, string>()
  for (const { options } of entries) {
    const other = byKey.get(options.key)
    if (other !== undefined) {
      return yield* Check.invalid(
        "queues",
        `must have different stack keys: ${other} and ${options.queueKey} have one stack key, ${options.key}, and would run jobs twice; give one of them another \`key\``
      )
    }
    byKey.set(options.key, options.queueKey)
  }
  // Check the token once for all queues.
  yield* checkToken(yield* StacksClient)
  const pool = yield* SlotPool.make(maxInFlight, { capacity })
  const failure = yield* Deferred.make<never, Stack.StartError>()
  const context = yield* Effect.context<never>()
  const startedAt = yield* Clock.currentTimeMillis
  for (const { options } of entries) Metrics.initLastPoll(options.queueKey, startedAt, context)
  const interval = Duration.format(Duration.fromInputUnsafe(retryInterval))
  let isDraining = false

  const onFailure = Effect.fnUntraced(function* (entry: Entry, error: Stack.StartError) {
    const hasRun = entry.stack !== undefined
    entry.stack = undefined
    entry.failure = error
    const isMistake = !hasRun && (error._tag === "InvalidRequest" || error._tag === "InvalidOptions")
    // While another stack runs, a start does not judge the token: the running stack does, after its `authGrace`.
    const isJudged = isUnauthorized(error) && (hasRun || entries.every(({ stack }) => stack === undefined))
    const isEnd = isMistake || isJudged || entries.every(({ failure }) => failure !== undefined)
    const what = isEnd ? "can't continue" : `can't continue, and is tried again in ${interval}`
    yield* Effect.logError(`Queue ${entry.options.queueKey} ${what}: ${error.message}`)
    if (isEnd) yield* Deferred.fail(failure, error)
    yield* Deferred.succeed(entry.isTried, void 0)
  })

  const life = (entry: Entry) => {
    const { options } = entry
    return Effect.gen(function* () {
      const stack = yield* Stack.make({
        ...options,
        pool,
        onEvent: onEvent === undefined ? undefined : (event) => onEvent(event, options.queueKey)
      }).pipe(Effect.provideService(CheckToken, false))
      entry.stack = stack
      entry.failure = undefined
      if (onStack !== undefined) yield* onStack(stack)
      yield* Deferred.succeed(entry.isTried, void 0)
      if (isDraining) yield* stack.drain
      return yield* stack.awaitFailure
    }).pipe(
      Effect.scoped,
      Effect.catch((error) => onFailure(entry, error)),
      Effect.andThen(Effect.sleep(retryInterval)),
      Effect.repeat({ while: () => !isDraining }),
      // Any other failure is a defect of this library. End all stacks rather than leave one stopped.
      Effect.onError((cause) => (Cause.hasInterruptsOnly(cause) ? Effect.void : Deferred.failCause(failure, cause)))
    )
  }
  const places = yield* Semaphore.make(startsAtOnce)
  const begin = Effect.fnUntraced(function* (entry: Entry) {
    yield* places.take(1)
    // A queue that fails to start does not delay the others.
    const isUnderWay = Effect.raceFirst(Deferred.await(entry.isTried), Effect.sleep("1 second"))
    yield* Effect.forkChild(Effect.andThen(isUnderWay, places.release(1)))
    return yield* life(entry)
  })
  // One fiber runs all stacks, so that interrupting it ends all of them at the same time.
  yield* Effect.forkScoped(Effect.forEach(entries, begin, { concurrency: "unbounded", discard: true }))
  yield* Effect.raceFirst(
    Effect.forEach(entries, ({ isTried }) => Deferred.await(isTried), { discard: true }),
    Deferred.await(failure)
  )

  return {
    status: Effect.gen(function* () {
      const statuses = yield* Effect.forEach(entries, ({ failure, options, stack }) =>
        Effect.map(stack === undefined ? Effect.undefined : stack.status, (status) => ({
          queueKey: options.queueKey,
          key: options.key,
          stack: status,
          failure
        }))
      )
      return { maxInFlight: pool.size(), free: pool.free(), queues: statuses }
    }),
    stacks: Effect.sync(
      () => new Map(entries.flatMap(({ options, stack }) => (stack === undefined ? [] : [[options.key, stack]])))
    ),
    setMaxInFlight: (count) => Effect.andThen(Settings.slots(count), pool.setSize(count)),
    drain: Effect.suspend(() => {
      isDraining = true
      return Effect.forEach(entries, ({ stack }) => stack?.drain ?? Effect.void, {
        concurrency: "unbounded",
        discard: true
      })
    }),
    awaitFailure: Deferred.await(failure)
  }
})

/** The settings of a queue: its own, or those of all queues if its own are undefined. */
const withoutUndefined = (queue: Queue): Queue => ({
  queueKey: queue.queueKey,
  ...Object.fromEntries(Object.entries(queue).filter(([, value]) => value !== undefined))
})

/** Checks the common settings, then the settings of each queue. */
const check = Effect.fnUntraced(function* (
  key: string,
  shared: Omit<Stack.Options, "key" | "queueKey">,
  queues: Options["queues"],
  maxInFlight: number,
  retryInterval: Duration.Input
): Effect.fn.Return<void, InvalidOptions> {
  yield* Settings.slots(maxInFlight)
  yield* Check.duration("retryInterval", retryInterval, { min: Check.second })
  // Each queue has its own key, so any valid key will do here.
  yield* Settings.resolve({ ...shared, key, queueKey: "default" }, false)
  if (queues.length === 0) return yield* Check.invalid("queues", "must name at least one queue")
  for (const [index, queue] of queues.entries()) {
    if (typeof queue === "string") continue
    yield* Effect.mapError(
      Settings.resolve({ ...withoutUndefined(queue), key: queue.key ?? key }, false),
      ({ issue, option }) => new InvalidOptions({ option: `queues[${index}].${option}`, issue })
    )
  }
})

const isUnauthorized = (error: Stack.StartError): boolean =>
  error._tag === "ErrorResponse" && error.reason._tag === "Unauthorized"

/**
 * Runs the stacks of all queues until it is interrupted, and then drains or detaches them. Fails when no stack can continue.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (options: Options): Effect.Effect<never, Stack.StartError, StacksClient | JobRunner> =>
  Effect.scoped(Effect.flatMap(make(options), (stacks) => stacks.awaitFailure))

/**
 * Runs the stacks of several queues for the lifetime of the layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Stacks, Stack.StartError, StacksClient | JobRunner> =>
  Layer.effect(Stacks, make(options))
