import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, ScheduledJobs, StacksClient, StacksError } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, DateTime, Duration, Effect, Fiber, Layer, Logger, Option, Stream } from "effect"
import type { HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { addJobs } from "../support/emulated.ts"
import { patiently } from "../support/patience.ts"
import { record } from "../support/recording.ts"
import { scheduledJob } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

const request = { stackKey: "s", clusterQueueKey: "q" }

/** The emulator, with the stack `s` registered for the queue `q`. */
const emulated = Layer.effectDiscard(
  Effect.flatMap(StacksClient.StacksClient, (client) =>
    client.registerStack({ key: "s", type: "custom", queueKey: "q" })
  )
).pipe(Layer.provideMerge(StacksEmulator.layerClient), Layer.provideMerge(StacksEmulator.layer()))

const { Fault } = StacksEmulator

/** The requests for pages that arrived. */
const listed = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  return (yield* emulator.requests).filter((request) => request.operation === "listScheduledJobs")
})

/** When the pages were asked for, in milliseconds. */
const listedAt = Effect.map(listed, (requests) => requests.map(({ time }) => DateTime.toEpochMillis(time)))

const emulator = <A>(f: (emulator: StacksEmulator.Service) => Effect.Effect<A>) =>
  Effect.flatMap(StacksEmulator.StacksEmulator, f)

const numbered = (count: number) => Array.from({ length: count }, (_, index) => `j${index}`)

const at = (millis: number) => DateTime.makeUnsafe(millis)

/** A client whose service answers each list request with the page of a script. */
const scripted = (
  pageFor: (after: string | null, index: number) => Effect.Effect<unknown> | unknown,
  options?: { readonly onAbort?: () => void }
) => {
  const service = Scripted.make((sent, index) => {
    const answer = pageFor(new URL(sent.url).searchParams.get("after"), index)
    const respond = (body: unknown) => Scripted.json(200, body)(sent, index) as HttpServerResponse.HttpServerResponse
    return Effect.isEffect(answer)
      ? Effect.map(answer as Effect.Effect<unknown>, respond).pipe(
          Effect.onInterrupt(() => Effect.sync(() => options?.onAbort?.()))
        )
      : respond(answer)
  })
  return { service, layer: Layer.effect(StacksClient.StacksClient, Scripted.client(service)) }
}

const page = (ids: ReadonlyArray<string>, endCursor: string | null = null, hasNextPage = endCursor !== null) => ({
  jobs: ids.map((id) => ({ ...scheduledJob, id, runnable_at: null })),
  cluster_queue: { id: null, dispatch_paused: false },
  page_info: { has_next_page: hasNextPage, end_cursor: endCursor }
})

describe("ScheduledJobs.pages", () => {
  it.effect("reads page after page, as large as the service allows", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(2500))
      const sizes = yield* ScheduledJobs.pages(request).pipe(
        Stream.map((page) => page.jobs.length),
        Stream.runCollect
      )
      assert.deepStrictEqual(sizes, [1000, 1000, 500])
      const [first, ...rest] = yield* listed
      assert.deepStrictEqual(first?.query, { queue_key: "q", limit: "1000" })
      assert.isTrue(rest.every(({ query }) => query["after"] !== undefined))
    }).pipe(Effect.provide(emulated))
  )

  it.effect("starts and ends where it is told, with pages of the size asked for", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(10))
      const [first] = yield* ScheduledJobs.pages({ ...request, pageSize: 4 }).pipe(Stream.take(1), Stream.runCollect)
      const startCursor = first?.pageInfo.endCursor ?? ""
      const ids = yield* ScheduledJobs.pages({ ...request, pageSize: 4, startCursor }).pipe(
        Stream.map((page) => page.jobs.map((job) => job.id)),
        Stream.runCollect
      )
      assert.deepStrictEqual(ids, [
        ["j4", "j5", "j6", "j7"],
        ["j8", "j9"]
      ])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("gives one empty page for an empty queue", () =>
    Effect.gen(function* () {
      const pages = yield* Stream.runCollect(ScheduledJobs.pages(request))
      assert.deepStrictEqual(
        pages.map((page) => page.jobs),
        [[]]
      )
    }).pipe(Effect.provide(emulated))
  )

  it.effect("asks for the next page with each page, and for no more", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(10))
      const requestsAtPage: Array<number> = []
      yield* ScheduledJobs.pages({ ...request, pageSize: 2 }).pipe(
        Stream.runForEach(() =>
          Effect.gen(function* () {
            // However long the work on a page takes.
            yield* Effect.sleep("1 minute")
            requestsAtPage.push((yield* listed).length)
          })
        ),
        Effect.forkChild
      )
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(requestsAtPage, [2, 3, 4, 5, 5])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("lets a page travel while the one before it is worked on", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(8))
      yield* emulator(({ setFaults }) => setFaults([Fault.Stall({ duration: "1 second" })]))
      const fiber = yield* ScheduledJobs.pages({ ...request, pageSize: 2 }).pipe(
        Stream.runForEach(() => Effect.sleep("1 second")),
        Effect.forkChild
      )
      // Four pages that take a second each to come and to be worked on: 8 seconds one by one.
      yield* TestClock.adjust("5 seconds")
      assert.isDefined(fiber.pollUnsafe())
    }).pipe(Effect.provide(emulated))
  )

  const slowly = (body: unknown) => Effect.delay(Effect.succeed(body), "20 millis")
  const broken = (endCursor: string) => slowly({ ...page(["a"], endCursor), cluster_queue: "none" })

  it.effect("asks for the next page before it decodes this one, and aborts that where it can't be decoded", () =>
    Effect.gen(function* () {
      let aborted = 0
      const { layer, service } = scripted((after) => (after === null ? broken("c1") : Effect.never), {
        onAbort: () => aborted++
      })
      const error = yield* ScheduledJobs.pages(request).pipe(
        Stream.runDrain,
        Effect.flip,
        Effect.provide(layer),
        patiently
      )
      assert.strictEqual(error._tag, "DecodeError")
      assert.deepStrictEqual([service.requests.length, aborted], [2, 1])
    })
  )

  it.effect("goes where the page leads that it gives, not where one led that could not be decoded", () =>
    Effect.gen(function* () {
      const asked: Array<string | null> = []
      const { layer } = scripted((after, index) => {
        asked.push(after)
        if (index === 0) return broken("c1")
        if (after === null) return slowly(page(["a"], "c2"))
        return after === "c2" ? page(["b"]) : Effect.never
      })
      // A client of the user's own, which is more patient than ours.
      const patient = Layer.effect(
        StacksClient.StacksClient,
        Effect.map(StacksClient.StacksClient, (client) => ({
          ...client,
          listScheduledJobs: (request: StacksClient.ListScheduledJobsRequest) =>
            Effect.retry(client.listScheduledJobs(request), { times: 1 })
        }))
      )
      const ids = yield* ScheduledJobs.stream(request).pipe(
        Stream.map(({ id }) => id),
        Stream.runCollect,
        Effect.provide(Layer.provide(patient, layer)),
        patiently
      )
      assert.deepStrictEqual(ids, ["a", "b"])
      assert.deepStrictEqual(asked, [null, "c1", null, "c2"])
    })
  )

  it.effect("gives each request a span beside that of the one before it", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(6))
      yield* emulator(({ setFaults }) => setFaults([Fault.Stall({ duration: "20 millis" })]))
      const { recording } = yield* record(
        Effect.gen(function* () {
          const pages = Stream.runDrain(ScheduledJobs.pages({ ...request, pageSize: 2 }))
          const fiber = yield* Effect.forkChild(Effect.withSpan(pages, "all"))
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(fiber)
        })
      )
      const lists = recording.spans.filter(({ name }) => name === "StacksClient.listScheduledJobs")
      assert.lengthOf(lists, 3)
      const [all] = recording.spans.filter(({ name }) => name === "all")
      for (const { parent } of lists) assert.strictEqual(Option.getOrUndefined(parent)?.spanId, all?.spanId)
    }).pipe(Effect.provide(emulated))
  )

  it.effect("asks for nothing before it is run", () =>
    Effect.gen(function* () {
      const pages = ScheduledJobs.pages(request)
      assert.lengthOf(yield* listed, 0)
      yield* Stream.runDrain(pages)
      yield* Stream.runDrain(pages)
      assert.lengthOf(yield* listed, 2)
    }).pipe(Effect.provide(emulated))
  )

  it.effect("aborts the request under way when it is interrupted", () =>
    Effect.gen(function* () {
      let aborted = 0
      const { layer, service } = scripted((after) => (after === null ? page(["a"], "c1") : Effect.never), {
        onAbort: () => aborted++
      })
      const seen: Array<number> = []
      const fiber = yield* ScheduledJobs.pages(request).pipe(
        Stream.runForEach((page) => Effect.sync(() => seen.push(page.jobs.length))),
        Effect.provide(layer),
        Effect.forkChild
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([seen, service.requests.length, aborted], [[1], 2, 0])
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(aborted, 1)
    })
  )

  it.effect("aborts the request under way when the stream ends early", () =>
    Effect.gen(function* () {
      let aborted = 0
      const { layer } = scripted((after) => (after === null ? page(["a"], "c1") : Effect.never), {
        onAbort: () => aborted++
      })
      yield* ScheduledJobs.pages(request).pipe(Stream.take(1), Stream.runDrain, Effect.provide(layer))
      assert.strictEqual(aborted, 1)
    })
  )

  it.effect("gives a page's failure after the pages before it", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(4))
      yield* emulator(({ setFaults }) => setFaults([Fault.Status({ status: 401, skip: 1 })]))
      const seen: Array<string> = []
      const error = yield* ScheduledJobs.pages({ ...request, pageSize: 2 }).pipe(
        Stream.runForEach((page) => Effect.sync(() => seen.push(...page.jobs.map((job) => job.id)))),
        Effect.flip
      )
      assert.deepStrictEqual(seen, ["j0", "j1"])
      assert.strictEqual(error._tag, "ErrorResponse")
    }).pipe(Effect.provide(emulated))
  )

  it.effect("retries as the policy in force says", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(4))
      yield* emulator(({ setFaults }) => setFaults([Fault.Status({ status: 503, skip: 1, times: 1 })]))
      const fiber = yield* ScheduledJobs.pages({ ...request, pageSize: 2 }).pipe(Stream.runCount, Effect.forkChild)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), 2)
      yield* emulator(({ setFaults }) => setFaults([Fault.Status({ status: 503, skip: 1, times: 1 })]))
      const error = yield* ScheduledJobs.pages({ ...request, pageSize: 2 }).pipe(
        Stream.runCount,
        RetryPolicy.withPolicy(RetryPolicy.none),
        Effect.flip
      )
      assert.strictEqual(error._tag, "ErrorResponse")
    }).pipe(Effect.provide(emulated))
  )

  describe("ends in CursorStalled, after the page, where the cursor", () => {
    const stalled = Effect.fnUntraced(function* (
      endCursorAfter: (after: string | null, index: number) => string | null,
      startCursor?: string
    ) {
      const { layer, service } = scripted((after, index) => page([`j${index}`], endCursorAfter(after, index), true))
      const seen: Array<string> = []
      const error = yield* ScheduledJobs.pages({ ...request, startCursor }).pipe(
        Stream.runForEach((page) => Effect.sync(() => seen.push(...page.jobs.map((job) => job.id)))),
        Effect.flip,
        Effect.provide(layer)
      )
      assert.instanceOf(error, StacksError.CursorStalled)
      assert.strictEqual(error.operation, "listScheduledJobs")
      assert.isFalse(error.isRetryable)
      assert.deepStrictEqual(seen, numbered(service.requests.length))
      return { cursor: error.cursor, pages: seen.length }
    })

    it.effect("is missing", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* stalled(() => null), { cursor: null, pages: 1 })
      })
    )

    it.effect("is empty", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* stalled(() => ""), { cursor: "", pages: 1 })
      })
    )

    it.effect("is the one that was asked with", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* stalled(() => "c"), { cursor: "c", pages: 2 })
        assert.deepStrictEqual(yield* stalled(() => "c", "c"), { cursor: "c", pages: 1 })
        assert.deepStrictEqual(yield* stalled((_, index) => `c${Math.min(index, 20)}`), { cursor: "c20", pages: 22 })
      })
    )

    it.effect("leads back to where it came from", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* stalled((after) => (after === "a" ? "b" : "a"))).pages, 3)
        // 50 pages, then 7 in a circle: noticed within a few rounds.
        const long = yield* stalled((_, index) => (index < 50 ? `c${index}` : `circle${index % 7}`))
        assert.isBelow(long.pages, 80)
      })
    )
  })
})

describe("ScheduledJobs.stream", () => {
  it.effect("gives every job once, the oldest first", () =>
    Effect.gen(function* () {
      yield* addJobs(
        { id: "new", scheduledAt: at(3000) },
        { id: "old", scheduledAt: at(1000) },
        { id: "middle", scheduledAt: at(2000) }
      )
      const jobs = yield* Stream.runCollect(ScheduledJobs.stream({ ...request, pageSize: 1 }))
      assert.deepStrictEqual(
        jobs.map((job) => job.id),
        ["old", "middle", "new"]
      )
    }).pipe(Effect.provide(emulated))
  )

  it.effect("streams 100,000 jobs, never more than one page ahead", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(100_000))
      const ids = new Set<string>()
      let consumedPages = 0
      let mostHeld = 0
      yield* ScheduledJobs.stream(request).pipe(
        Stream.runForEachArray((jobs) =>
          Effect.gen(function* () {
            for (const { id } of jobs) ids.add(id)
            yield* Effect.yieldNow
            mostHeld = Math.max(mostHeld, (yield* listed).length - consumedPages)
            consumedPages++
          })
        )
      )
      assert.strictEqual(ids.size, 100_000)
      assert.strictEqual(consumedPages, 100)
      assert.strictEqual(mostHeld, 2)
    }).pipe(Effect.provide(emulated))
  )

  it.effect("leaves out jobs that moved from one page to the next", () =>
    Effect.gen(function* () {
      const pages = [page(["a", "b"], "1"), page(["b", "c"], "2"), page(["d"])]
      const jobs = yield* ScheduledJobs.stream(request).pipe(
        Stream.runCollect,
        Effect.provide(scripted((_, index) => pages[index]).layer)
      )
      assert.deepStrictEqual(
        jobs.map((job) => job.id),
        ["a", "b", "c", "d"]
      )
    })
  )

  it.effect("gives jobs that must not start, too", () =>
    Effect.gen(function* () {
      yield* addJobs({ id: "later", runnableAt: at(3_600_000) }, { id: "other", agentQueryRules: ["os=mac"] })
      yield* emulator(({ pauseQueue }) => pauseQueue("q", true))
      assert.strictEqual(yield* Stream.runCount(ScheduledJobs.stream(request)), 2)
    }).pipe(Effect.provide(emulated))
  )
})

/** Runs a watch in the background, and gives the ids that it has emitted since they were last asked for. */
const watching = Effect.fnUntraced(function* (options: Partial<ScheduledJobs.WatchRequest> = {}) {
  const ids: Array<string> = []
  const fiber = yield* ScheduledJobs.watch({ ...request, ...options }).pipe(
    Stream.runForEach((job) => Effect.sync(() => ids.push(job.id))),
    Effect.forkScoped
  )
  const next = (time: Duration.Input) => Effect.map(TestClock.adjust(time), () => ids.splice(0))
  return { fiber, next }
})

describe("ScheduledJobs.watch", () => {
  it.effect("gives each job once while it stays listed", () =>
    Effect.gen(function* () {
      yield* addJobs("a", "b")
      const { next } = yield* watching()
      assert.deepStrictEqual(yield* next(0), ["a", "b"])
      yield* addJobs("c")
      assert.deepStrictEqual(yield* next("1 second"), ["c"])
      assert.deepStrictEqual(yield* next("1 minute"), [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("gives a job again that was gone and comes back", () =>
    Effect.gen(function* () {
      yield* addJobs("a", "b")
      const { next } = yield* watching()
      yield* next(0)
      const client = yield* StacksClient.StacksClient
      yield* client.batchReserveJobs({ stackKey: "s", jobUuids: ["a"], reservationExpiry: "10 seconds" })
      assert.deepStrictEqual(yield* next("9 seconds"), [])
      assert.deepStrictEqual(yield* next("3 seconds"), ["a"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("does not take a job for gone that older ones pushed behind the pages", () =>
    Effect.gen(function* () {
      yield* addJobs({ id: "a", scheduledAt: at(10_000) }, { id: "b", scheduledAt: at(11_000) })
      const { next } = yield* watching({ pageSize: 1, maxPages: 2 })
      assert.deepStrictEqual(yield* next(0), ["a", "b"])
      yield* addJobs({ id: "older", scheduledAt: at(5000) })
      assert.deepStrictEqual(yield* next("1 second"), ["older"])
      yield* emulator(({ cancelJob }) => cancelJob("older"))
      assert.deepStrictEqual(yield* next("10 seconds"), [])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("takes a job for gone that is missing before the last one that was read", () =>
    Effect.gen(function* () {
      yield* addJobs(
        { id: "a", scheduledAt: at(1000) },
        { id: "b", scheduledAt: at(2000) },
        { id: "c", scheduledAt: at(3000) },
        { id: "d", scheduledAt: at(4000) }
      )
      const { next } = yield* watching({ pageSize: 2, maxPages: 1 })
      assert.deepStrictEqual(yield* next(0), ["a", "b"])
      const client = yield* StacksClient.StacksClient
      yield* client.batchReserveJobs({ stackKey: "s", jobUuids: ["a"], reservationExpiry: "5 seconds" })
      assert.deepStrictEqual(yield* next("2 seconds"), ["c"])
      assert.deepStrictEqual(yield* next("5 seconds"), ["a"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("remembers no more than ten times what a poll can list", () =>
    Effect.gen(function* () {
      const { next } = yield* watching({ pageSize: 1, maxPages: 1 })
      // Each job pushes the ones before it behind the page.
      for (let index = 0; index < 12; index++) {
        yield* addJobs({ id: `j${index}`, scheduledAt: at(100_000 - index * 1000) })
        assert.deepStrictEqual(yield* next(index === 0 ? 0 : "1 second"), [`j${index}`])
      }
      for (let index = 11; index > 1; index--) {
        yield* emulator(({ cancelJob }) => cancelJob(`j${index}`))
        assert.deepStrictEqual(yield* next("1 second"), index === 2 ? ["j1"] : [])
      }
    }).pipe(Effect.provide(emulated))
  )

  it.effect("reads the first two pages only, unless told otherwise", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(10))
      const { next } = yield* watching({ pageSize: 3 })
      assert.deepStrictEqual(yield* next(0), numbered(6))
      assert.lengthOf(yield* listed, 2)
      const all = yield* watching({ pageSize: 3, maxPages: 10 })
      assert.deepStrictEqual(yield* all.next(0), numbered(10))
    }).pipe(Effect.provide(emulated))
  )

  it.effect("gives nothing while the queue is paused, and what was held back when it resumes", () =>
    Effect.gen(function* () {
      yield* addJobs("before")
      const { next } = yield* watching()
      assert.deepStrictEqual(yield* next(0), ["before"])
      yield* emulator(({ pauseQueue }) => pauseQueue("q", true))
      yield* addJobs("during")
      assert.deepStrictEqual(yield* next("1 minute"), [])
      yield* emulator(({ pauseQueue }) => pauseQueue("q", false))
      assert.deepStrictEqual(yield* next("1 second"), ["during"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("gives a job with the first poll after its runnableAt", () =>
    Effect.gen(function* () {
      yield* addJobs({ id: "later", runnableAt: at(4500) }, { id: "past", runnableAt: at(0) })
      const { next } = yield* watching()
      assert.deepStrictEqual(yield* next(0), ["past"])
      assert.deepStrictEqual(yield* next("4 seconds"), [])
      assert.deepStrictEqual(yield* next("1 second"), ["later"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("leaves out jobs whose rules the tags don't meet", () =>
    Effect.gen(function* () {
      yield* addJobs(
        { id: "linux", agentQueryRules: ["queue=q", "os=linux"] },
        { id: "mac", agentQueryRules: ["queue=q", "os=mac"] },
        { id: "any", agentQueryRules: ["queue=q"] }
      )
      const { next } = yield* watching({ tags: ["os=linux"] })
      assert.deepStrictEqual(yield* next("5 seconds"), ["linux", "any"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("gives what is on the pages before one that fails", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(4))
      yield* emulator(({ setFaults }) => setFaults([Fault.Reset({ skip: 1, times: 1 })]))
      const { next } = yield* watching({ pageSize: 2 })
      assert.deepStrictEqual(yield* next(0), ["j0", "j1"])
      assert.deepStrictEqual(yield* next("1 second"), ["j2", "j3"])
    }).pipe(Effect.provide([emulated, Logger.layer([])]))
  )
})

describe("the time between polls", () => {
  it.effect("is a second, from start to start", () =>
    Effect.gen(function* () {
      yield* emulator(({ setFaults }) => setFaults([Fault.Stall({ duration: "700 millis" })]))
      yield* watching()
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(yield* listedAt, [0, 1000, 2000, 3000])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("is what was asked for", () =>
    Effect.gen(function* () {
      const slow = yield* watching({ interval: "5 seconds" })
      yield* TestClock.adjust("12 seconds")
      yield* Fiber.interrupt(slow.fiber)
      assert.deepStrictEqual(yield* listedAt, [0, 5000, 10_000])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("is the poll's own where it takes longer: polls never overlap", () =>
    Effect.gen(function* () {
      yield* emulator(({ setFaults }) => setFaults([Fault.Stall({ duration: "2500 millis" })]))
      yield* watching()
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual(yield* listedAt, [0, 2500, 5000])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("is what Retry-After asks for, also with a success", () =>
    Effect.gen(function* () {
      yield* emulator(({ setFaults }) =>
        setFaults([
          Fault.SlowDown({ retryAfter: "7 seconds", times: 1 }),
          Fault.Status({ status: 429, retryAfter: "9 seconds", times: 1 }),
          Fault.Status({ status: 503, retryAfter: "3 seconds", times: 1 })
        ])
      )
      yield* watching()
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(yield* listedAt, [0, 7000, 16_000, 19_000, 20_000])
    }).pipe(Effect.provide([emulated, Logger.layer([])]))
  )

  it.effect("ends on each poller's own beat where all were told the same moment: they stay apart", () =>
    Effect.gen(function* () {
      const date = new Date(10_000).toUTCString()
      yield* emulator(({ setFaults }) =>
        setFaults([Fault.Status({ status: 503, headers: { "Retry-After": date }, skip: 3, times: 3 })])
      )
      for (const _ of ["first", "second", "third"]) {
        yield* watching()
        yield* TestClock.adjust("300 millis")
      }
      yield* TestClock.adjust("9900 millis")
      assert.deepStrictEqual(yield* listedAt, [0, 300, 600, 1000, 1300, 1600, 10_000, 10_300, 10_600])
    }).pipe(Effect.provide([emulated, Logger.layer([])]))
  )

  it.effect("is never shorter for a Retry-After of nothing, nor does that end a poll", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 9, 1))
      for (const value of ["0", "Mon, 01 Jan 1990 00:00:00 GMT", "-1"]) {
        const before = (yield* listedAt).length
        yield* emulator(({ setFaults }) =>
          setFaults([Fault.Status({ status: 503, headers: { "Retry-After": value }, times: 4 })])
        )
        const from = DateTime.toEpochMillis(yield* DateTime.now)
        const { fiber } = yield* watching()
        yield* TestClock.adjust("15 seconds")
        yield* Fiber.interrupt(fiber)
        const times = (yield* listedAt).slice(before).map((at) => at - from)
        assert.deepStrictEqual(times, [0, 1000, 3000, 7000, 15_000])
      }
      yield* addJobs(...numbered(4))
      yield* emulator(({ setFaults }) => setFaults([Fault.SlowDown({ retryAfter: 0, times: 1 })]))
      const { next } = yield* watching({ pageSize: 2 })
      assert.deepStrictEqual(yield* next(0), ["j0", "j1", "j2", "j3"])
    }).pipe(Effect.provide([emulated, Logger.layer([])]))
  )

  it.effect("is five minutes at most, because the queue would count as disconnected", () =>
    Effect.gen(function* () {
      yield* emulator(({ setFaults }) => setFaults([Fault.SlowDown({ retryAfter: "1 day", times: 1 })]))
      yield* watching()
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(yield* listedAt, [0, 300_000])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("leaves out the second page when the first one asks to slow down", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(4))
      yield* emulator(({ setFaults }) => setFaults([Fault.SlowDown({ retryAfter: "5 seconds", times: 1 })]))
      const { next } = yield* watching({ pageSize: 2 })
      assert.deepStrictEqual(yield* next("4 seconds"), ["j0", "j1"])
      assert.deepStrictEqual(yield* listedAt, [0])
      assert.deepStrictEqual(yield* next("1 second"), ["j2", "j3"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("grows with failures in a row, up to 30 seconds, and a success ends that", () =>
    Effect.gen(function* () {
      yield* emulator(({ setFaults }) => setFaults([Fault.Status({ status: 500, times: 7 })]))
      yield* watching()
      yield* TestClock.adjust("92 seconds")
      const times = yield* listedAt
      assert.deepStrictEqual(
        times.slice(1).map((time, index) => (time - (times[index] ?? 0)) / 1000),
        [1, 2, 4, 8, 16, 30, 30, 1]
      )
    }).pipe(Effect.provide([emulated, Logger.layer([])]))
  )
})

describe("the service's clock", () => {
  const hour = 3_600_000

  /** When a watch gives a job, in milliseconds from its start, while our clock differs from the service's. */
  const givenAfter = Effect.fnUntraced(function* (skew: number, runnableIn: number, startAt = 10 * hour + 300) {
    yield* TestClock.setTime(startAt)
    const service = Scripted.make((sent, index) => {
      const theirs = sent.at + skew
      const job = { ...scheduledJob, runnable_at: new Date(startAt + skew + runnableIn).toISOString() }
      return Scripted.json(200, { ...page([]), jobs: [job] }, { Date: new Date(theirs).toUTCString() })(sent, index)
    })
    const fiber = yield* ScheduledJobs.watch({ ...request, interval: "1 second" }).pipe(
      Stream.take(1),
      Stream.runDrain,
      Effect.andThen(DateTime.now),
      Effect.provide(Layer.effect(StacksClient.StacksClient, Scripted.client(service))),
      Effect.forkChild
    )
    yield* TestClock.adjust("1 minute")
    return DateTime.toEpochMillis(yield* Fiber.join(fiber)) - startAt
  })

  it.effect("decides whether a job may start, if ours is behind", () =>
    Effect.gen(function* () {
      for (const skew of [8000, hour, 24 * hour]) {
        // A second before it began to watch: the header is not that exact.
        assert.strictEqual(yield* givenAfter(skew, -1000), 0)
        assert.isAtMost(yield* givenAfter(skew, 0), 1000)
        const after = yield* givenAfter(skew, 5000)
        assert.isTrue(after >= 5000 && after <= 6000, String(after))
      }
    })
  )

  it.effect("decides whether a job may start, if ours is ahead: none starts too early", () =>
    Effect.gen(function* () {
      for (const skew of [-8000, -hour]) {
        for (const startAt of [10 * hour, 10 * hour + 1, 10 * hour + 999]) {
          const after = yield* givenAfter(skew, 5000, startAt)
          assert.isTrue(after >= 5000 && after <= 6000, String(after))
        }
      }
    })
  )

  it.effect("delays no job where ours is right, though the header has whole seconds", () =>
    Effect.gen(function* () {
      for (const startAt of [10 * hour, 10 * hour + 1, 10 * hour + 500, 10 * hour + 999]) {
        assert.strictEqual(yield* givenAfter(0, 0, startAt), 0)
        assert.strictEqual(yield* givenAfter(0, 3000, startAt), 3000)
      }
    })
  )

  it.effect("may be set, as may ours, while the queue is watched", () =>
    Effect.gen(function* () {
      const base = yield* Clock.Clock
      for (const jump of [-hour, hour]) {
        const start = base.currentTimeMillisUnsafe()
        let [offset, skew] = [0, 0]
        const set: Clock.Clock = {
          ...base,
          currentTimeMillisUnsafe: () => base.currentTimeMillisUnsafe() + offset,
          currentTimeMillis: Effect.sync(() => base.currentTimeMillisUnsafe() + offset)
        }
        const seen: Array<number> = []
        const service = Scripted.make((sent, index) => {
          const elapsed = sent.at - offset - start
          if (index === 3) offset = jump
          if (index === 6) skew = jump
          const jobs = [10_000, 20_000].map((at) => ({
            ...scheduledJob,
            id: `${at}`,
            runnable_at: new Date(start + at + skew).toISOString()
          }))
          const theirs = new Date(start + elapsed + skew).toUTCString()
          return Scripted.json(200, { ...page([]), jobs }, { Date: theirs })(sent, index)
        })
        yield* ScheduledJobs.watch(request).pipe(
          Stream.runForEach(() => Effect.sync(() => seen.push(base.currentTimeMillisUnsafe() - start))),
          Effect.provide(Layer.effect(StacksClient.StacksClient, Scripted.client(service))),
          Effect.provideService(Clock.Clock, set),
          Effect.forkChild
        )
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(seen.length, 2)
        for (const [index, at] of [10_000, 20_000].entries()) {
          const after = seen[index] ?? 0
          assert.isTrue(after >= at && after <= at + 1000, `${after}`)
        }
      }
    })
  )

  it.effect("is ours where the service does not tell its time", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(hour)
      const job = { ...scheduledJob, runnable_at: new Date(hour + 2500).toISOString() }
      for (const date of ["", "now", "12"]) {
        const service = Scripted.make(Scripted.json(200, { ...page([]), jobs: [job] }, { Date: date }))
        const fiber = yield* ScheduledJobs.watch(request).pipe(
          Stream.take(1),
          Stream.runDrain,
          Effect.provide(Layer.effect(StacksClient.StacksClient, Scripted.client(service))),
          Effect.forkChild
        )
        yield* TestClock.adjust("3 seconds")
        yield* Fiber.join(fiber)
      }
    })
  )
})

describe("jobs that can't be decoded", () => {
  const odd = { ...scheduledJob, id: "odd", scheduled_at: null }

  it.effect("are told once while they are listed, and keep no other job from starting", () =>
    Effect.gen(function* () {
      const warnings: Array<string> = []
      const logger = Logger.make(({ message }) => void warnings.push(String(message)))
      const { layer } = scripted((_, index) =>
        index === 3
          ? { ...page([]), jobs: "none" }
          : { ...page(["a"]), jobs: [odd, { ...scheduledJob, runnable_at: null }] }
      )
      const polls: Array<ScheduledJobs.Poll> = []
      const fiber = yield* ScheduledJobs.polls(request).pipe(
        Stream.runForEach((poll) => Effect.sync(() => polls.push(poll))),
        Effect.exit,
        Effect.provide([layer, Logger.layer([logger])]),
        Effect.forkChild
      )
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
      assert.lengthOf(polls, 3)
      for (const { jobs, undecodable } of polls) {
        assert.deepStrictEqual(
          [jobs.map(({ id }) => id), undecodable.map(({ id }) => id)],
          [[scheduledJob.id], ["odd"]]
        )
      }
      assert.lengthOf(warnings, 1)
      assert.match(warnings[0] ?? "", /^Skipped a listed job that could not be decoded: odd: Expected/)
    })
  )
})

describe("a watch", () => {
  it.effect("survives every retryable failure, with one request each and a warning, whatever the policy", () =>
    Effect.gen(function* () {
      const warnings: Array<unknown> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel === "Warn") warnings.push(message)
      })
      yield* addJobs("a")
      yield* emulator(({ setFaults }) =>
        setFaults([
          Fault.Status({ status: 503, times: 1 }),
          Fault.Html({ times: 1 }),
          Fault.Reset({ times: 1 }),
          Fault.Truncate({ times: 1 })
        ])
      )
      const { next } = yield* watching().pipe(
        RetryPolicy.withPolicy(RetryPolicy.standard),
        Effect.provide(Logger.layer([logger]))
      )
      assert.deepStrictEqual(yield* next("14 seconds"), [])
      assert.lengthOf(yield* listed, 4)
      assert.lengthOf(warnings, 4)
      assert.deepStrictEqual(yield* next("1 second"), ["a"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("ends with a fatal failure", () =>
    Effect.gen(function* () {
      const { fiber, next } = yield* watching()
      yield* next("3 seconds")
      yield* emulator(({ forgetStack }) => forgetStack("s"))
      yield* next("1 second")
      const error = yield* Effect.flip(Fiber.join(fiber))
      assert.strictEqual(error._tag === "ErrorResponse" && error.reason._tag, "NotFound")
    }).pipe(Effect.provide(emulated))
  )

  it.effect("ends with a request that is not valid", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Stream.runDrain(ScheduledJobs.watch({ ...request, pageSize: 1001 })))
      assert.strictEqual(error._tag, "InvalidRequest")
    }).pipe(Effect.provide(emulated))
  )

  it.effect("ends with a cursor that does not advance, but does not mind one that it need not follow", () =>
    Effect.gen(function* () {
      const { layer } = scripted(() => page(["a"], null, true))
      const error = yield* Effect.flip(Stream.runDrain(ScheduledJobs.watch(request))).pipe(Effect.provide(layer))
      assert.instanceOf(error, StacksError.CursorStalled)
      const [job] = yield* ScheduledJobs.watch({ ...request, maxPages: 1 }).pipe(
        Stream.take(1),
        Stream.runCollect,
        Effect.provide(layer)
      )
      assert.strictEqual(job?.id, "a")
    })
  )

  it.effect("aborts the poll under way when it is interrupted", () =>
    Effect.gen(function* () {
      let aborted = 0
      const { layer } = scripted(() => Effect.never, { onAbort: () => aborted++ })
      const { fiber } = yield* watching().pipe(Effect.provide(layer))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(aborted, 1)
    })
  )
})

describe("ScheduledJobs.polls", () => {
  it.effect("tells of all jobs that may start, each time, and of all that are listed", () =>
    Effect.gen(function* () {
      yield* addJobs("a", { id: "later", runnableAt: at(60_000) }, { id: "mac", agentQueryRules: ["os=mac"] })
      const fiber = yield* ScheduledJobs.polls({ ...request, tags: { os: "linux" } }).pipe(
        Stream.take(2),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* TestClock.adjust("1 second")
      for (const [index, poll] of (yield* Fiber.join(fiber)).entries()) {
        assert.strictEqual(DateTime.toEpochMillis(poll.startedAt), index * 1000)
        assert.deepStrictEqual(
          poll.jobs.map((job) => job.id),
          ["a"]
        )
        assert.lengthOf(poll.listed, 3)
        assert.isFalse(poll.dispatchPaused)
        assert.isTrue(poll.isComplete)
        assert.isUndefined(poll.failure)
        assert.strictEqual(Duration.toMillis(poll.nextPollIn), 1000)
      }
    }).pipe(Effect.provide(emulated))
  )

  it.effect("tells of a pause, of jobs left behind the pages, and of failures", () =>
    Effect.gen(function* () {
      yield* addJobs("a", "b", "c")
      yield* emulator(({ pauseQueue, setFaults }) =>
        Effect.andThen(
          pauseQueue("q", true),
          setFaults([Fault.Status({ status: 503, retryAfter: "4 seconds", skip: 2 })])
        )
      )
      const fiber = yield* ScheduledJobs.polls({ ...request, pageSize: 1 }).pipe(
        Stream.take(2),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* TestClock.adjust("1 second")
      const [first, second] = yield* Fiber.join(fiber)
      assert.deepInclude(first, { jobs: [], dispatchPaused: true, isComplete: false, failure: undefined })
      assert.deepStrictEqual(
        first?.listed.map((job) => job.id),
        ["a", "b"]
      )
      assert.deepInclude(second, { jobs: [], listed: [], dispatchPaused: undefined, isComplete: false })
      assert.strictEqual(second?.failure?._tag, "ErrorResponse")
      assert.strictEqual(second && Duration.toSeconds(second.nextPollIn), 4)
    }).pipe(Effect.provide([emulated, Logger.layer([])]))
  )

  it.effect("polls only as it is consumed", () =>
    Effect.gen(function* () {
      yield* ScheduledJobs.polls(request).pipe(
        Stream.runForEach(() => Effect.sleep("10 seconds")),
        Effect.forkChild
      )
      yield* TestClock.adjust("25 seconds")
      assert.deepStrictEqual(yield* listedAt, [0, 10_000, 20_000])
    }).pipe(Effect.provide(emulated))
  )
})
