/** A hundred clients, as they come about. */
import { JobRunner, RateLimit, RetryPolicy, Stack, StacksClient } from "@stacksapi/core"
import { Context, Duration, Effect, Layer, Random, Schedule, type Scope } from "effect"
import { RateLimiter } from "effect/persistence"
import type { ClientOptions, World } from "./world.ts"

const size = 100

/** What clients do: `all` that they may have to, or `little`, which is little to wait for. */
export type Work = "all" | "little"

/** Starts a crowd: all of it is there after half a minute, or sooner where there is little to do. It ends with the scope. */
export type Crowd = (world: World, work: Work) => Effect.Effect<void, never, Scope.Scope>

const each = <R>(f: (index: number) => Effect.Effect<unknown, never, R>): Effect.Effect<void, never, R> =>
  Effect.forEach(Array.from({ length: size }), (_, index) => f(index), { discard: true })

/** Calls every so many seconds, more or less, and goes on after failures, as programs do. */
const every = (seconds: number, call: Effect.Effect<unknown, unknown>) =>
  Effect.gen(function* () {
    yield* Effect.sleep(Duration.seconds(seconds * (yield* Random.next)))
    return yield* Effect.repeat(Effect.ignore(call), Schedule.jittered(Schedule.spaced(Duration.seconds(seconds))))
  }).pipe(Effect.forkScoped)

/** What a client asks for, each every so many seconds. */
interface Pace {
  readonly list: number
  readonly states: number
  readonly finish: number
}

/** So that all of a crowd together use four fifths of one stack's limits. */
const sharedPace: Pace = { list: size / 8, states: size / 16, finish: size / 20 }
/** As a stack that has a few jobs. */
const ownPace: Pace = { list: 1, states: 5, finish: 5 }

const works = Effect.fnUntraced(function* (
  client: StacksClient.Service,
  stackKey: string,
  { finish, list, states }: Pace,
  jobs: Array<string>,
  work: Work
) {
  yield* every(list, client.listScheduledJobs({ stackKey, clusterQueueKey: "q", pageSize: 10 }))
  if (work === "little") return
  yield* every(states, client.getJobStates({ stackKey, jobUuids: ["00000000-0000-4000-8000-000000000000"] }))
  yield* every(
    finish,
    Effect.suspend(() => {
      const jobUuid = jobs.pop()
      return jobUuid === undefined
        ? Effect.void
        : client.finishJob({ stackKey, jobUuid, exitStatus: 0, detail: "done" })
    })
  )
})

/** Registers a stack, and reserves jobs for it. */
const stackWithJobs = Effect.fnUntraced(function* (world: World, stackKey: string, count: number) {
  const client = yield* world.client({})
  yield* Effect.orDie(client.registerStack({ key: stackKey, type: "custom", queueKey: "q" }))
  const jobs = yield* world.emulator.addJobs(Array.from({ length: count }, () => ({ queueKey: "q" })))
  const jobUuids = jobs.map(({ id }) => id)
  for (let from = 0; from < count; from += 1000) {
    const batch = { stackKey, jobUuids: jobUuids.slice(from, from + 1000), reservationExpiry: "1 hour" } as const
    yield* Effect.delay(Effect.orDie(client.batchReserveJobs(batch)), "150 millis")
  }
  return jobUuids
})

type MakeOptions<R> = Effect.Effect<ClientOptions, never, R>

/** Clients of one stack. */
const ofOneStack = Effect.fnUntraced(function* <R>(world: World, work: Work, makeOptions: MakeOptions<R>) {
  const jobs = yield* stackWithJobs(world, "s", work === "all" ? 10_000 : 0)
  yield* each(() =>
    Effect.gen(function* () {
      yield* works(yield* world.client(yield* makeOptions), "s", sharedPace, jobs, work)
    })
  )
})

/** A limiter of its own, as each process has one. */
const limiterOf = <R>(layer: Layer.Layer<never, never, R>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, RateLimit.RateLimit))

const inMemory = limiterOf(RateLimit.layerMemory)

/** A stack with jobs that take a minute, one every ten seconds. */
const stack = Effect.fnUntraced(function* (world: World, work: Work, index: number) {
  const queueKey = `q${index}`
  const runner = JobRunner.layer(() =>
    Effect.gen(function* () {
      yield* Effect.sleep(Duration.seconds(yield* Random.nextIntBetween(20, 100)))
      return JobRunner.Finished({ exitStatus: 0, detail: "done" })
    })
  )
  if (work === "all") yield* every(10, world.emulator.addJobs([{ queueKey }]))
  const client = yield* world.client({})
  yield* Effect.sleep(Duration.millis(1000 * (yield* Random.next)))
  return yield* Stack.make({ key: `s${index}`, queueKey, maxInFlight: 10, onClose: "detach" }).pipe(
    Effect.provide([runner, Layer.succeed(StacksClient.StacksClient, client)]),
    Effect.orDie
  )
})

/** Those that are to keep within the limits. */
export const crowds = {
  "one process, RateLimit.layerMemory": (world, work) =>
    Effect.flatMap(inMemory, (limiter) => ofOneStack(world, work, Effect.succeed({ limiter }))),

  "the same, with a retry budget": (world, work) =>
    Effect.flatMap(inMemory, (limiter) =>
      ofOneStack(world, work, Effect.succeed({ limiter, policy: RetryPolicy.standard.pipe(RetryPolicy.withBudget()) }))
    ),

  "100 processes, RateLimit.layerStore": (world, work) =>
    Effect.flatMap(Layer.build(RateLimiter.layerStoreMemory), (store) =>
      ofOneStack(
        world,
        work,
        limiterOf(Layer.orDie(RateLimit.layerStoreWith({ processes: size }))).pipe(
          Effect.map((limiter) => ({ limiter })),
          Effect.provideContext(store)
        )
      )
    ),

  "100 processes, a stack key each, RateLimit.layerMemory": (world, work) =>
    each((index) =>
      Effect.gen(function* () {
        const jobs = yield* stackWithJobs(world, `s${index}`, work === "all" ? 100 : 0)
        const client = yield* world.client({ limiter: yield* inMemory })
        yield* works(client, `s${index}`, ownPace, jobs, work)
      }).pipe(Effect.forkScoped)
    ),

  "100 processes, each a Stack": (world, work) => each((index) => Effect.forkScoped(stack(world, work, index)))
} satisfies Record<string, Crowd>

/** Those that do not, and what to do instead is said in the documentation. */
export const careless = {
  "100 processes, RateLimit.layerMemory in each": (world, work) =>
    ofOneStack(
      world,
      work,
      Effect.map(inMemory, (limiter) => ({ limiter }))
    ),
  "one process, no RateLimit": (world, work) => ofOneStack(world, work, Effect.succeed({}))
} satisfies Record<string, Crowd>
