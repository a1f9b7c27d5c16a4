/** The runner of a queue's stack where jobs run beside processes: makes each job ready for any of them, and waits for its end. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as Effect from "effect/Effect"
import type { LedQueue } from "./ledQueue.ts"
import { toRunnerResult } from "./outcome.ts"
import { diedMessage, needsNoProcess, type OnProcessDeath } from "./recovery.ts"
import type { Requests } from "./requests.ts"
import type { EndedJob, Storage } from "./storage.ts"

/** How often a job goes to another process because its own could not ask the service about it, and this one could. */
const maxTroubles = 3

export const make = (
  queue: LedQueue,
  storage: Storage,
  requests: Requests,
  onProcessDeath: OnProcessDeath
): JobRunner.Service => ({
  ...JobRunner.make(
    (context) =>
      Effect.gen(function* () {
        yield* Effect.forkScoped(forwardStop(context, queue, storage, requests))
        for (let troubles = 0; ; ) {
          const ended = yield* queue.dispatch(context.job)
          if (ended.outcome === undefined) {
            if (needsNoProcess(yield* context.state)) return JobRunner.AgentOwned
            if (onProcessDeath === "fail") return yield* new JobRunner.JobRunnerError({ message: diedMessage })
            queue.consume(ended)
            continue
          }
          if (ended.outcome._tag !== "Failed") return ended.outcome
          queue.consume(ended)
          if (ended.outcome.trouble === undefined || troubles++ >= maxTroubles)
            return yield* toRunnerResult(ended.outcome)
          yield* askHere(context, ended)
        }
      }),
    // Processes go on with their jobs while the next leader is chosen.
    { outlivesStack: true }
  ),
  // What had begun holds its slot already.
  hasAgent: (jobUuid) => queue.hadBegun(jobUuid)
})

/** Asks the service what a process could not learn. If this one can't either, the stack knows that by the failure. */
const askHere = ({ details, issueToken }: JobRunner.JobContext, { outcome }: EndedJob) =>
  outcome?._tag === "Failed" && outcome.trouble === "token" ? Effect.asVoid(issueToken) : Effect.asVoid(details)

/** Tells the process that runs the job why its runner should stop. The next leader does not stop it. */
const forwardStop = (
  { job, stopRequested }: JobRunner.JobContext,
  { term }: LedQueue,
  storage: Storage,
  requests: Requests
) =>
  Effect.flatMap(stopRequested, (reason) =>
    reason === "Detach" || reason === "Shutdown"
      ? Effect.void
      : Effect.asVoid(requests.promptly(storage.requestStop(term, job.id, reason)))
  )
