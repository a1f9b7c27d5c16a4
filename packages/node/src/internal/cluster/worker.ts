/**
 * The process's part of the work: it runs the jobs that the cluster sends to it, within its own slots.
 *
 * What runs is a life. It outlasts whatever becomes of the request that brought it, and ends by itself, or because the job is not
 * this process's any more: its lease has run out, or the book says so.
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
import type { Book, Claimed, JobKey } from "./book.ts"
import { type Answer, JobEntity, toAnswer } from "./jobEntity.ts"
import type { Tell } from "./journal.ts"
import { gate, type Lease } from "./lease.ts"
import { type Life, Lives } from "./lives.ts"
import type { Outspoken } from "./logs.ts"

export interface WorkerOptions {
  readonly book: Book
  /** That of the process: while it is held, nobody else takes its jobs. */
  readonly lease: Lease
  readonly limiter: RateLimit.Limiter
  /** Another one for each life of each process. */
  readonly processId: string
  readonly slots: number
  readonly onProcessDeath: "fail" | "runAgain"
  readonly tokenLifetime: Duration.Input | undefined
  readonly stacks: ReadonlyArray<{ readonly key: string; readonly queueKey: string }>
  readonly tell: Tell
  readonly outspoken: Outspoken
  /** Where the jobs run. */
  readonly scope: Scope.Scope
}

export interface Worker {
  /** The jobs that hold a slot. */
  readonly running: () => ReadonlyArray<ScheduledJob>
  /** How many jobs there are, with those that wait for a slot. */
  readonly count: () => number
  /** Begins nothing any more, and waits for what has begun; for when nobody can send jobs any more. */
  readonly drain: Effect.Effect<void>
  /** Ends what runs here and is not this process's any more. */
  readonly audit: Effect.Effect<void, SqlError>
  /** Takes the jobs that the cluster sends. */
  readonly layer: Layer.Layer<never, never, Sharding>
}

const agentOwned: Answer = { _tag: "AgentOwned" }
const elsewhere: Answer = { _tag: "Elsewhere" }
const orphaned: Answer = {
  _tag: "Failed",
  message: "The process that ran the job died before the job had ended",
  isRetryable: false
}

const died = (cause: Cause.Cause<unknown>): Answer => {
  const error = Cause.squash(cause)
  return { _tag: "Failed", message: Predicate.isError(error) ? error.message : String(error), isRetryable: false }
}

const ended = (job: ScheduledJob, exit: Exit.Exit<Answer>): ClusterEvent => {
  const result = Exit.isSuccess(exit) ? exit.value : Cause.hasInterruptsOnly(exit.cause) ? elsewhere : died(exit.cause)
  const answer = result._tag === "Elsewhere" ? undefined : result
  return {
    _tag: "Ended",
    job,
    outcome: answer?._tag ?? "Interrupted",
    exitStatus: answer?._tag === "Finished" ? answer.exitStatus : undefined,
    detail: answer?._tag === "Finished" ? answer.detail : answer?._tag === "Failed" ? answer.message : undefined
  }
}

/** How long the state of a job is waited for that may have an agent. */
const lookTimeout = "2 seconds"
/** How often it is looked at an agent that goes on with a job which is not this process's any more. */
const lookAgainAfter = 5000

/** An agent has it that nobody told to stop, or has ended it. */
const isAgentsBusiness = (state: JobState): boolean =>
  state === "finished" || (isAgentOwned(state) && state !== "canceling" && state !== "timing_out")

export const make = Effect.fnUntraced(function* ({
  book,
  lease,
  limiter,
  onProcessDeath,
  outspoken,
  processId,
  scope,
  slots,
  stacks,
  tell,
  tokenLifetime
}: WorkerOptions): Effect.fn.Return<Worker, never, StacksClient.StacksClient | JobRunner.JobRunner> {
  const client = yield* StacksClient.StacksClient
  const runner = yield* JobRunner.JobRunner
  const freeSlots = yield* Semaphore.make(slots)
  const lives = new Lives()
  const notifications = new Map<string, Notifications.Service>()
  const gated = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(RateLimit.withFallback(limiter), RateLimit.mapLimiter(gate(lease)))
  const queues = new Map(stacks.map(({ key, queueKey }) => [key, queueKey]))
  const queueOf = ({ key: { stackKey } }: Life) => queues.get(stackKey) ?? stackKey

  const limited = RateLimit.withFallback(limiter)

  // What is only looked at needs no lease.
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
    life: Life,
    job: ScheduledJob
  ): Effect.fn.Return<JobRunner.JobContext> {
    const { key } = life
    const { notify } = yield* notifierOf(key.stackKey)
    const lifetime = Duration.fromInputUnsafe(tokenLifetime ?? "15 minutes")
    const issueToken = Effect.suspend(() => {
      life.hasAgent = true
      return client.issueJobAcquisitionTokens({ stackKey: key.stackKey, jobUuids: [key.jobUuid], tokenLifetime })
    }).pipe(
      Effect.flatMap(({ tokens: [issued] }) =>
        issued === undefined
          ? Effect.fail(
              new JobRunner.JobRunnerError({
                message: "The service issued no acquisition token: the job is not ours"
              })
            )
          : Effect.succeed({ token: issued.token, lifetime })
      ),
      gated
    )
    return {
      job,
      stackKey: key.stackKey,
      queueKey: queueOf(life),
      details: yield* Effect.cached(limited(client.getJob(key))),
      // Asked for again well before it expires.
      acquisitionToken: yield* Effect.cachedWithTTL(
        Effect.map(issueToken, ({ token }) => token),
        Duration.times(lifetime, 0.75)
      ),
      issueToken,
      requests: {},
      stopRequested: Deferred.await(life.stopRequested),
      state: Effect.catch(stateOf(key), () => Effect.succeed(undefined)),
      notify: (text) => notify(job.id, text)
    }
  })

  // ---------------------------------------------------------------------------
  // A life
  // ---------------------------------------------------------------------------

  const claim = Effect.fnUntraced(function* (life: Life): Effect.fn.Return<Claimed | undefined> {
    while (true) {
      yield* lease.awaitHeld
      const claimed = yield* book.claim(life.key, life.ticket, processId)
      if (claimed === undefined) return undefined
      if (claimed === "dead") {
        yield* Effect.sleep("100 millis")
        continue
      }
      // The answer may have taken longer than the lease.
      if (!lease.isHeld()) continue
      life.claimedAt = yield* Clock.currentTimeMillis
      return claimed
    }
  })

  const run = (life: Life): Effect.Effect<Answer> =>
    Effect.acquireUseRelease(
      Effect.map(Clock.currentTimeMillis, (now) => {
        life.hasBegun = true
        life.isRunning = true
        const sinceScheduled = Duration.millis(Math.max(0, now - DateTime.toEpochMillis(life.job.scheduledAt)))
        tell({ _tag: "Began", job: life.job, sinceScheduled }, queueOf(life))
      }),
      () => Effect.flatMap(contextOf(life, life.job), (context) => toAnswer(Effect.suspend(() => runner.run(context)))),
      (_, exit) =>
        Effect.suspend(() => {
          life.isRunning = false
          tell(ended(life.job, exit), queueOf(life))
          return notifications.get(life.key.stackKey)?.release(life.job.id) ?? Effect.void
        })
    )

  const isOutOfOurHands = ({ job, key }: Life) =>
    stateOf(key).pipe(
      Effect.retry({ schedule: Schedule.spaced("2 seconds"), while: ({ isRetryable }) => isRetryable }),
      // An agent goes on with it, or it has ended.
      Effect.map((state) => state !== undefined && (isAgentOwned(state) || isFinal(state))),
      // Not knowing is no reason to finish or run what an agent may be running: if none is, its reservation lapses.
      Effect.catch((error) =>
        Effect.as(Effect.logWarning(`Job ${job.id} had begun elsewhere, and is left alone: ${error.message}`), true)
      )
    )

  /**
   * What becomes of a job without being run: one that had ended where its answer could not be sent, that was begun and lost, or
   * that still ends here.
   */
  const settle = Effect.fnUntraced(function* (
    life: Life,
    { answer, isOrphan }: Claimed
  ): Effect.fn.Return<Answer | undefined> {
    if (answer !== undefined) return answer
    if (isOrphan || life.hasBegun) {
      // Its agent may live on.
      if (yield* isOutOfOurHands(life)) return agentOwned
      if (onProcessDeath === "fail") return orphaned
    }
    // What this process had begun of it and lost takes its time to end, and an agent may have got it meanwhile.
    const others = lives.others(life)
    yield* Effect.forEach(others, ({ fiber }) => Fiber.await(fiber), { discard: true })
    return others.length > 0 && (yield* isOutOfOurHands(life)) ? agentOwned : undefined
  })

  const live = Effect.fnUntraced(function* (life: Life): Effect.fn.Return<Answer> {
    if ((yield* book.look(life.key, life.ticket)) !== "waiting") {
      // Needs no slot, unless it is to run again.
      const claimed = yield* claim(life)
      if (claimed === undefined) return elsewhere
      return (yield* settle(life, claimed)) ?? (yield* freeSlots.withPermit(Effect.andThen(lease.awaitHeld, run(life))))
    }
    return yield* freeSlots.withPermit(
      Effect.gen(function* () {
        const claimed = yield* claim(life)
        if (claimed === undefined) return elsewhere
        return (yield* settle(life, claimed)) ?? (yield* run(life))
      })
    )
  })

  const begin = Effect.fnUntraced(function* (key: JobKey, job: ScheduledJob, ticket: number) {
    const life: Life = {
      key,
      ticket,
      job,
      // Begins when it is in the books.
      fiber: yield* Effect.forkIn(
        Effect.suspend(() => live(life)).pipe(
          Effect.catchCause((cause) =>
            Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.succeed(died(cause))
          ),
          Effect.ensuring(
            Effect.map(Clock.currentTimeMillis, (now) => {
              life.endedAt = now
            })
          ),
          outspoken
        ),
        scope
      ),
      stopRequested: Deferred.makeUnsafe(),
      claimedAt: undefined,
      hasBegun: lives.hasBegun(key, ticket),
      isRunning: false,
      hasAgent: false,
      endedAt: undefined,
      checkedAt: undefined
    }
    lives.add(life)
    return life
  })

  // ---------------------------------------------------------------------------
  // Its end
  // ---------------------------------------------------------------------------

  /** The job is not this process's any more, or may not be. An agent that has acquired it goes on. */
  const end = Effect.fnUntraced(function* (life: Life) {
    if (life.hasAgent) {
      const now = yield* Clock.currentTimeMillis
      if (life.checkedAt !== undefined && life.checkedAt + lookAgainAfter > now) return
      life.checkedAt = now
      const state = yield* Effect.catch(Effect.timeout(stateOf(life.key), lookTimeout), () => Effect.succeed(undefined))
      // Nor is not knowing a reason to stop an agent: the service lets one of them acquire a job.
      if (state === undefined || isAgentsBusiness(state)) return
    }
    yield* Deferred.succeed(life.stopRequested, "ReservationLost")
    yield* Fiber.interrupt(life.fiber)
  })
  // What ends takes its time, and nobody waits for it.
  const endAll = (lives: ReadonlyArray<Life>) =>
    Effect.forEach(lives, (life) => Effect.forkIn(end(life), scope), { discard: true })

  yield* lease.awaitHeld.pipe(
    Effect.andThen(lease.awaitLapse),
    Effect.andThen(Effect.suspend(() => endAll(lives.living.filter(({ claimedAt }) => claimedAt !== undefined)))),
    Effect.forever,
    Effect.forkIn(scope)
  )

  /**
   * Leaves nothing of a life that has ended with this process: an answer that the cluster could not send any more is kept, and a
   * job that was claimed and not begun is given back. One that was cut off stays this process's: it may have done anything.
   */
  const leave = Effect.fnUntraced(function* ({ fiber, hasBegun, key, ticket }: Life) {
    const exit = yield* Fiber.await(fiber)
    if (Exit.isSuccess(exit)) {
      if (exit.value._tag !== "Elsewhere") yield* book.keep(key, ticket, processId, exit.value)
    } else if (!hasBegun) {
      yield* book.release(key, ticket, processId)
    }
  })
  yield* Scope.addFinalizer(
    scope,
    Effect.suspend(() => Effect.forEach(lives.all, leave, { concurrency: "unbounded", discard: true }))
  )

  return {
    running: () => lives.living.flatMap(({ isRunning, job }) => (isRunning ? [job] : [])),
    count: () => lives.living.length,
    drain: Effect.suspend(() =>
      Effect.forEach(
        lives.living,
        ({ fiber, hasBegun }) => (hasBegun ? Effect.asVoid(Fiber.await(fiber)) : Fiber.interrupt(fiber)),
        { concurrency: "unbounded", discard: true }
      )
    ),
    audit: Effect.flatMap(Clock.currentTimeMillis, (askedAt) =>
      Effect.flatMap(book.owned(processId), (owned) => endAll(lives.compare(owned, askedAt)))
    ),
    layer: JobEntity.toLayer(
      JobEntity.of({
        Run: Effect.fnUntraced(function* ({ payload: { ticket, job, stackKey } }) {
          const key = { stackKey, jobUuid: job.id }
          while (true) {
            const life = lives.find(key, ticket) ?? (yield* begin(key, job, ticket))
            const exit = yield* Fiber.await(life.fiber)
            if (exit._tag === "Success") return exit.value
            // It was ended from outside. What that means for the job is seen in the book.
            yield* Effect.sleep("100 millis")
          }
        })
      }),
      { concurrency: "unbounded", maxIdleTime: "5 seconds" }
    )
  }
})
