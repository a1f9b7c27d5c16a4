/** What runners do with jobs, and the agents that they start. */
import { AgentProvider, JobRunner } from "@stacksapi/core"
import { Deferred, Effect, Exit, type Redacted, type Scope } from "effect"
import { onRunEnd, onRunStart } from "./invariants.ts"
import { isAgentOwned, isOver, observe } from "./ownership.ts"
import type { Behavior } from "./plan.ts"
import type { Agent, Ending, JobTrace, Life, Run, World } from "./world.ts"

/** The runner of one life of a stack. Each job does what its plan says. */
export const runnerOf = (world: World, life: Life): JobRunner.Service => ({
  outlivesStack: life.plan.outlivesStack,
  run: (context) =>
    watched(world, life, context, (run) => JobRunner.make((context) => behave(world, run, context)).run(context))
})

type Outcome = Effect.Effect<JobRunner.JobOutcome, JobRunner.JobRunnerError>

/** Runs a job, and writes down what becomes of it. */
export const watched = (
  world: World,
  life: Life,
  context: JobRunner.JobContext,
  runIt: (run: Run) => Outcome
): Outcome =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      if (!life.isAlive) return yield* restore(Effect.never)
      const job = world.jobs.get(context.job.id)
      if (job === undefined) return yield* Effect.die(`There is no job ${context.job.id}`)
      const run: Run = {
        job,
        life,
        startedAt: world.now,
        endedAt: undefined,
        stop: undefined,
        wasInterrupted: false,
        expects: undefined,
        claimsAgent: false,
        resources: 0,
        hasFailedLookup: false
      }
      const does = life.plan.provider === undefined ? job.plan.behavior : (job.plan.agent ?? {})
      world.note(`${life.name}: run ${job.plan.id} ${JSON.stringify(does)}`)
      yield* onRunStart(world, run)
      if (world.agents.has(job.plan.id) || world.place.agents.has(agentNameOf(life, job)))
        life.inherited.add(job.plan.id)
      else life.inherited.delete(job.plan.id)
      life.active.set(job.plan.id, run)
      job.runs.push(run)
      const exit = yield* Effect.exit(restore(runIt(run)))
      yield* end(world, run, context, exit)
      return yield* exit
    })
  )

/** The name of a job's agent where the stack has a provider. */
const agentNameOf = ({ plan }: Life, job: JobTrace): string => AgentProvider.nameOf(plan.key, job.plan.id)

const end = Effect.fnUntraced(function* (
  world: World,
  run: Run,
  context: JobRunner.JobContext,
  exit: Exit.Exit<JobRunner.JobOutcome, JobRunner.JobRunnerError>
) {
  const { job, life } = run
  if (!life.isAlive) return yield* Effect.never
  run.wasInterrupted = Exit.hasInterrupts(exit) && job.plan.behavior.does !== "interruptItself"
  // The reason is there by now, or it comes too late.
  const reason = yield* Effect.raceFirst(context.stopRequested, Effect.as(Effect.yieldNow, undefined))
  if (run.stop === undefined && reason !== undefined) run.stop = { reason, at: world.now }
  // A stack that detaches does not wait for the end of its drain.
  if (life.closingSince !== undefined && life.plan.onClose === "detach") run.stop = { reason: "Detach", at: world.now }
  run.endedAt = world.now
  run.expects = expected(run, exit)
  run.claimsAgent = Exit.isSuccess(exit) && exit.value._tag === "AgentOwned"
  if (Exit.isSuccess(exit) && exit.value._tag === "Released") life.released.set(job.plan.id, world.now)
  life.active.delete(job.plan.id)
  world.note(
    `${life.name}: end ${job.plan.id} ${Exit.isSuccess(exit) ? exit.value._tag : "failed"}${run.wasInterrupted ? ", interrupted" : ""} ${run.stop?.reason ?? ""}`
  )
  yield* observe(world)
  onRunEnd(world, run)
})

const stackError: Ending = { exitStatus: -1, signalReason: "stack_error" }

/** With what the stack has to finish a job whose runner has ended like this. */
const expected = (run: Run, exit: Exit.Exit<JobRunner.JobOutcome, JobRunner.JobRunnerError>): Ending | undefined => {
  const { job, stop } = run
  if (stop?.reason === "Canceled" || stop?.reason === "TimedOut" || stop?.reason === "ReservationLost") return undefined
  if (stop?.reason === "Detach") return undefined
  if (isOver(job.view.state) || isAgentOwned(job.view.state)) return undefined
  if (Exit.isFailure(exit)) {
    const error = Exit.findErrorOption(exit)
    // Trouble of the service, and of the host, restarts the job.
    if (error._tag === "Some" && (error.value.isRetryable === true || run.hasFailedLookup)) return undefined
    return stackError
  }
  switch (exit.value._tag) {
    case "AgentOwned":
      return job.view.state === "reserved" ? stackError : undefined
    case "Released":
      return undefined
    case "Finished":
      return job.plan.behavior.does === "returnInvalid"
        ? stackError
        : { exitStatus: exit.value.exitStatus, signalReason: exit.value.signalReason }
  }
}

// -----------------------------------------------------------------------------
// Behaviors
// -----------------------------------------------------------------------------

const done = JobRunner.Finished({ exitStatus: 0, detail: "done" })

/** Writes down when and why a run is asked to stop. */
export const noteStop = (world: World, run: Run, { stopRequested }: JobRunner.JobContext) =>
  stopRequested.pipe(
    Effect.tap((reason) =>
      Effect.sync(() => {
        run.stop ??= { reason, at: world.now }
      })
    ),
    Effect.forkScoped({ startImmediately: true })
  )

const behave = (
  world: World,
  run: Run,
  context: JobRunner.JobContext
): Effect.Effect<JobRunner.JobOutcome, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const { job, life } = run
    const { behavior } = job.plan
    yield* noteStop(world, run, context)
    if (life.process.isHostBroken && behavior.does !== "die") {
      return yield* new JobRunner.JobRunnerError({ message: "The host starts nothing", isRetryable: true })
    }
    return yield* act(world, run, context, behavior)
  })

const act = (
  world: World,
  run: Run,
  context: JobRunner.JobContext,
  behavior: Behavior
): Effect.Effect<JobRunner.JobOutcome, unknown, Scope.Scope> => {
  const after = (seconds: number) => (seconds === 0 ? Effect.void : Effect.sleep(seconds * 1000))
  const earlier = run.job.runs.length - 1
  switch (behavior.does) {
    case "finish":
      return Effect.as(
        after(behavior.takes),
        JobRunner.Finished({ exitStatus: behavior.exitStatus, detail: `ended with ${behavior.exitStatus}` })
      )
    case "fail":
      return Effect.andThen(after(behavior.takes), Effect.fail(new JobRunner.JobRunnerError({ message: "broken" })))
    case "die":
      return Effect.andThen(after(behavior.takes), Effect.die(new Error("a defect")))
    case "interruptItself":
      return Effect.andThen(after(behavior.takes), Effect.interrupt)
    case "retry":
      return Effect.andThen(
        after(behavior.takes),
        earlier < behavior.times && !world.isEnding
          ? Effect.fail(new JobRunner.JobRunnerError({ message: "No machine is free", isRetryable: true }))
          : Effect.succeed(done)
      )
    case "useDetails":
      return Effect.andThen(lookup(run, context.details), Effect.as(after(behavior.takes), done))
    case "runAgent":
      return runAgent(world, run, context, behavior)
    case "claimAgent":
      return Effect.as(after(behavior.takes), JobRunner.AgentOwned)
    case "release":
      return Effect.as(
        after(behavior.takes),
        earlier < behavior.times && !world.isEnding ? JobRunner.Released({ reason: "not here" }) : done
      )
    case "returnInvalid":
      return Effect.succeed(invalid[behavior.what])
    case "hang":
      return Effect.gen(function* () {
        while (!(world.isEnding && isOver(run.job.view.state))) yield* Effect.sleep("1 minute")
        return done
      })
    case "resistInterruption":
      return Effect.onInterrupt(Effect.as(after(behavior.takes), done), () => after(behavior.resists))
    case "useResource":
      return Effect.gen(function* () {
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            run.resources++
          }),
          () =>
            Effect.gen(function* () {
              yield* after(behavior.releaseTakes)
              run.resources--
              if (behavior.releaseFails) return yield* Effect.die(new Error("The release failed"))
            })
        )
        yield* after(behavior.takes)
        return done
      })
    case "heedStop":
      return Effect.raceFirst(
        Effect.as(after(behavior.takes), done),
        Effect.map(context.stopRequested, (reason) => JobRunner.Finished({ exitStatus: 143, detail: reason }))
      )
    case "talk":
      return Effect.gen(function* () {
        for (let number = 0; number < behavior.texts; number++) yield* context.notify(`text ${number}`)
        yield* after(behavior.takes)
        yield* context.state
        return done
      })
  }
}

export const lookup = <A, E>(run: Run, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.tapError(effect, () =>
    Effect.sync(() => {
      run.hasFailedLookup = true
    })
  )

/** Outcomes as programs without types give them. */
const invalid: Record<Extract<Behavior, { readonly does: "returnInvalid" }>["what"], JobRunner.JobOutcome> = {
  NaN: JobRunner.Finished({ exitStatus: Number.NaN, detail: "x" }),
  fraction: JobRunner.Finished({ exitStatus: 1.5, detail: "x" }),
  noDetail: JobRunner.Finished({ exitStatus: 0, detail: undefined as unknown as string }),
  emptySignalReason: JobRunner.Finished({ exitStatus: 0, detail: "x", signalReason: "" })
}

// -----------------------------------------------------------------------------
// Agents
// -----------------------------------------------------------------------------

const runAgent = (
  world: World,
  run: Run,
  context: JobRunner.JobContext,
  behavior: Extract<Behavior, { readonly does: "runAgent" }>
) =>
  Effect.gen(function* () {
    const { job, life } = run
    const running = world.agents.get(job.plan.id)
    if (running === undefined || !life.plan.outlivesStack) {
      const token: Redacted.Redacted = yield* lookup(run, context.acquisitionToken)
      yield* Effect.sleep(behavior.startsIn * 1000)
      if (!life.isAlive) return yield* Effect.never
      // The agent is refused: it exits, and the stack finds out who has the job.
      const isAcquired = yield* Effect.isSuccess(world.emulator.acquireJob(token))
      if (!isAcquired) return JobRunner.AgentOwned
    }
    const agent = world.agents.get(job.plan.id) ?? (yield* startAgent(world, job, life, behavior))
    yield* Effect.onInterrupt(Deferred.await(agent.ended), () =>
      Effect.suspend(() =>
        run.stop?.reason === "Detach" && life.plan.outlivesStack ? Effect.void : killAgent(world, life, agent)
      )
    )
    return JobRunner.AgentOwned
  })

interface AgentWork {
  readonly obeys: boolean
  readonly survives: boolean
  readonly takes: number
  readonly exitStatus?: number
}

export const startAgent = Effect.fnUntraced(function* (
  world: World,
  job: JobTrace,
  life: Life | undefined,
  { exitStatus = 0, obeys, survives, takes }: AgentWork
) {
  const agent: Agent = {
    job,
    life,
    endsAt: world.now + takes * 1000,
    exitStatus,
    obeys,
    survives: survives || (life?.plan.outlivesStack ?? true),
    isKilled: false,
    isOver: false,
    ended: yield* Deferred.make<void>()
  }
  world.agents.set(job.plan.id, agent)
  yield* observe(world)
  return agent
})

/** An agent of somebody else acquires a job; true where it got it. */
export const takeByAgent = (world: World, job: JobTrace, seconds: number): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    const isAcquired = yield* Effect.isSuccess(world.emulator.acquireJob(job.plan.id))
    if (isAcquired) yield* startAgent(world, job, undefined, { obeys: true, survives: true, takes: seconds })
    return isAcquired
  })

const endAgent = (world: World, agent: Agent, exitStatus: number) =>
  Effect.gen(function* () {
    const { id } = agent.job.plan
    yield* observe(world)
    if (isAgentOwned(agent.job.view.state)) yield* world.emulator.completeJob(id, exitStatus)
    yield* observe(world)
    agent.isOver = true
    if (world.agents.get(id) === agent) world.agents.delete(id)
    yield* Deferred.succeed(agent.ended, void 0)
  })

/** A process that has crashed kills nothing. */
const killAgent = (world: World, life: Life, agent: Agent) =>
  Effect.suspend(() => (life.isAlive ? endAgent(world, agent, -1) : Effect.never))

/** Ends the agents that die with their process. */
export const endAgentsOf = (world: World, life: Life): Effect.Effect<void> =>
  Effect.forEach(
    Array.from(world.agents.values()).filter((agent) => agent.life === life && !agent.survives),
    (agent) => endAgent(world, agent, -1),
    { discard: true }
  )

/** Lets agents end their jobs: those that have had their time, and those whose job is canceled. */
export const advanceAgents = (world: World): Effect.Effect<void> =>
  Effect.forEach(
    Array.from(world.agents.values()),
    (agent) => {
      const isCanceled = agent.job.view.state === "canceling" && agent.obeys && !agent.isKilled
      return isCanceled || agent.endsAt <= world.now
        ? endAgent(world, agent, isCanceled ? -1 : agent.exitStatus)
        : Effect.void
    },
    { discard: true }
  )
