/**
 * The `JobRunner` over an `AgentProvider`. A job's run:
 *
 *     list ──> is there an agent? ── no ──> create ──> list …
 *                     │ yes
 *                     v
 *                   watch ── acquired and ended ──────────────> AgentOwned
 *                     ├───── not acquired by startDeadline ───> delete, create once more, then Released
 *                     ├───── no capacity ─────────────────────> wait without a slot, then Released
 *                     └───── interrupted ─────────────────────> (detached: the agent stays)
 *
 * Every end deletes the agent, unless the stack detaches or the job waits for capacity. The run ends when the agent is gone.
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import type * as AgentProvider from "../../AgentProvider.ts"
import * as JobRunner from "../../JobRunner.ts"
import type { InvalidOptions, StacksError } from "../../StacksError.ts"
import { shutdownTimeout } from "../stack/retryPolicies.ts"
import { agentName } from "./agentName.ts"
import * as AgentRun from "./agentRun.ts"
import { CapacityWaits } from "./capacity.ts"
import { deleteOnce } from "./deleteAgent.ts"
import * as Fleets from "./fleets.ts"
import * as ProviderHealth from "./providerHealth.ts"
import { resolve } from "./settings.ts"
import * as Sweep from "./sweep.ts"

export const make = Effect.fnUntraced(function* (
  provider: AgentProvider.Service,
  options: AgentProvider.RunnerOptions
): Effect.fn.Return<JobRunner.Service, InvalidOptions> {
  const settings = yield* resolve(options)
  const clock = yield* Clock.Clock
  const layerContext = yield* Effect.context<never>()
  const health = ProviderHealth.make(clock, layerContext)
  const capacity = new CapacityWaits(clock)
  const creating = yield* Semaphore.make(settings.createConcurrency)
  const fleets = yield* Fleets.make(provider, health, settings.listInterval, layerContext)
  const shared: AgentRun.Shared = { provider, settings, clock, health, capacity, creating }

  const run = Effect.fnUntraced(function* (context: JobRunner.JobContext) {
    const { job, stackKey } = context
    const agent = { stackKey, jobUuid: job.id, name: agentName(stackKey, job.id) }
    const fleet = yield* fleets.join(stackKey)
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        fleet.watched.add(agent.name)
        fleet.pending.delete(agent.name)
      }),
      () => Effect.sync(() => Fleets.unwatch(fleet, agent.name))
    )
    const agentRun = AgentRun.make(shared, context, agent, fleet)
    return yield* AgentRun.runAgent(agentRun).pipe(
      settings.cancelGrace === undefined ? (effect) => effect : endedByCancel(context, settings.cancelGrace),
      Effect.onExit(
        Effect.fnUntraced(function* (exit) {
          if (Exit.isSuccess(exit)) capacity.end(job.id)
          if (!agentRun.mayExist) return
          if (waitsForCapacity(exit)) {
            fleet.pending.set(agent.name, job.id)
            return
          }
          if (yield* isDetached(context)) return
          yield* AgentRun.remove(agentRun, reasonOf(exit))
        })
      )
    )
  })

  return {
    outlivesStack: true,
    unavailable: health.unavailable,
    run: (context) =>
      Effect.mapError(Effect.scoped(run(context)), (error) =>
        error instanceof JobRunner.JobRunnerError
          ? error
          : new JobRunner.JobRunnerError({ message: error.message, cause: error })
      ),
    mayReserve: (job, requests, stackKey) =>
      health.unavailable() === undefined &&
      fleets.get(stackKey)?.sweep?.isPending() !== true &&
      !capacity.isWaiting(job, requests, stackKey),
    hasAgent: (jobUuid, stackKey) => fleets.get(stackKey)?.list.agents()?.has(agentName(stackKey, jobUuid)),
    attach: Effect.fnUntraced(function* (stack) {
      const fleet = yield* fleets.join(stack.stackKey)
      const sweep = Sweep.make(clock, provider, health, fleet.list, stack, (name) => fleet.watched.has(name))
      fleet.sweep = sweep
      yield* Effect.addFinalizer(() => deletePending(shared, fleet, stack))
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          // A stack that has ended does not sweep, and must not block the next one.
          if (fleet.sweep === sweep) fleet.sweep = undefined
        })
      )
      yield* Effect.forkScoped(Effect.provideContext(sweep.loop, layerContext))
    })
  }
})

// -----------------------------------------------------------------------------
// Ends of a run
// -----------------------------------------------------------------------------

/** Whether the run ends because the agent waits for capacity. The agent stays. */
const waitsForCapacity = (exit: Exit.Exit<JobRunner.JobOutcome, JobRunner.JobRunnerError | StacksError>): boolean => {
  if (Exit.isSuccess(exit)) return false
  const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  return error instanceof JobRunner.JobRunnerError && error.waitsForCapacity === true
}

/** Whether the agent stays because the next process continues with it. */
const isDetached = ({ stopRequested }: JobRunner.JobContext): Effect.Effect<boolean> =>
  Effect.raceFirst(stopRequested, Effect.andThen(Effect.yieldNow, Effect.undefined)).pipe(
    Effect.map((reason) => reason === "Detach")
  )

const reasonOf = (exit: Exit.Exit<JobRunner.JobOutcome, unknown>): string =>
  Exit.isSuccess(exit)
    ? exit.value._tag === "Released"
      ? exit.value.reason
      : "its job is over"
    : "its run failed or was interrupted"

/** Deletes agents that wait for capacity, and whose jobs a drain has released: no run will watch them. */
const deletePending = (
  { health, provider }: AgentRun.Shared,
  { pending }: Fleets.Fleet,
  stack: JobRunner.AttachedStack
) =>
  Effect.forEach(
    Array.from(pending).filter(([, jobUuid]) => !stack.hasJob(jobUuid)),
    ([name, jobUuid]) =>
      deleteOnce(provider, health, { stackKey: stack.stackKey, jobUuid, name }, "its job was released"),
    { concurrency: 4, discard: true }
  ).pipe(Effect.timeoutOption(shutdownTimeout))

/** Ends a run before the stack's own `cancelGrace`. */
const endedByCancel =
  ({ stopRequested }: JobRunner.JobContext, grace: Duration.Duration) =>
  <A, E>(run: Effect.Effect<A | JobRunner.JobOutcome, E>): Effect.Effect<A | JobRunner.JobOutcome, E> =>
    Effect.raceFirst(
      run,
      // While the stack drains, the job may still be canceled.
      Effect.repeat(stopRequested, {
        while: (reason) => reason === "Shutdown",
        schedule: Schedule.spaced("1 second")
      }).pipe(
        Effect.flatMap((reason) =>
          reason === "Canceled" || reason === "TimedOut"
            ? Effect.as(Effect.sleep(grace), JobRunner.AgentOwned)
            : Effect.never
        )
      )
    )
