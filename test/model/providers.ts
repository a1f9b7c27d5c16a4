/** The provider of one life of a stack: what is between the stack and the place where its agents run. */
import { AgentProvider, JobRunner, type Stack } from "@stacksapi/core"
import { Clock, Context, Effect, Exit, Fiber, Layer, type Scope, Stream } from "effect"
import { step } from "./crash.ts"
import * as Place from "./place.ts"
import type { StackPlan } from "./plan.ts"
import * as Invariants from "./providerInvariants.ts"
import { defaultAgent, type ProviderFaultPlan, type ProviderOperation, type ProviderPlan } from "./providerPlan.ts"
import { lookup, noteStop, watched } from "./runners.ts"
import type { Life, Run, World } from "./world.ts"

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

const seconds = (count: number) => `${count} seconds` as const

/** The options of a stack that counts amounts. */
export const optionsWithProvider = (world: World, { provider }: StackPlan): Partial<Stack.Options> => {
  const cpus = provider?.cpus
  if (cpus === undefined) return {}
  return {
    capacity: { cpus },
    requests: ({ id }) => ({ cpus: (world.jobs.get(id)?.plan.agent ?? defaultAgent).cpus })
  }
}

const runnerOptions = (plan: ProviderPlan): AgentProvider.RunnerOptions => ({
  listInterval: seconds(plan.listInterval),
  startDeadline: seconds(plan.startDeadline),
  capacityTimeout: seconds(plan.capacityTimeout),
  maxLifetime: plan.maxLifetime === undefined ? undefined : seconds(plan.maxLifetime),
  cancelGrace: plan.cancelGrace === undefined ? undefined : seconds(plan.cancelGrace),
  createConcurrency: plan.createConcurrency
})

// -----------------------------------------------------------------------------
// The runner
// -----------------------------------------------------------------------------

/** The runner of one life over its provider. */
export const providerRunner = Effect.fnUntraced(function* (
  world: World,
  life: Life,
  plan: ProviderPlan,
  scope: Scope.Scope
): Effect.fn.Return<JobRunner.JobRunner["Service"]> {
  const layer = AgentProvider.layerRunner(runnerOptions(plan)).pipe(
    Layer.provide(Layer.succeed(AgentProvider.AgentProvider, providerOf(world, life, plan)))
  )
  const context = yield* Layer.buildWithScope(layer, scope).pipe(
    Effect.orDie,
    Effect.provideService(Clock.Clock, clockOf(life))
  )
  const runner = Context.get(context, JobRunner.JobRunner)
  return {
    ...runner,
    run: (context) =>
      watched(world, life, context, (run) =>
        Effect.gen(function* () {
          Invariants.onRunStart(world, run)
          yield* noteStop(world, run, context)
          return yield* runner.run({ ...context, issueToken: lookup(run, context.issueToken) })
        }).pipe(
          Effect.scoped,
          Effect.onExit((exit) => Effect.sync(() => onRunExit(world, run, exit)))
        )
      )
  }
})

const onRunExit = (world: World, run: Run, exit: Exit.Exit<JobRunner.JobOutcome, JobRunner.JobRunnerError>) => {
  const { life } = run
  if (life.isAlive && life.closedAt === undefined) Invariants.onRunExit(world, run, exit)
}

/** A clock on which nothing wakes up once the process is gone. */
const clockOf = (life: Life): Clock.Clock => {
  const { clock } = life.process.clock
  return {
    ...clock,
    sleep: (duration) => Effect.flatMap(clock.sleep(duration), () => (isGone(life) ? Effect.never : Effect.void))
  }
}

const isGone = ({ closedAt, isAlive }: Life): boolean => !isAlive || closedAt !== undefined

// -----------------------------------------------------------------------------
// Calls
// -----------------------------------------------------------------------------

const providerOf = (world: World, life: Life, plan: ProviderPlan): AgentProvider.Service => {
  const send = <A>(operation: ProviderOperation, serve: Call<A>) => call(world, life, plan, operation, serve)
  return {
    create: (request) =>
      Effect.suspend(() => {
        if (isGone(life)) return Effect.never
        Invariants.onCreate(world, life, request)
        return Effect.onExit(send("create", Place.create(world, life, request)), (exit) =>
          Effect.sync(() => Invariants.onCreated(world, life, request, exit))
        )
      }),
    list: (stackKey) =>
      Effect.suspend(() => {
        if (isGone(life)) return Effect.never
        const begin = Invariants.onList(world, life)
        return Effect.tap(send("list", Place.list(world, stackKey)), (agents) =>
          Effect.sync(() => Invariants.onListed(life, agents, begin))
        )
      }),
    delete: (agent, reason) =>
      Effect.suspend(() => {
        if (isGone(life)) return Effect.never
        world.note(`${life.name}: delete ${agent.name}: ${reason}`)
        Invariants.onDelete(world, life, agent)
        return send("delete", Place.remove(world, agent.name))
      }),
    ...(plan.refreshesTokens && {
      refreshToken: ({ name }, token) => send("refreshToken", Place.refreshToken(world, name, token))
    }),
    ...(plan.hasChanges && {
      changes: (stackKey) =>
        Stream.fromPubSub(world.place.changes).pipe(
          Stream.filter((agent) => agent.stackKey === stackKey && !isGone(life) && agent.listedAt <= world.now),
          Stream.map(Place.toAgent)
        )
    })
  }
}

type Call<A> = Effect.Effect<A, AgentProvider.ProviderError>

/** A call's way, and its effect, which it has whether or not somebody still waits for its response. */
const call = <A>(world: World, life: Life, plan: ProviderPlan, operation: ProviderOperation, serve: Call<A>): Call<A> =>
  step(
    world,
    life,
    Effect.gen(function* () {
      world.activity++
      const sent = Effect.exit(exchange(world, plan, operation, serve))
      const fiber = yield* Effect.forkDetach(Effect.provideService(sent, Clock.Clock, world.clock), {
        startImmediately: true
      })
      const exit = yield* Fiber.join(fiber)
      if (isGone(life)) return yield* Effect.never
      world.activity++
      if (operation !== "list" || Exit.isFailure(exit)) world.note(`${life.name}: ${operation} -> ${describe(exit)}`)
      Invariants.onAnswer(world, life, exit)
      return yield* exit
    })
  )

const exchange = <A>(world: World, plan: ProviderPlan, operation: ProviderOperation, serve: Call<A>): Call<A> =>
  Effect.gen(function* () {
    const fault = world.place.fault(operation)
    const way = plan.callMillis === 0 ? Effect.void : Effect.suspend(() => Effect.sleep(wayMillis(world, plan)))
    if (fault?.kind === "Stall") return yield* Effect.never
    yield* way
    const response = yield* Effect.exit(fault === undefined ? serve : spoiled(fault, serve))
    yield* way
    return yield* response
  })

const wayMillis = ({ place }: World, { callMillis }: ProviderPlan) => place.random.between(1, callMillis)

const spoiled = <A>(fault: ProviderFaultPlan, serve: Call<A>): Call<A> => {
  switch (fault.kind) {
    case "Unavailable":
      return Effect.fail(Place.unavailable("It does not work"))
    case "NoCapacity":
      return Effect.fail(Place.noCapacity("There is none"))
    case "Refused":
      return Effect.fail(Place.refused("It never works"))
    case "LostResponse":
      return Effect.andThen(serve, Effect.fail(Place.unavailable("The response was lost")))
    case "StallAfter":
      return Effect.andThen(serve, Effect.never)
    case "Late":
      return Effect.andThen(
        Effect.forkDetach(Effect.delay(Effect.ignore(serve), (fault.seconds ?? 1) * 1000)),
        Effect.fail(Place.unavailable("It takes a while"))
      )
    case "Stall":
      return Effect.never
  }
}

const describe = (exit: Exit.Exit<unknown, AgentProvider.ProviderError>): string => {
  const error = Exit.findErrorOption(exit)
  return error._tag === "Some" ? `${error.value.reason}: ${error.value.message}` : exit._tag
}
