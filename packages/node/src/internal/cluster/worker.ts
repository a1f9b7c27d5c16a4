/**
 * The worker of a process: runs the jobs that are dispatched to this member, within its slots.
 *
 * An execution outlives the request that started it. It ends by itself, or because the process no longer owns the job: its lease has
 * expired, or the ownership table names another process.
 */
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as JobStates from "@stacksapi/core/JobStates"
import * as Notifications from "@stacksapi/core/Notifications"
import * as RateLimit from "@stacksapi/core/RateLimit"
import * as StacksClient from "@stacksapi/core/StacksClient"
import { isAgentOwned, isFinal, type JobState, type ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type { Sharding } from "effect/cluster/Sharding"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { SqlError } from "effect/sql/SqlError"
import type { ClusterEvent } from "../../ClusterStack.ts"
import type { Publish } from "./events.ts"
import { type Execution, Executions } from "./executions.ts"
import { type Answer, JobEntity, toAnswer } from "./jobEntity.ts"
import { gate, type Lease } from "./lease.ts"
import type { RestoreLogs } from "./logs.ts"
import type { Claimed, JobKey, Ownership } from "./ownership.ts"

export interface WorkerOptions {
  readonly ownership: Ownership
  /** The lease of the process: while it is held, no other process takes its jobs. */
  readonly lease: Lease
  readonly limiter: RateLimit.Limiter
  /** Different for each start of a process. */
  readonly processId: string
  readonly slots: number
  readonly onProcessDeath: "fail" | "retry"
  readonly tokenLifetime: Duration.Input | undefined
  readonly stacks: ReadonlyArray<{ readonly key: string; readonly queueKey: string }>
  readonly publish: Publish
  readonly restoreLogs: RestoreLogs
  /** The scope of the executions. */
  readonly scope: Scope.Scope
}

export interface Worker {
  /** The jobs that hold a slot. */
  readonly running: () => ReadonlyArray<ScheduledJob>
  /** How many jobs there are, including those that wait for a slot. */
  readonly count: () => number
  /** Starts nothing, and waits for the jobs that have started. Call it when no job can be dispatched any more. */
  readonly drain: Effect.Effect<void>
  /** Stops executions of jobs that this process no longer owns. */
  readonly audit: Effect.Effect<void, SqlError>
  /** Receives the jobs that are dispatched to this member. */
  readonly layer: Layer.Layer<never, never, Sharding>
}

const agentOwned: Answer = { _tag: "AgentOwned" }
const notOwned: Answer = { _tag: "NotOwned" }
const orphaned: Answer = {
  _tag: "Failed",
  message: "The process that ran the job died before the job had ended",
  isRetryable: false
}

const failedWith = (cause: Cause.Cause<unknown>): Answer => {
  const error = Cause.squash(cause)
  return { _tag: "Failed", message: Predicate.isError(error) ? error.message : String(error), isRetryable: false }
}

const runEnded = (job: ScheduledJob, exit: Exit.Exit<Answer>): ClusterEvent => {
  const result = Exit.isSuccess(exit)
    ? exit.value
    : Cause.hasInterruptsOnly(exit.cause)
      ? notOwned
      : failedWith(exit.cause)
  const answer = result._tag === "NotOwned" ? undefined : result
  return {
    _tag: "RunEnded",
    job,
    outcome: answer?._tag ?? "Interrupted",
    exitStatus: answer?._tag === "Finished" ? answer.exitStatus : undefined,
    detail: answer?._tag === "Finished" ? answer.detail : answer?._tag === "Failed" ? answer.message : undefined
  }
}

/** How long to wait for the state of a job that may have an agent. */
const stateTimeout = "2 seconds"
/** How often, in milliseconds, the state of a job is read that an agent runs and this process no longer owns. */
const stateInterval = 5000

/** Whether an agent runs the job and need not stop, or has finished it. */
const isLeftToAgent = (state: JobState): boolean =>
  state === "finished" || (isAgentOwned(state) && state !== "canceling" && state !== "timing_out")

export const make = Effect.fnUntraced(function* ({
  ownership,
  lease,
  limiter,
  onProcessDeath,
  restoreLogs,
  processId,
  scope,
  slots,
  stacks,
  publish,
  tokenLifetime
}: WorkerOptions): Effect.fn.Return<Worker, never, StacksClient.StacksClient | JobRunner.JobRunner> {
  const client = yield* StacksClient.StacksClient
  const runner = yield* JobRunner.JobRunner
  const freeSlots = yield* Semaphore.make(slots)
  const executions = new Executions()
  const notifications = new Map<string, Notifications.Service>()
  const gated = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(RateLimit.withFallback(limiter), RateLimit.mapLimiter(gate(lease)))
  const queues = new Map(stacks.map(({ key, queueKey }) => [key, queueKey]))
  const queueOf = ({ key: { stackKey } }: Execution) => queues.get(stackKey) ?? stackKey

  const limited = RateLimit.withFallback(limiter)

  // Reading needs no lease.
  const stateOf = ({ jobUuid, stackKey }: JobKey) =>
    JobStates.get(stackKey, jobUuid).pipe(Effect.provideService(StacksClient.StacksClient, client), limited)

  const notifierOf = Effect.fnUntraced(function* (stackKey: string) {
    const known = notifications.get(stackKey)
    if (known !== undefined) return known
    const made = yield* Notifications.make({ stackKey }).pipe(
      Effect.provideService(StacksClient.StacksClient, client),
      gated,
      Scope.provide(scope),
      Effect.orDie
    )
    notifications.set(stackKey, made)
    return made
  })

  const contextOf = Effect.fnUntraced(function* (
    execution: Execution,
    job: ScheduledJob
  ): Effect.fn.Return<JobRunner.JobContext> {
    const { key } = execution
    const { notify } = yield* notifierOf(key.stackKey)
    const lifetime = Duration.fromInputUnsafe(tokenLifetime ?? "15 minutes")
    const issueToken = Effect.suspend(() => {
      execution.hasAgent = true
      return client.issueJobAcquisitionTokens({ stackKey: key.stackKey, jobUuids: [key.jobUuid], tokenLifetime })
    }).pipe(
      Effect.flatMap(({ tokens: [issued] }) =>
        issued === undefined
          ? Effect.fail(
              new JobRunner.JobRunnerError({
                message: "The service issued no acquisition token: this stack does not have the job"
              })
            )
          : Effect.succeed({ token: issued.token, lifetime })
      ),
      gated
    )
    return {
      job,
      stackKey: key.stackKey,
      queueKey: queueOf(execution),
      details: yield* Effect.cached(limited(client.getJob(key))),
      // A new token is requested well before this one expires.
      acquisitionToken: yield* Effect.cachedWithTTL(
        Effect.map(issueToken, ({ token }) => token),
        Duration.times(lifetime, 0.75)
      ),
      issueToken,
      requests: {},
      stopRequested: Deferred.await(execution.stopRequested),
      state: Effect.catch(stateOf(key), () => Effect.succeed(undefined)),
      notify: (text) => notify(job.id, text)
    }
  })

  // ---------------------------------------------------------------------------
  // An execution
  // ---------------------------------------------------------------------------

  const claim = Effect.fnUntraced(function* (execution: Execution): Effect.fn.Return<Claimed | undefined> {
    while (true) {
      yield* lease.awaitHeld
      const claimed = yield* ownership.claim(execution.key, execution.dispatchId, processId)
      if (claimed === undefined) return undefined
      if (claimed === "dead") {
        yield* Effect.sleep("100 millis")
        continue
      }
      // The response may have taken longer than the lease.
      if (!lease.isHeld()) continue
      execution.claimedAt = yield* Clock.currentTimeMillis
      return claimed
    }
  })

  const run = (execution: Execution): Effect.Effect<Answer> =>
    Effect.acquireUseRelease(
      Effect.map(Clock.currentTimeMillis, (now) => {
        execution.hasStarted = true
        execution.isRunning = true
        const sinceScheduled = Duration.millis(Math.max(0, now - DateTime.toEpochMillis(execution.job.scheduledAt)))
        publish({ _tag: "RunStarted", job: execution.job, sinceScheduled }, queueOf(execution))
      }),
      () =>
        Effect.flatMap(contextOf(execution, execution.job), (context) =>
          toAnswer(Effect.suspend(() => runner.run(context)))
        ),
      (_, exit) =>
        Effect.suspend(() => {
          execution.isRunning = false
          publish(runEnded(execution.job, exit), queueOf(execution))
          return notifications.get(execution.key.stackKey)?.release(execution.job.id) ?? Effect.void
        })
    )

  const hasAgentOrIsOver = ({ job, key }: Execution) =>
    stateOf(key).pipe(
      Effect.retry({ schedule: Schedule.spaced("2 seconds"), while: ({ isRetryable }) => isRetryable }),
      Effect.map((state) => state !== undefined && (isAgentOwned(state) || isFinal(state))),
      // Without a state, the job is left alone, because an agent may be running it. If none is, its reservation lapses.
      Effect.catch((error) =>
        Effect.as(
          Effect.logWarning(`Job ${job.id} was started by another process, and is left alone: ${error.message}`),
          true
        )
      )
    )

  /** The answer for a job that must not run here: it has ended already, its process died, or an agent runs it. Else undefined. */
  const answerWithoutRun = Effect.fnUntraced(function* (
    execution: Execution,
    { answer, isOrphan }: Claimed
  ): Effect.fn.Return<Answer | undefined> {
    if (answer !== undefined) return answer
    if (isOrphan || execution.hasStarted) {
      // Its agent may still run.
      if (yield* hasAgentOrIsOver(execution)) return agentOwned
      if (onProcessDeath === "fail") return orphaned
    }
    // An earlier execution on this process may take a while to end, and an agent may have acquired the job meanwhile.
    const others = executions.others(execution)
    yield* Effect.forEach(others, ({ fiber }) => Fiber.await(fiber), { discard: true })
    return others.length > 0 && (yield* hasAgentOrIsOver(execution)) ? agentOwned : undefined
  })

  const execute = Effect.fnUntraced(function* (execution: Execution): Effect.fn.Return<Answer> {
    if ((yield* ownership.stateOf(execution.key, execution.dispatchId)) !== "waiting") {
      // Needs no slot, unless the job runs again.
      const claimed = yield* claim(execution)
      if (claimed === undefined) return notOwned
      return (
        (yield* answerWithoutRun(execution, claimed)) ??
        (yield* freeSlots.withPermit(Effect.andThen(lease.awaitHeld, run(execution))))
      )
    }
    return yield* freeSlots.withPermit(
      Effect.gen(function* () {
        const claimed = yield* claim(execution)
        if (claimed === undefined) return notOwned
        return (yield* answerWithoutRun(execution, claimed)) ?? (yield* run(execution))
      })
    )
  })

  const start = Effect.fnUntraced(function* (key: JobKey, job: ScheduledJob, dispatchId: number) {
    const execution: Execution = {
      key,
      dispatchId,
      job,
      // Starts after it was added.
      fiber: yield* Effect.forkIn(
        Effect.suspend(() => execute(execution)).pipe(
          Effect.catchCause((cause) =>
            Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.succeed(failedWith(cause))
          ),
          Effect.ensuring(
            Effect.map(Clock.currentTimeMillis, (now) => {
              execution.endedAt = now
            })
          ),
          restoreLogs
        ),
        scope
      ),
      stopRequested: Deferred.makeUnsafe(),
      claimedAt: undefined,
      hasStarted: executions.hasStarted(key, dispatchId),
      isRunning: false,
      hasAgent: false,
      endedAt: undefined,
      checkedAt: undefined
    }
    executions.add(execution)
    return execution
  })

  // ---------------------------------------------------------------------------
  // Its end
  // ---------------------------------------------------------------------------

  /** Stops an execution whose job this process may no longer own. An agent that has acquired the job continues. */
  const stop = Effect.fnUntraced(function* (execution: Execution) {
    if (execution.hasAgent) {
      const now = yield* Clock.currentTimeMillis
      if (execution.checkedAt !== undefined && execution.checkedAt + stateInterval > now) return
      execution.checkedAt = now
      const state = yield* Effect.catch(Effect.timeout(stateOf(execution.key), stateTimeout), () =>
        Effect.succeed(undefined)
      )
      // An unknown state does not stop an agent either: the service lets only one agent acquire a job.
      if (state === undefined || isLeftToAgent(state)) return
    }
    yield* Deferred.succeed(execution.stopRequested, "ReservationLost")
    yield* Fiber.interrupt(execution.fiber)
  })
  // In the background: stopping may take a while.
  const stopAll = (executions: ReadonlyArray<Execution>) =>
    Effect.forEach(executions, (execution) => Effect.forkIn(stop(execution), scope), { discard: true })

  yield* lease.awaitHeld.pipe(
    Effect.andThen(lease.awaitLapse),
    Effect.andThen(Effect.suspend(() => stopAll(executions.active.filter(({ claimedAt }) => claimedAt !== undefined)))),
    Effect.forever,
    Effect.forkIn(scope)
  )

  /**
   * Writes the end of an execution to the ownership table when the process stops: saves an answer that could not be sent, and gives up
   * a job that was claimed and not started. The process keeps a job that was interrupted, because the job may have done anything.
   */
  const settleOwnership = Effect.fnUntraced(function* ({ fiber, hasStarted, key, dispatchId }: Execution) {
    const exit = yield* Fiber.await(fiber)
    if (Exit.isSuccess(exit)) {
      if (exit.value._tag !== "NotOwned") yield* ownership.saveAnswer(key, dispatchId, processId, exit.value)
    } else if (!hasStarted) {
      yield* ownership.release(key, dispatchId, processId)
    }
  })
  yield* Scope.addFinalizer(
    scope,
    Effect.suspend(() => Effect.forEach(executions.all, settleOwnership, { concurrency: "unbounded", discard: true }))
  )

  return {
    running: () => executions.active.flatMap(({ isRunning, job }) => (isRunning ? [job] : [])),
    count: () => executions.active.length,
    drain: Effect.suspend(() =>
      Effect.forEach(
        executions.active,
        ({ fiber, hasStarted }) => (hasStarted ? Effect.asVoid(Fiber.await(fiber)) : Fiber.interrupt(fiber)),
        { concurrency: "unbounded", discard: true }
      )
    ),
    audit: Effect.flatMap(Clock.currentTimeMillis, (askedAt) =>
      Effect.flatMap(ownership.owned(processId), (owned) => stopAll(executions.compare(owned, askedAt)))
    ),
    layer: JobEntity.toLayer(
      JobEntity.of({
        Run: Effect.fnUntraced(function* ({ payload: { dispatchId, job, stackKey } }) {
          const key = { stackKey, jobUuid: job.id }
          while (true) {
            const execution = executions.find(key, dispatchId) ?? (yield* start(key, job, dispatchId))
            const exit = yield* Fiber.await(execution.fiber)
            if (exit._tag === "Success") return exit.value
            // It was interrupted. The ownership table says what happens to the job.
            yield* Effect.sleep("100 millis")
          }
        })
      }),
      { concurrency: "unbounded", maxIdleTime: "5 seconds" }
    )
  }
})
