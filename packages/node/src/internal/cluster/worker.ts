/** The process's part of the work: it runs the jobs that the cluster sends to it, within its own slots. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as JobStates from "@stacksapi/core/JobStates"
import * as Notifications from "@stacksapi/core/Notifications"
import * as RateLimit from "@stacksapi/core/RateLimit"
import * as StacksClient from "@stacksapi/core/StacksClient"
import { isAgentOwned, isFinal, type JobState, type ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Entity from "effect/cluster/Entity"
import { Sharding } from "effect/cluster/Sharding"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { ClusterEvent } from "../../ClusterStack.ts"
import type { Book, JobKey } from "./book.ts"
import { type Answer, JobEntity, toAnswer } from "./jobEntity.ts"
import type { Tell } from "./journal.ts"
import { gate, type Lease } from "./lease.ts"
import { Lives } from "./lives.ts"
import type { Outspoken } from "./logs.ts"

export interface WorkerOptions {
  readonly book: Book
  readonly lease: Lease
  readonly limiter: RateLimit.Limiter
  /** Another one for each life of each process. */
  readonly processId: string
  readonly slots: number
  readonly stacks: ReadonlyArray<{ readonly key: string; readonly queueKey: string }>
  readonly onProcessDeath: "fail" | "runAgain"
  /** The jobs that hold a slot here. */
  readonly running: Map<string, ScheduledJob>
  readonly tell: Tell
  readonly outspoken: Outspoken
  /** Where the jobs run: it outlives their places in the cluster. */
  readonly scope: Scope.Scope
}

const agentOwned: Answer = { _tag: "AgentOwned" }
/** Read by nobody who waits: the job is over, or another process has it. */
const elsewhere: Answer = { _tag: "Failed", message: "The job is run elsewhere, or over", tryAgain: false }
const orphaned: Answer = {
  _tag: "Failed",
  message: "The process that ran the job died before the job had ended",
  tryAgain: false
}

const died = (cause: Cause.Cause<unknown>): Answer => {
  const error = Cause.squash(cause)
  return { _tag: "Failed", message: Predicate.isError(error) ? error.message : String(error), tryAgain: false }
}

const ended = (job: ScheduledJob, exit: Exit.Exit<Answer>): ClusterEvent => {
  const answer = Exit.isSuccess(exit) ? exit.value : undefined
  return {
    _tag: "Ended",
    job,
    outcome: answer?._tag ?? "Interrupted",
    exitStatus: answer?._tag === "Finished" ? answer.exitStatus : undefined,
    detail: answer?._tag === "Finished" ? answer.detail : answer?._tag === "Failed" ? answer.message : undefined
  }
}

/** How long the state of an interrupted job is waited for: its place in the cluster is not ours for much longer. */
const lastLookTimeout = "2 seconds"

const isOutOfOurHands = (state: JobState | undefined): boolean =>
  state !== undefined && (isAgentOwned(state) || isFinal(state))

export const layer = ({
  book,
  lease,
  limiter,
  onProcessDeath,
  outspoken,
  processId,
  running,
  scope,
  slots,
  stacks,
  tell
}: WorkerOptions) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const client = yield* StacksClient.StacksClient
      const runner = yield* JobRunner.JobRunner
      const sharding = yield* Sharding
      const freeSlots = yield* Semaphore.make(slots)
      const lives = new Lives()
      const notifications = new Map<string, Notifications.Service>()
      for (const { key } of stacks)
        notifications.set(key, yield* Notifications.make({ stackKey: key }).pipe(Scope.provide(scope)))
      const queues = new Map(stacks.map(({ key, queueKey }) => [key, queueKey]))
      const queueOf = ({ stackKey }: JobKey) => queues.get(stackKey) ?? stackKey

      const stateOf = ({ jobUuid, stackKey }: JobKey): Effect.Effect<JobState | undefined> =>
        JobStates.get(stackKey, jobUuid).pipe(
          Effect.catch(() => Effect.succeed(undefined)),
          Effect.provideService(StacksClient.StacksClient, client)
        )

      const contextOf = Effect.fnUntraced(function* (
        key: JobKey,
        job: ScheduledJob,
        mayAct: Effect.Effect<void>
      ): Effect.fn.Return<JobRunner.JobContext> {
        return {
          job,
          stackKey: key.stackKey,
          details: yield* Effect.cached(client.getJob(key)),
          acquisitionToken: yield* Effect.cached(
            Effect.flatMap(
              client.issueJobAcquisitionTokens({ stackKey: key.stackKey, jobUuids: [key.jobUuid] }),
              ({ tokens: [issued] }) =>
                issued === undefined
                  ? Effect.fail(
                      new JobRunner.JobRunnerError({
                        message: "The service issued no acquisition token: the job is not ours"
                      })
                    )
                  : Effect.succeed(issued.token)
            ).pipe(Effect.provideService(RateLimit.RateLimit, gate(limiter, mayAct)))
          ),
          state: stateOf(key),
          notify: (text) => notifications.get(key.stackKey)?.notify(job.id, text) ?? Effect.void
        }
      })

      const runHere = (
        key: JobKey,
        job: ScheduledJob,
        mayAct: Effect.Effect<void>,
        former: string | undefined
      ): Effect.Effect<Answer> =>
        Effect.gen(function* () {
          yield* mayAct
          if (!(yield* book.claim(key, former, processId))) return elsewhere
          running.set(job.id, job)
          const waited = (yield* Clock.currentTimeMillis) - DateTime.toEpochMillis(job.scheduledAt)
          tell({ _tag: "Began", job, sinceScheduled: Duration.millis(Math.max(0, waited)) }, queueOf(key))
          const context = yield* contextOf(key, job, mayAct)
          return yield* toAnswer(Effect.suspend(() => runner.run(context)))
        }).pipe(
          Effect.catchCause((cause) =>
            Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.succeed(died(cause))
          ),
          Effect.onExit((exit) =>
            Effect.sync(() => {
              if (running.delete(job.id)) tell(ended(job, exit), queueOf(key))
            })
          ),
          freeSlots.withPermit
        )

      /** A job that a process which is gone had started. Its agent may live on. */
      const takeOver = (
        key: JobKey,
        job: ScheduledJob,
        mayAct: Effect.Effect<void>,
        former: string
      ): Effect.Effect<Answer> =>
        Effect.flatMap(stateOf(key), (state) => {
          if (isOutOfOurHands(state)) return Effect.succeed(agentOwned)
          return onProcessDeath === "fail" ? Effect.succeed(orphaned) : runHere(key, job, mayAct, former)
        })

      const handlers = Effect.gen(function* () {
        const { shardId } = yield* Entity.CurrentAddress
        const mayAct = lease.awaitHeld(shardId)

        /** The job was canceled, or its place in the cluster moved: then an agent that has the job lives on. */
        const onInterrupt = Effect.fnUntraced(function* (key: JobKey, fiber: Fiber.Fiber<Answer>) {
          const isCanceled = sharding.hasShardId(shardId) && !(yield* sharding.isShutdown)
          if (!isCanceled && running.has(key.jobUuid)) {
            const state = yield* Effect.timeoutOrElse(stateOf(key), {
              duration: lastLookTimeout,
              orElse: () => Effect.succeed(undefined)
            })
            if (isOutOfOurHands(state)) return
          }
          yield* Fiber.interrupt(fiber)
        })

        return JobEntity.of({
          Run: Effect.fnUntraced(function* ({ payload: { attempt, job, stackKey } }) {
            const key = { stackKey, jobUuid: job.id }
            const life = lives.find(key, attempt)
            if (life !== undefined) return yield* Effect.onInterrupt(Fiber.join(life), () => onInterrupt(key, life))
            const owner = yield* book.owner(key)
            if (owner === null) return elsewhere
            const run = owner === undefined ? runHere(key, job, mayAct, undefined) : takeOver(key, job, mayAct, owner)
            const fiber = yield* Effect.forkIn(run, scope)
            lives.add(key, attempt, fiber, yield* Clock.currentTimeMillis)
            return yield* Effect.onInterrupt(Fiber.join(fiber), () => onInterrupt(key, fiber))
          }, outspoken)
        })
      })

      return JobEntity.toLayer(handlers, { concurrency: "unbounded", maxIdleTime: "5 seconds" })
    })
  )
