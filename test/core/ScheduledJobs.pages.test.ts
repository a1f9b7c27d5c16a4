import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, ScheduledJobs, StacksClient, StacksError } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Fiber, Layer, Option, Stream } from "effect"
import { TestClock } from "effect/testing"
import { addJobs } from "../support/emulated.ts"
import { record } from "../support/recording.ts"
import { emulated, emulator, listed, numbered, page, request, scripted } from "../support/scheduledJobs.ts"
import { runToEnd } from "../support/testClock.ts"

const { Fault } = StacksEmulator

describe("ScheduledJobs.pages", () => {
  it.effect("reads all pages, with the maximum page size", () =>
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

  it.effect("uses startCursor and pageSize", () =>
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

  it.effect("emits one empty page for an empty queue", () =>
    Effect.gen(function* () {
      const pages = yield* Stream.runCollect(ScheduledJobs.pages(request))
      assert.deepStrictEqual(
        pages.map((page) => page.jobs),
        [[]]
      )
    }).pipe(Effect.provide(emulated))
  )

  it.effect("requests one page ahead, and no more", () =>
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

  it.effect("requests the next page while one is processed", () =>
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

  it.effect("requests the next page before it decodes a slow one, and aborts the request if decoding fails", () =>
    Effect.gen(function* () {
      let aborted = 0
      const { layer, service } = scripted((after) => (after === null ? broken("c1") : Effect.never), {
        onAbort: () => aborted++
      })
      const error = yield* ScheduledJobs.pages(request).pipe(
        Stream.runDrain,
        Effect.flip,
        Effect.provide(layer),
        runToEnd
      )
      assert.strictEqual(error._tag, "DecodeError")
      assert.deepStrictEqual([service.requests.length, aborted], [2, 1])
    })
  )

  it.effect("follows the cursor of the decoded page, not of the raw one", () =>
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
        runToEnd
      )
      assert.deepStrictEqual(ids, ["a", "b"])
      assert.deepStrictEqual(asked, [null, "c1", null, "c2"])
    })
  )

  it.effect("gives each request a span with the same parent", () =>
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

  it.effect("sends no request before it runs", () =>
    Effect.gen(function* () {
      const pages = ScheduledJobs.pages(request)
      assert.lengthOf(yield* listed, 0)
      yield* Stream.runDrain(pages)
      yield* Stream.runDrain(pages)
      assert.lengthOf(yield* listed, 2)
    }).pipe(Effect.provide(emulated))
  )

  it.effect("aborts the request in flight if it is interrupted", () =>
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

  it.effect("aborts the request in flight if the stream ends early", () =>
    Effect.gen(function* () {
      let aborted = 0
      const { layer } = scripted((after) => (after === null ? page(["a"], "c1") : Effect.never), {
        onAbort: () => aborted++
      })
      yield* ScheduledJobs.pages(request).pipe(Stream.take(1), Stream.runDrain, Effect.provide(layer))
      assert.strictEqual(aborted, 1)
    })
  )

  it.effect("fails after the pages before the failure", () =>
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

  it.effect("retries by the policy in force", () =>
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

  describe("fails with CursorStalled, after the page, if the cursor", () => {
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

    it.effect("is the same as before", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* stalled(() => "c"), { cursor: "c", pages: 2 })
        assert.deepStrictEqual(yield* stalled(() => "c", "c"), { cursor: "c", pages: 1 })
        assert.deepStrictEqual(yield* stalled((_, index) => `c${Math.min(index, 20)}`), { cursor: "c20", pages: 22 })
      })
    )

    it.effect("is part of a cycle", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* stalled((after) => (after === "a" ? "b" : "a"))).pages, 3)
        // 50 pages, then 7 in a circle: noticed within a few rounds.
        const long = yield* stalled((_, index) => (index < 50 ? `c${index}` : `circle${index % 7}`))
        assert.isBelow(long.pages, 80)
      })
    )
  })
})
