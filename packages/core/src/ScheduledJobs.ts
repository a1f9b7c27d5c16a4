/**
 * A queue's scheduled jobs as streams: one pass over all pages, or polling without end.
 *
 * **Example** (Counting the jobs of each pipeline)
 *
 * ```ts
 * import * as ScheduledJobs from "@stacksapi/core/ScheduledJobs"
 * import * as Stream from "effect/Stream"
 *
 * // However many jobs there are, at most two pages of them are held in memory.
 * export const program = ScheduledJobs.stream({ stackKey: "my-stack", clusterQueueKey: "default" }).pipe(
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
import { makePull } from "./internal/scheduledJobs/readAhead.ts"
import { Sightings } from "./internal/scheduledJobs/sightings.ts"
import * as RetryPolicy from "./RetryPolicy.ts"
import * as StacksClient from "./StacksClient.ts"
import * as StacksError from "./StacksError.ts"
import { MaxBatchSize, type ScheduledJob, type ScheduledJobsPage, type UndecodableJob } from "./StacksSchema.ts"

// -----------------------------------------------------------------------------
// One pass
// -----------------------------------------------------------------------------

/**
 * Which queue to read: `{ stackKey, clusterQueueKey, pageSize?, startCursor? }`. Pages are as large as the service allows,
 * 1000 jobs, unless `pageSize` says less.
 *
 * @since 0.1.0
 * @category requests
 */
export type PagesRequest = StacksClient.ListScheduledJobsRequest

/**
 * The pages of a queue, one after the other.
 *
 * **Details**
 *
 * With each page the next one is asked for, so that it travels while this one is decoded and worked on. No more is read ahead:
 * at most two pages are held. When the stream ends early, or is interrupted, the request under way is aborted.
 *
 * Each request is retried as the `RetryPolicy` in force says; a failure comes after the page before it. Where another page
 * follows but the cursor to it is missing or was used before, the stream fails with `CursorStalled`, after the page with that
 * cursor.
 *
 * **Gotchas**
 *
 * Not a snapshot: jobs come and go while the pages are read, and one may come up behind the cursor. The last page is no proof
 * that all were seen.
 *
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
 * The jobs of a queue, oldest first: one pass over all of its {@link pages}, in constant memory.
 *
 * **Details**
 *
 * A job that moved from one page to the next while they were read comes only once. Farther back is not remembered, because
 * that would take memory for all of the queue's jobs.
 *
 * All jobs that are listed come, also those that must not start yet: while the queue is paused, before their `runnableAt`, or
 * meant for other stacks by their rules. {@link watch} leaves those out.
 *
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

/**
 * Which queue to poll, and how.
 *
 * @since 0.1.0
 * @category requests
 */
export interface WatchRequest extends Omit<PagesRequest, "startCursor"> {
  /** From the start of one poll to the start of the next. Default and minimum 1 second. */
  readonly interval?: Duration.Input | undefined
  /** How many pages a poll reads at most, at least 1. Default 2. */
  readonly maxPages?: number | undefined
  /** What the stack's agents are tagged with: only jobs whose rules these meet may start. Default: all jobs. */
  readonly tags?: AgentQueryRules.Tags | undefined
  /**
   * Called with each page as it comes; says whether to read the next one, and may take its time for that. Goes before
   * `maxPages`: for those who read as much as they have use for.
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
  /** When the poll began. */
  readonly startedAt: DateTime.Utc
  /** The same in milliseconds of the monotonic clock, to compare with other times of this process. */
  readonly monotonicStart: number
  /** Its jobs that may start now. */
  readonly jobs: ReadonlyArray<ScheduledJob>
  /** Its jobs that could not be decoded. */
  readonly undecodable: ReadonlyArray<UndecodableJob>
  readonly dispatchPaused: boolean
  /** Whether the poll ends with it, whatever is answered. */
  readonly isLast: boolean
}

/**
 * What one look at the first pages of a queue showed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Poll {
  /** When it began. */
  readonly startedAt: DateTime.Utc
  /** The same in milliseconds of the monotonic clock, to compare with other times of this process. */
  readonly monotonicStart: number
  /**
   * The listed jobs that may start now: dispatch is not paused, `runnableAt` has come by the service's clock, and the tags meet
   * the rules. The same jobs come with every poll until they are reserved.
   */
  readonly jobs: ReadonlyArray<ScheduledJob>
  /** All jobs that were listed, each once. */
  readonly listed: ReadonlyArray<ScheduledJob>
  /** The listed jobs that could not be decoded. Each is told once by a warning in the log while it stays listed. */
  readonly undecodable: ReadonlyArray<UndecodableJob>
  /** Whether the queue's dispatch is paused; undefined where no page could be read. */
  readonly dispatchPaused: boolean | undefined
  /** Whether the last page was read: no job was left behind the pages. */
  readonly isComplete: boolean
  /** What the poll was cut short by; the jobs are those of the pages before. */
  readonly failure: StacksError.RetryableError | undefined
  /** How long, from the end of this poll, the next one is held back. */
  readonly nextPollIn: Duration.Duration
}

/** Never faster than this, as the reference stack. */
const minInterval = 1000
const maxBackoff = 30_000
/** Without polls the service takes a queue for disconnected after 5 to 6 minutes. */
const maxRetryAfter = Duration.minutes(5)

/**
 * Looks at the first pages of a queue again and again: what {@link watch} is made of, for those who need to know of pauses and
 * failures too, and of all jobs that may start.
 *
 * **Details**
 *
 * Polls begin `interval` after one another, and never overlap: one that takes longer is followed by the next at once. They are
 * made as the stream is consumed, so a consumer that is busy is not polled for.
 *
 * A poll that fails with a retryable failure is an element too, after a warning in the log; list calls are not retried
 * otherwise, whatever the `RetryPolicy` in force. After the first, second, third … failure in a row the next poll waits at
 * least 1, 2, 4 … 30 seconds. Where the service sends `Retry-After`, with a failure or a success, the poll ends there and the
 * next one waits for at least so long as well, at most 5 minutes. Either wait ends with a multiple of `interval` since the last
 * poll began, so that many pollers don't come back at one moment. Fatal failures end the stream, `CursorStalled` among them, and
 * `InvalidRequest` where an option can't be right.
 *
 * A job's `runnableAt` is compared with the service's time, which the `Date` headers of its responses tell. Where they don't
 * contradict our clock that is our own time; else it is exact to a second at first, and exact to a request's duration after some
 * polls, and a job never starts too early. Where there are no such headers our own clock counts.
 *
 * @since 0.1.0
 * @category streams
 */
export const polls = (
  request: WatchRequest
): Stream.Stream<Poll, StacksError.StacksError | StacksError.CursorStalled, StacksClient.StacksClient> =>
  Stream.unwrap(
    Effect.map(Check.ofRequest("listScheduledJobs", checked(request)), (interval) => pollEvery(interval, request))
  )

/** Gives the interval, in milliseconds. */
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
  const startable = (jobs: ReadonlyArray<ScheduledJob>, dispatchPaused: boolean | undefined, now: number) =>
    dispatchPaused ? [] : jobs.filter((job) => isRunnable(job, now) && isForUs(job.agentQueryRules))
  return Stream.unfold(
    { startAt: Number.NEGATIVE_INFINITY, failures: 0, told: noIssues, ownServiceClock: undefined } as PollState,
    Effect.fnUntraced(function* ({ failures, ownServiceClock, startAt, told }) {
      const clock = yield* Clock.Clock
      const serviceClock = (yield* CurrentServiceClock) ?? ownServiceClock ?? new ServiceClock()
      const waited = startAt - monotonicMillis(clock)
      if (waited > 0) yield* Effect.sleep(Math.ceil(waited))

      const startedAt = yield* DateTime.now
      const start = monotonicMillis(clock)
      const { maxPages = 2, onPage } = request
      const reading = yield* readTop(
        request,
        serviceClock,
        ({ clusterQueue: { dispatchPaused }, jobs, undecodable = [] }, index, isLast) =>
          onPage === undefined
            ? Effect.succeed(index + 1 < maxPages)
            : onPage({
                index,
                startedAt,
                monotonicStart: start,
                jobs: startable(jobs, dispatchPaused, serviceClock.now(clock)),
                undecodable,
                dispatchPaused,
                isLast
              })
      )
      const end = monotonicMillis(clock)
      const failed = reading.failure === undefined ? 0 : failures + 1
      const backoff = failed === 0 ? 0 : Math.min(maxBackoff, minInterval * 2 ** (failed - 1))
      const asked = Duration.toMillis(Duration.min(reading.retryAfter ?? Duration.zero, maxRetryAfter))
      const holdBack = Math.max(backoff, asked)
      const nextAt = holdBack === 0 ? Math.max(start + interval, end) : onBeat(start, interval, end + holdBack)
      const nextPollIn = Duration.millis(Math.ceil(nextAt - end))
      if (reading.failure !== undefined) {
        yield* Effect.logWarning(
          `The scheduled jobs could not be listed; next try in ${Duration.format(nextPollIn)}`
        ).pipe(
          Effect.annotateLogs({
            stack_key: request.stackKey,
            queue_key: request.clusterQueueKey,
            error: reading.failure.message
          })
        )
      }

      const issues = new Set(reading.undecodable.map(describe))
      for (const issue of issues) {
        // Whoever reads the pages reports them too.
        if (told.has(issue) || onPage !== undefined) continue
        yield* Effect.logWarning(`A listed job can't be read and is left alone: ${issue}`).pipe(
          Effect.annotateLogs({ stack_key: request.stackKey, queue_key: request.clusterQueueKey })
        )
      }

      const poll: Poll = {
        startedAt,
        monotonicStart: start,
        jobs: startable(reading.listed, reading.dispatchPaused, serviceClock.now(clock)),
        listed: reading.listed,
        undecodable: reading.undecodable,
        dispatchPaused: reading.dispatchPaused,
        isComplete: reading.isComplete,
        failure: reading.failure,
        nextPollIn
      }
      const next: PollState = {
        startAt: nextAt,
        failures: failed,
        told: reading.failure === undefined ? issues : told,
        ownServiceClock: serviceClock
      }
      return [poll, next]
    })
  )
}

/** What one poll leaves to the next. */
interface PollState {
  /** Milliseconds of the monotonic clock. */
  readonly startAt: number
  readonly failures: number
  /** The jobs that could not be decoded and were told. */
  readonly told: ReadonlySet<string>
  readonly ownServiceClock: ServiceClock | undefined
}

const noIssues: ReadonlySet<string> = new Set()

const describe = ({ id, issue }: UndecodableJob): string => (id === undefined ? issue : `${id}: ${issue}`)

/**
 * The first beat of an interval that is not before a time. Pollers whose connections all broke at one moment, or who were all
 * told the same moment, keep their own beats, and so stay apart.
 */
const onBeat = (start: number, interval: number, notBefore: number): number =>
  start + interval * Math.max(1, Math.ceil((notBefore - start) / interval))

const isRunnable = ({ runnableAt }: ScheduledJob, now: number): boolean =>
  runnableAt === undefined || runnableAt === null || DateTime.toEpochMillis(runnableAt) <= now

/** What the pages of one poll have to say, as far as they could be read. */
interface Reading {
  readonly listed: ReadonlyArray<ScheduledJob>
  readonly undecodable: ReadonlyArray<UndecodableJob>
  readonly dispatchPaused: boolean | undefined
  readonly isComplete: boolean
  readonly failure: StacksError.RetryableError | undefined
  readonly retryAfter: Duration.Duration | undefined
}

/** Reads pages for as long as `wantsMore` of each. */
const readTop = Effect.fnUntraced(function* (
  { clusterQueueKey, pageSize = MaxBatchSize, stackKey }: WatchRequest,
  serviceClock: ServiceClock,
  wantsMore: (page: ScheduledJobsPage, index: number, isLast: boolean) => Effect.Effect<boolean>
): Effect.fn.Return<Reading, StacksError.FatalError | StacksError.CursorStalled, StacksClient.StacksClient> {
  const client = yield* StacksClient.StacksClient
  const trail = new CursorTrail(undefined)
  const listed = new Map<string, ScheduledJob>()
  const undecodable: Array<UndecodableJob> = []
  let dispatchPaused: boolean | undefined
  let startCursor: string | undefined
  const reading = (rest: Partial<Pick<Reading, "isComplete" | "failure" | "retryAfter">>): Reading => ({
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
      return reading({
        failure: result,
        retryAfter: result._tag === "ErrorResponse" ? result.retryAfter : undefined
      })
    }
    const { headers, value } = result
    for (const job of value.jobs) listed.set(job.id, job)
    undecodable.push(...(value.undecodable ?? []))
    dispatchPaused = dispatchPaused === true || value.clusterQueue.dispatchPaused
    const { endCursor, hasNextPage } = value.pageInfo
    const asked = retryAfter(headers, yield* Clock.currentTimeMillis)
    const isLast = !hasNextPage || (asked !== undefined && Duration.toMillis(asked) > 0)
    const goesOn = yield* wantsMore(value, index, isLast)
    if (!goesOn || isLast) return reading({ isComplete: !hasNextPage, retryAfter: asked })
    if (!trail.advancesTo(endCursor)) return yield* new StacksError.CursorStalled({ cursor: endCursor })
    startCursor = endCursor
  }
})

/**
 * The jobs of a queue as they may start, without end: each one once for as long as it stays listed.
 *
 * **Details**
 *
 * Polls the first pages of the queue, as {@link polls} does: never faster than once a second, obeying `Retry-After`, and
 * surviving retryable failures. Fatal failures end the stream.
 *
 * A job comes with the first poll in which it may start. While the queue is paused there are none; they come when it resumes.
 * One with a `runnableAt` comes with the first poll after that time. One whose rules the `tags` don't meet does not come.
 *
 * A job that is not listed any more, because it was reserved, started or canceled, comes again if it is listed again, as when
 * its reservation lapses. That a poll does not reach a job behind the pages is no sign that it is gone. Up to ten times as
 * many jobs are remembered as a poll can list; only when more are pushed behind the pages may a job come twice.
 *
 * @since 0.1.0
 * @category streams
 */
export const watch = (
  request: WatchRequest
): Stream.Stream<ScheduledJob, StacksError.StacksError | StacksError.CursorStalled, StacksClient.StacksClient> =>
  Stream.mapAccum(
    polls(request),
    () => new Sightings(10 * Math.max(1, request.maxPages ?? 2) * (request.pageSize ?? MaxBatchSize)),
    (sightings, poll) => [sightings, sightings.handOut(poll)]
  )
