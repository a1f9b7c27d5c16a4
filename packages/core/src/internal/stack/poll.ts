/** Polls the queue, and adds the jobs that may start to the pending jobs. */
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as AgentQueryRules from "../../AgentQueryRules.ts"
import * as ScheduledJobs from "../../ScheduledJobs.ts"
import { StackEvent } from "../../StackEvent.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { CursorStalled, StacksError } from "../../StacksError.ts"
import { pollBackoff } from "../scheduledJobs/pollBackoff.ts"
import * as Filtered from "./filtered.ts"
import * as JobId from "./jobId.ts"
import * as Metrics from "./metrics.ts"
import * as Prioritize from "./prioritize.ts"
import { isNotFound, retryAfterOf } from "./serviceErrors.ts"
import type { StackState } from "./stackState.ts"

/** The pages that every poll reads, because urgent jobs may not be among the oldest. */
const minPages = 2

export const pollLoop = (state: StackState): Effect.Effect<never, never, StacksClient.StacksClient> => {
  const { emit, registration, settings } = state.dependencies
  const interval = Duration.toMillis(settings.pollInterval)
  /** How many streams of polls in a row have ended without a successful poll. */
  let failures = 0

  const polls = Effect.suspend(() => {
    const registrationBefore = registration.current()
    return ScheduledJobs.polls({
      stackKey: settings.key,
      clusterQueueKey: settings.queueKey,
      interval: settings.pollInterval,
      tags: settings.tags,
      onPage: (page) => onPage(state, page)
    }).pipe(
      Stream.runForEach((poll) => {
        if (poll.failure === undefined) failures = 0
        return onPoll(state, poll)
      }),
      Effect.catch((error) => onPollsEnd(error, registrationBefore))
    )
  })

  /** Handles a failure that ends the stream of polls: reports it, waits, and lets the loop start another stream. */
  const onPollsEnd = Effect.fnUntraced(function* (error: StacksError | CursorStalled, registrationBefore: number) {
    failures++
    yield* emit(StackEvent.RequestFailed({ error }))
    if (isNotFound(error)) yield* Effect.ignore(registration.registerAgain(registrationBefore))
    const asked = Duration.toMillis(retryAfterOf(error) ?? Duration.zero)
    const backoff = isNotFound(error) || error._tag === "CursorStalled" ? 0 : pollBackoff(failures)
    yield* Effect.sleep(Math.max(interval, asked, backoff))
  })

  return Effect.forever(polls)
}

/** Adds a page's jobs to the pending jobs. Returns whether the stack could use the next page. */
const onPage = Effect.fnUntraced(function* (state: StackState, page: ScheduledJobs.PolledPage) {
  const { emit, settings } = state.dependencies
  if (page.index === 0) startPoll(state, page.monotonicStart)
  state.hasPolled = true
  const isPaused = page.dispatchPaused ?? state.isPaused
  if (isPaused !== state.isPaused) {
    state.isPaused = isPaused
    yield* emit(state.isPaused ? StackEvent.Paused() : StackEvent.Resumed())
  }
  state.pending.add(page.jobs.filter((job) => JobId.isUsable(job.id) && state.mayReserve(job)))
  state.signals.work.openUnsafe()
  for (const { id } of page.jobs) {
    if (!JobId.isUsable(id)) yield* ignore(state, JobId.shown(id), "its id can't be used in requests")
  }
  for (const { id, issue } of page.undecodable) {
    yield* ignore(state, id === undefined ? "without an id" : JobId.shown(id), issue)
  }
  if (page.isLast || isPaused) return false
  if (page.index + 1 < minPages) return true
  const until = page.monotonicStart + Duration.toMillis(settings.pollInterval)
  while (state.pending.size >= Prioritize.spareSlots(state) || state.reserveBackoffUntil > state.now()) {
    const time = until - state.now()
    if (time <= 0) return false
    state.signals.demand.closeUnsafe()
    // Round up to whole milliseconds, because a timer that is rounded down ends too early.
    yield* Effect.timeoutOption(state.signals.demand.await, Math.ceil(time))
  }
  return state.now() < until
})

/** Starts a poll: clears the pending jobs of the last one, and forgets the jobs that were settled before this one began. */
const startPoll = (state: StackState, startedAt: number): void => {
  state.pending.clear()
  for (const [jobUuid, leftAt] of state.recentlySettled) {
    if (leftAt >= startedAt) break
    state.recentlySettled.delete(jobUuid)
  }
}

const ignore = (state: StackState, jobUuid: string, reason: string): Effect.Effect<void> =>
  state.isFirstReport(`listed ${jobUuid}`)
    ? state.dependencies.emit(StackEvent.JobIgnored({ jobUuid, reason }))
    : Effect.void

const onPoll = Effect.fnUntraced(function* (state: StackState, poll: ScheduledJobs.Poll) {
  const { clock, emit, settings } = state.dependencies
  state.dependencies.admission.onPoll(poll.listed, poll.failure === undefined && poll.isComplete)
  if (poll.failure !== undefined) {
    yield* emit(StackEvent.RequestFailed({ error: poll.failure }))
  } else {
    state.lastPolledAt = DateTime.makeUnsafe(clock.currentTimeMillisUnsafe())
    state.polledAt = state.now()
    Metrics.setLastPoll(settings.queueKey, clock.currentTimeMillisUnsafe(), state.dependencies.context)
    state.filtered = Filtered.count(state, poll)
    yield* emit(StackEvent.Polled({ listed: poll.listed.length, startable: poll.jobs.length }))
  }
  state.wake()
  if (isIdle(state, poll)) yield* Deferred.succeed(state.signals.idle, void 0)
  // Wait for reserve requests in flight, because the next poll would still list their jobs.
  yield* Effect.yieldNow
  if (state.table.count("Reserving", "ReservingAgain") > 0) {
    yield* Effect.timeoutOption(state.signals.reserveIdle.await, settings.pollInterval)
  }
})

/** Whether the queue is empty and the stack has no jobs. Jobs that the stack does not take don't count. */
const isIdle = (state: StackState, poll: ScheduledJobs.Poll): boolean => {
  const { admission, settings } = state.dependencies
  const { tags } = settings
  const isForUs = tags === undefined ? () => true : AgentQueryRules.matcher(tags)
  return (
    poll.failure === undefined &&
    poll.isComplete &&
    state.table.size === 0 &&
    poll.monotonicStart >= state.lastSettledAt &&
    !poll.listed.some(
      (job) => isForUs(job.agentQueryRules) && JobId.isUsable(job.id) && !admission.isNotAdmitted(job.id)
    )
  )
}
