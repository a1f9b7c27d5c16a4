/** The `JobRunner` of the leader's stack, if jobs run on the cluster's processes. It marks each job as ready, and waits until a process has run it. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as Effect from "effect/Effect"
import type { LedQueue } from "./ledQueue.ts"
import { toRunnerResult } from "./outcome.ts"
import { diedMessage, needsNoProcess, type OnProcessDeath } from "./recovery.ts"
import type { Requests } from "./requests.ts"
import type { EndedJob, Storage } from "./storage.ts"

/** How often a job is dispatched again because the process that claimed it could not read its details or token, although the leader could. */
const maxServiceFailures = 3

/** When to ask again for the process that runs a job that should stop. */
const stopInterval = "1 second"

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
        for (let serviceFailures = 0; ; ) {
          const ended = yield* queue.dispatch(context.job)
          if (ended.outcome === undefined) {
            if (needsNoProcess(yield* context.state)) return JobRunner.AgentOwned
            if (onProcessDeath === "fail") return yield* new JobRunner.JobRunnerError({ message: diedMessage })
            queue.consume(ended)
            continue
          }
          if (ended.outcome._tag !== "Failed") return ended.outcome
          queue.consume(ended)
          if (ended.outcome.failedRequest === undefined || serviceFailures++ >= maxServiceFailures)
            return yield* toRunnerResult(ended.outcome)
          yield* repeatRequest(context, ended)
        }
      }),
    // Processes continue with their jobs while the next leader is chosen.
    { outlivesStack: true }
  ),
  // A job that a process had already started keeps its slot under a new leader.
  hasAgent: (jobUuid) => queue.hadBegun(jobUuid)
})

/**
 * Repeats, on the leader, the request for details or a token that failed on the worker. If it fails here too, the stack sees it as a failure
 * of the service.
 */
const repeatRequest = ({ details, issueToken }: JobRunner.JobContext, { outcome }: EndedJob) =>
  outcome?._tag === "Failed" && outcome.failedRequest === "token" ? Effect.asVoid(issueToken) : Effect.asVoid(details)

/**
 * Tells the process that runs the job why its runner should stop. `Detach` and `Shutdown` are not forwarded, because the next leader
 * continues with the job.
 */
const forwardStop = Effect.fnUntraced(function* (
  { job, stopRequested }: JobRunner.JobContext,
  { rowIdOf, term }: LedQueue,
  storage: Storage,
  requests: Requests
) {
  const reason = yield* stopRequested
  if (reason === "Detach" || reason === "Shutdown") return
  // A statement that takes effect late must not stop a later run. So the first one only asks for the number of the present dispatch.
  let dispatch = 0
  while (true) {
    const id = rowIdOf(job.id)
    if (id === undefined) return
    const running = yield* requests.promptly(storage.requestStop(term, { jobUuid: job.id, id, dispatch }, reason))
    if (running?.isTold === true) return
    if (running === undefined || running.dispatch === dispatch) yield* Effect.sleep(stopInterval)
    dispatch = running?.dispatch ?? dispatch
  }
})
