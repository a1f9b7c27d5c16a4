/**
 * A queue's scheduled jobs as streams: one pass over all pages, or endless polling.
 *
 * **Example** (Counting the jobs of each pipeline)
 *
 * ```ts
 * import * as ScheduledJobs from "@stacksapi/core/ScheduledJobs"
 * import * as Stream from "effect/Stream"
 *
 * // At most two pages are in memory at a time.
 * export const program = ScheduledJobs.stream({ stackKey: "my-stack", clusterQueueKey: "_default" }).pipe(
 *   Stream.runFold(
 *     () => new Map<string | null, number>(),
 *     (counts, { pipeline: { slug } }) => counts.set(slug, (counts.get(slug) ?? 0) + 1)
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as AgentQueryRules from "./AgentQueryRules.ts"
import { CurrentServiceClock, ServiceClock } from "./internal/client/serviceClock.ts"
import { monotonicMillis } from "./internal/monotonicMillis.ts"
import * as Check from "./internal/options.ts"
import { retryAfter } from "./internal/responseHeaders.ts"
import { CursorTrail } from "./internal/scheduledJobs/cursorTrail.ts"
import { pollBackoff } from "./internal/scheduledJobs/pollBackoff.ts"
import { makePull } from "./internal/scheduledJobs/readAhead.ts"
import { SeenJobs } from "./internal/scheduledJobs/seenJobs.ts"
import * as RetryPolicy from "./RetryPolicy.ts"
import * as StacksClient from "./StacksClient.ts"
import * as StacksError from "./StacksError.ts"
import { MaxBatchSize, type ScheduledJob, type ScheduledJobsPage, type UndecodableJob } from "./StacksSchema.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Which queue to read: `{ stackKey, clusterQueueKey, pageSize?, startCursor? }`. The default page size is the service's maximum,
 * 1000 jobs.
 *
 * @since 0.1.0
 * @category models
 */
export type PagesRequest = StacksClient.ListScheduledJobsRequest

/**
 * Options of {@link polls} and {@link watch}: which queue to poll, and how.
 *
 * @since 0.1.0
 * @category models
 */
export interface WatchRequest extends Omit<PagesRequest, "startCursor"> {
  /** The time from the start of one poll to the start of the next. Default and minimum 1 second. */
  readonly interval?: Duration.Input | undefined
  /** How many pages a poll reads at most. At least 1, default 2. */
  readonly maxPages?: number | undefined
  /** The tags of the stack's agents. Only jobs whose agent query rules match them may start. Default: all jobs. */
  readonly tags?: AgentQueryRules.Tags | undefined
  /**
   * Called with each page. The result says whether to read the next one. Replaces `maxPages`: use it to read only as many pages
   * as you need.
   */
  readonly onPage?: ((page: PolledPage) => Effect.Effect<boolean>) | undefined
}

/**
 * One page of a poll.
 *
 * @since 0.1.0
 * @category models
 */
export interface PolledPage {
  /** 0 for the first page of the poll. */
  readonly index: number
  /** When the poll started. */
  readonly startedAt: DateTime.Utc
  /** The start in milliseconds of the monotonic clock, to compare with other times of this process. */
  readonly monotonicStart: number
  /** The jobs of the page that may start now. */
  readonly jobs: ReadonlyArray<ScheduledJob>
  /** The jobs of the page that could not be decoded. */
  readonly undecodable: ReadonlyArray<UndecodableJob>
  /** Whether the queue's dispatch is paused, as the service said last; undefined if it has not said so yet. */
  readonly dispatchPaused: boolean | undefined
  /** Whether this is the last page of the poll, whatever `onPage` returns. */
  readonly isLast: boolean
}

/**
 * The result of polling the first pages of a queue once.
 *
 * @since 0.1.0
 * @category models
 */
export interface Poll {
  /** When the poll started. */
  readonly startedAt: DateTime.Utc
  /** The start in milliseconds of the monotonic clock, to compare with other times of this process. */
  readonly monotonicStart: number
  /**
   * The listed jobs that may start now: dispatch is not paused, `runnableAt` has passed on the service's clock, and the rules
   * match the tags. Each poll has the same jobs until they are reserved.
   */
  readonly jobs: ReadonlyArray<ScheduledJob>
  /** All listed jobs, each once. */
  readonly listed: ReadonlyArray<ScheduledJob>
  /** The listed jobs that could not be decoded. Each is logged once, as a warning, while it stays listed; with `onPage`, none is logged. */
  readonly undecodable: ReadonlyArray<UndecodableJob>
  /** Whether the queue's dispatch is paused, as the service said last; undefined if no page could be read, or none has said so yet. */
  readonly dispatchPaused: boolean | undefined
  /** Whether the poll read the last page of the queue. */
  readonly isComplete: boolean
  /** The failure that ended the poll. The poll has the jobs of the previous pages. */
  readonly failure: StacksError.RetryableError | undefined
  /** The time from the end of this poll to the start of the next. */
  readonly nextPollIn: Duration.Duration
}

// -----------------------------------------------------------------------------
// One pass
// -----------------------------------------------------------------------------

/**
 * The pages of a queue.
 *
 * **When to use**
 *
 * Use it if you need the pages themselves, for example their cursors. Use {@link stream} for the jobs.
 *
 * **Details**
 *
 * The next page is requested while the current one is decoded and processed. At most two pages are in memory. If the stream ends
 * early or is interrupted, the request in flight is aborted.
 *
 * Each request is retried by the `RetryPolicy` in force. If it still fails, the stream fails after it has emitted the previous page.
 * If the cursor to the next page is missing or was used before, the stream fails with `CursorStalled`, after the page with that cursor.
 *
 * **Gotchas**
 *
 * The pages are not a snapshot: jobs come and go while they are read, and a job may be added before the cursor. So the stream may
 * miss jobs that are listed.
 *
 * @see {@link stream} for the jobs of all pages
 * @see {@link watch} for endless polling
 * @since 0.1.0
 * @category streams
 */
export const pages = (
  request: PagesRequest
): Stream.Stream<ScheduledJobsPage, StacksError.StacksError | StacksError.CursorStalled, StacksClient.StacksClient> =>
  Stream.scoped(
    Stream.fromPull(
      Effect.map(Effect.all([Effect.context<StacksClient.StacksClient>(), Effect.scope]), ([context, scope]) =>
        makePull(request, context, scope)
      )
    )
  )

/**
 * The jobs of a queue, oldest first: one pass over all {@link pages}, in constant memory.
 *
 * **When to use**
 *
 * Use it to look at a whole queue once, for example to count its jobs. Use {@link watch} to take jobs from a queue.
 *
 * **Details**
 *
 * A job that moves from one page to the next while they are read is emitted once. The stream remembers only the previous
 * page, because more would take memory for all jobs of the queue.
 *
 * The stream emits all listed jobs, even if they must not start yet: if the queue is paused, before their `runnableAt`, or if their
 * rules do not match this stack. {@link watch} omits those.
 *
 * @see {@link watch} for jobs that may start
 * @since 0.1.0
 * @category streams
 */
export const stream = (
  request: PagesRequest
): Stream.Stream<ScheduledJob, StacksError.StacksError | StacksError.CursorStalled, StacksClient.StacksClient> =>
  Stream.mapAccum(
    pages(request),
    (): ReadonlySet<string> => new Set(),
    (previous, { jobs }) => {
      const ids = new Set<string>()
      const others = jobs.filter(({ id }) => {
        ids.add(id)
        return !previous.has(id)
      })
      return [ids, others]
    }
  )

// -----------------------------------------------------------------------------
// Polling
// -----------------------------------------------------------------------------

/** The same minimum as in the reference stack. */
const minInterval = 1000
/** Without polls, the service shows a queue as disconnected after 5 to 6 minutes. */
const maxRetryAfter = Duration.minutes(5)

/**
 * Polls the first pages of a queue, endlessly.
 *
 * **When to use**
 *
 * Use it if you need to know about pauses, failures and all jobs that may start. Use {@link watch} for the jobs only.
 *
 * **Details**
 *
 * A poll starts `interval` after the start of the last one, or at once if that took longer. Polls never overlap. They are made on
 * demand: a busy consumer delays the next poll.
 *
 * A retryable failure does not end the stream: it is logged as a warning and emitted in {@link Poll}. List calls are not retried
 * otherwise, whatever the `RetryPolicy` in force. After failures in a row, the next poll waits for at least 1, 2, 4 … 30 seconds.
 * `Retry-After`, with a failure or a success, ends the poll and delays the next one as well, by 5 minutes at most. After a delay,
 * the next poll starts at a multiple of `interval` after the last start, so that many pollers don't retry at the same time. Fatal
 * failures end the stream, as do `CursorStalled` and, for invalid options, `InvalidRequest`.
 *
 * A job's `runnableAt` is compared with the service's time, which is known from the `Date` headers of responses. If these headers
 * agree with the machine's clock, or are missing, the machine's clock is used. Otherwise the time is estimated. After the first poll
 * the estimate is off by at most a second, and after some more polls by at most the duration of a request. A job never starts too early.
 *
 * @see {@link watch} for the jobs only
 * @since 0.1.0
 * @category streams
 */
export const polls = (
  request: WatchRequest
): Stream.Stream<Poll, StacksError.StacksError | StacksError.CursorStalled, StacksClient.StacksClient> =>
  Stream.unwrap(
    Effect.map(Check.ofRequest("listScheduledJobs", checked(request)), (interval) => pollEvery(interval, request))
  )

/** Checks the options, and returns the interval in milliseconds. */
const checked = Effect.fnUntraced(function* (request: WatchRequest) {
  if (request.maxPages !== undefined) yield* Check.count("maxPages", request.maxPages, 1)
  if (request.pageSize !== undefined) yield* Check.integer("pageSize", request.pageSize, 1, MaxBatchSize)
  yield* Check.tags("tags", request.tags)
  return Duration.toMillis(
    yield* Check.duration("interval", request.interval ?? minInterval, { min: [minInterval, "1 second"] })
  )
})

const pollEvery = (
  interval: number,
  request: WatchRequest
): Stream.Stream<Poll, StacksError.StacksError | StacksError.CursorStalled, StacksClient.StacksClient> => {
  const isForUs = request.tags === undefined ? () => true : AgentQueryRules.matcher(request.tags)
  const runnable = (jobs: ReadonlyArray<ScheduledJob>, dispatchPaused: boolean | undefined, now: number) =>
    dispatchPaused ? [] : jobs.filter((job) => isRunnable(job, now) && isForUs(job.agentQueryRules))
  return Stream.unfold(
    firstPoll,
    Effect.fnUntraced(function* ({ failures, isPaused, ownServiceClock, startAt, logged }) {
      const clock = yield* Clock.Clock
      const serviceClock = (yield* CurrentServiceClock) ?? ownServiceClock ?? new ServiceClock()
      const remaining = startAt - monotonicMillis(clock)
      if (remaining > 0) yield* Effect.sleep(Math.ceil(remaining))

      const startedAt = yield* DateTime.now
      const start = monotonicMillis(clock)
      const { maxPages = 2, onPage } = request
      const pages = yield* readPages(
        request,
        serviceClock,
        isPaused,
        ({ clusterQueue: { dispatchPaused }, jobs, undecodable = [] }, index, isLast) =>
          onPage === undefined
            ? Effect.succeed(index + 1 < maxPages)
            : onPage({
                index,
                startedAt,
                monotonicStart: start,
                jobs: runnable(jobs, dispatchPaused, serviceClock.now(clock)),
                undecodable,
                dispatchPaused,
                isLast
              })
      )
      const end = monotonicMillis(clock)
      const failed = pages.failure === undefined ? 0 : failures + 1
      const asked = Duration.toMillis(Duration.min(pages.retryAfter ?? Duration.zero, maxRetryAfter))
      const minDelay = Math.max(pollBackoff(failed), asked)
      const nextAt = minDelay === 0 ? Math.max(start + interval, end) : nextStart(start, interval, end + minDelay)
      const nextPollIn = Duration.millis(Math.ceil(nextAt - end))
      if (pages.failure !== undefined) {
        yield* Effect.logWarning(
          `The scheduled jobs could not be listed; retrying in ${Duration.format(nextPollIn)}`
        ).pipe(
          Effect.annotateLogs({
            stack_key: request.stackKey,
            queue_key: request.clusterQueueKey,
            error: pages.failure.message
          })
        )
      }

      const issues = new Set(pages.undecodable.map(describe))
      for (const issue of issues) {
        // With `onPage`, the caller logs them.
        if (logged.has(issue) || onPage !== undefined) continue
        yield* Effect.logWarning(`Skipped a listed job that could not be decoded: ${issue}`).pipe(
          Effect.annotateLogs({ stack_key: request.stackKey, queue_key: request.clusterQueueKey })
        )
      }

      const poll: Poll = {
        startedAt,
        monotonicStart: start,
        jobs: runnable(pages.listed, pages.dispatchPaused, serviceClock.now(clock)),
        listed: pages.listed,
        undecodable: pages.undecodable,
        dispatchPaused: pages.dispatchPaused,
        isComplete: pages.isComplete,
        failure: pages.failure,
        nextPollIn
      }
      const next: PollState = {
        startAt: nextAt,
        failures: failed,
        isPaused: pages.dispatchPaused ?? isPaused,
        logged: pages.failure === undefined ? issues : logged,
        ownServiceClock: serviceClock
      }
      return [poll, next]
    })
  )
}

/** The state between polls. */
interface PollState {
  /** Milliseconds of the monotonic clock. */
  readonly startAt: number
  readonly failures: number
  /** What the service said last about the queue's dispatch. */
  readonly isPaused: boolean | undefined
  /** The jobs that could not be decoded and were logged. */
  readonly logged: ReadonlySet<string>
  readonly ownServiceClock: ServiceClock | undefined
}

const firstPoll: PollState = {
  startAt: Number.NEGATIVE_INFINITY,
  failures: 0,
  isPaused: undefined,
  logged: new Set(),
  ownServiceClock: undefined
}

const describe = ({ id, issue }: UndecodableJob): string => (id === undefined ? issue : `${id}: ${issue}`)

/**
 * The first multiple of the interval after `start` that is not before `notBefore`. Pollers that all fail or are told to wait at
 * the same time stay apart, because each keeps its own schedule.
 */
const nextStart = (start: number, interval: number, notBefore: number): number =>
  start + interval * Math.max(1, Math.ceil((notBefore - start) / interval))

const isRunnable = ({ runnableAt }: ScheduledJob, now: number): boolean =>
  runnableAt === undefined || runnableAt === null || DateTime.toEpochMillis(runnableAt) <= now

/** The pages of one poll. */
interface PollPages {
  readonly listed: ReadonlyArray<ScheduledJob>
  readonly undecodable: ReadonlyArray<UndecodableJob>
  readonly dispatchPaused: boolean | undefined
  readonly isComplete: boolean
  readonly failure: StacksError.RetryableError | undefined
  readonly retryAfter: Duration.Duration | undefined
}

/** Reads pages while `wantsMore`. */
const readPages = Effect.fnUntraced(function* (
  { clusterQueueKey, pageSize = MaxBatchSize, stackKey }: WatchRequest,
  serviceClock: ServiceClock,
  isPaused: boolean | undefined,
  wantsMore: (page: ScheduledJobsPage, index: number, isLast: boolean) => Effect.Effect<boolean>
): Effect.fn.Return<PollPages, StacksError.FatalError | StacksError.CursorStalled, StacksClient.StacksClient> {
  const client = yield* StacksClient.StacksClient
  const trail = new CursorTrail(undefined)
  const listed = new Map<string, ScheduledJob>()
  const undecodable: Array<UndecodableJob> = []
  let lastDispatchPaused = isPaused
  let dispatchPaused: boolean | undefined
  let startCursor: string | undefined
  const pollPages = (rest: Partial<Pick<PollPages, "isComplete" | "failure" | "retryAfter">>): PollPages => ({
    listed: Array.from(listed.values()),
    undecodable,
    dispatchPaused,
    isComplete: rest.isComplete ?? false,
    failure: rest.failure,
    retryAfter: rest.retryAfter
  })

  for (let index = 0; ; index++) {
    const result = yield* client.listScheduledJobs({ stackKey, clusterQueueKey, pageSize, startCursor }).pipe(
      RetryPolicy.withPolicy(RetryPolicy.none),
      StacksClient.withResponse,
      Effect.provideService(CurrentServiceClock, serviceClock),
      Effect.catchIf(StacksError.isRetryable, (failure) => Effect.succeed(failure))
    )
    if (StacksError.isRetryable(result)) {
      return pollPages({
        failure: result,
        retryAfter: result._tag === "ErrorResponse" ? result.retryAfter : undefined
      })
    }
    const { headers, value } = result
    for (const job of value.jobs) listed.set(job.id, job)
    undecodable.push(...(value.undecodable ?? []))
    // If a page does not contain the state of the dispatch, the last known state applies.
    const clusterQueue = {
      ...value.clusterQueue,
      dispatchPaused: value.clusterQueue.dispatchPaused ?? lastDispatchPaused
    }
    lastDispatchPaused = clusterQueue.dispatchPaused
    dispatchPaused = dispatchPaused === true || lastDispatchPaused
    const { endCursor, hasNextPage } = value.pageInfo
    const asked = retryAfter(headers, yield* Clock.currentTimeMillis)
    const isLast = !hasNextPage || (asked !== undefined && Duration.toMillis(asked) > 0)
    const goesOn = yield* wantsMore({ ...value, clusterQueue }, index, isLast)
    if (!goesOn || isLast) return pollPages({ isComplete: !hasNextPage, retryAfter: asked })
    if (!trail.advancesTo(endCursor)) return yield* new StacksError.CursorStalled({ cursor: endCursor })
    startCursor = endCursor
  }
})

/**
 * The jobs of a queue that may start, endlessly. Each job is emitted once while it stays listed.
 *
 * **When to use**
 *
 * Use it to take jobs from a queue in a program of your own. `Stack` does this, and reserves and runs the jobs as well.
 *
 * **Details**
 *
 * Polls the first pages of the queue like {@link polls}: at most once a second, and later after a failure or a `Retry-After`. Fatal
 * failures end the stream.
 *
 * A job is emitted by the first poll in which it may start: when the queue is not paused, its `runnableAt` has passed, and its rules
 * match the `tags`.
 *
 * A job that leaves the list, because it is reserved, started or canceled, is emitted again if it is listed again, for example when
 * its reservation lapses. A job that moves to a page that polls don't read counts as listed: it is not emitted again when it moves back.
 * The stream remembers ten times as many jobs as a poll can list. If the unread pages have more jobs than that, it may emit a job twice.
 *
 * @see {@link polls} for pauses, failures and all listed jobs
 * @since 0.1.0
 * @category streams
 */
export const watch = (
  request: WatchRequest
): Stream.Stream<ScheduledJob, StacksError.StacksError | StacksError.CursorStalled, StacksClient.StacksClient> =>
  Stream.mapAccum(
    polls(request),
    () => new SeenJobs(10 * Math.max(1, request.maxPages ?? 2) * (request.pageSize ?? MaxBatchSize)),
    (seen, poll) => [seen, seen.add(poll)]
  )
