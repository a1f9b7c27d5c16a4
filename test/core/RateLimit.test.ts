import { assert, describe, it } from "@effect/vitest"
import { RateLimit, RetryPolicy, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, Context, Deferred, Duration, Effect, Fiber, Latch, Layer, Logger, Metric, Random } from "effect"
import { HttpServerResponse } from "effect/http"
import { RateLimiter } from "effect/persistence"
import { TestClock } from "effect/testing"
import { make as makeLimiter } from "../../packages/core/src/internal/rateLimit/limiter.ts"
import { SlidingWindow } from "../../packages/core/src/internal/rateLimit/slidingWindow.ts"
import { unhurried } from "../support/patience.ts"
import { answers } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

type Call = (client: StacksClient.Service) => Effect.Effect<unknown, unknown>

const list: Call = (client) => client.listScheduledJobs({ stackKey: "s", clusterQueueKey: "q" })
const reserve: Call = (client) => client.batchReserveJobs({ stackKey: "s", jobUuids: ["j"] })
const getJob: Call = (client) => client.getJob({ stackKey: "s", jobUuid: "j" })
const getStates: Call = (client) => client.getJobStates({ stackKey: "s", jobUuids: ["j"] })
const finish: Call = (client) => client.finishJob({ stackKey: "s", jobUuid: "j", detail: "done" })
const notify: Call = (client) =>
  client.createStackNotifications({ stackKey: "s", notifications: [{ jobUuid: "j", detail: "x" }] })
const register: Call = (client) => client.registerStack({ key: "s", type: "custom", queueKey: "q" })
const deregister: Call = (client) => client.deregisterStack({ stackKey: "s" })
const issueTokens: Call = (client) => client.issueJobAcquisitionTokens({ stackKey: "s", jobUuids: ["j"] })

const answerFor = (url: string) => {
  const path = new URL(url).pathname
  if (path.endsWith("/scheduled-jobs")) return answers.listScheduledJobs
  if (path.endsWith("/batch-reserve")) return answers.batchReserveJobs
  if (path.endsWith("/get-states")) return answers.getJobStates
  if (path.endsWith("/finish")) return answers.finishJob
  if (path.endsWith("/notifications")) return answers.createStackNotifications
  if (path.endsWith("/register")) return answers.registerStack
  if (path.endsWith("/deregister")) return answers.deregisterStack
  if (path.endsWith("/job-acquisition-tokens")) return answers.issueJobAcquisitionTokens
  return answers.getJob
}

/** What goes wrong, or differs, at a request: by default nothing. */
interface Behaviour {
  readonly status?: number
  readonly headers?: Record<string, string>
  /** Milliseconds before the service counts the request, and before its answer is back. */
  readonly there?: number
  readonly back?: number
}

/** A service that tells when it counted which request. */
const service = (behave: (url: string, index: number) => Behaviour | Effect.Effect<Behaviour> = () => ({})) => {
  const counted: Array<{ readonly at: number; readonly path: string }> = []
  const scripted = Scripted.make(({ url }, index) =>
    Effect.gen(function* () {
      const behaviour = behave(url, index)
      const { back = 0, headers = {}, status, there = 0 } = Effect.isEffect(behaviour) ? yield* behaviour : behaviour
      if (there > 0) yield* Effect.sleep(there)
      counted.push({ at: yield* Clock.currentTimeMillis, path: new URL(url).pathname.replace("/v3/stacks/", "") })
      if (back > 0) yield* Effect.sleep(back)
      const answer = answerFor(url)
      return answer.body === undefined
        ? HttpServerResponse.empty({ status: status ?? answer.status, headers })
        : HttpServerResponse.jsonUnsafe(answer.body, { status: status ?? answer.status, headers })
    })
  )
  return { scripted, counted, times: () => counted.map(({ at }) => at) }
}

const limiterOf = (layer: Layer.Layer<never, never, never>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, RateLimit.RateLimit))

/** A client without retries and with a limiter of its own. */
const clientOf = Effect.fnUntraced(function* (
  scripted: Scripted.Scripted,
  options: { readonly limiter?: RateLimit.Limiter; readonly timeout?: Duration.Input } = {}
) {
  const limiter = options.limiter ?? (yield* limiterOf(RateLimit.layerMemory))
  return yield* Scripted.client(scripted, options.timeout === undefined ? {} : { timeout: options.timeout }).pipe(
    Effect.provideService(RateLimit.RateLimit, limiter),
    RetryPolicy.withPolicy(RetryPolicy.none)
  )
})

/** The most events in any one second, both of its ends included. */
const mostInASecond = (times: ReadonlyArray<number>) => {
  const sorted = times.toSorted((a, b) => a - b)
  let most = 0
  let first = 0
  for (const [last, time] of sorted.entries()) {
    while (time - (sorted[first] ?? 0) > 1000) first++
    most = Math.max(most, last - first + 1)
  }
  return most
}

/** Calls again and again from so many fibers that there are always some waiting. */
const flood = (client: StacksClient.Service, call: Call, fibers: number) =>
  Effect.forEach(Array.from({ length: fibers }), () => Effect.forkScoped(Effect.forever(Effect.ignore(call(client)))), {
    discard: true
  })

const forkCalls = (client: StacksClient.Service, call: Call, count: number) =>
  Effect.forEach(Array.from({ length: count }), () => Effect.forkScoped(call(client)))

describe("without a layer", () => {
  it.effect("calls are not limited", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const client = yield* Scripted.client(scripted)
      yield* forkCalls(client, list, 50)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(times(), Array(50).fill(0))
    })
  )
})

describe("layerMemory", () => {
  const limits: ReadonlyArray<readonly [name: string, call: Call, limit: number, seconds: number]> = [
    ["listScheduledJobs", list, 10, 30],
    ["batchReserveJobs", reserve, 10, 30],
    ["getJob", getJob, 1000, 3],
    ["getJobStates", getStates, 20, 30],
    ["finishJob", finish, 100, 10],
    ["createStackNotifications", notify, 200, 5],
    ["registerStack", register, 10, 30],
    ["deregisterStack", deregister, 10, 30]
  ]

  for (const [name, call, limit, seconds] of limits) {
    it.effect(`keeps ${name} to ${limit} in any second, and uses 95 % of that`, () =>
      Effect.gen(function* () {
        const { scripted, times } = service()
        yield* flood(yield* clientOf(scripted), call, 2 * limit)
        yield* TestClock.adjust(Duration.seconds(seconds))
        assert.strictEqual(mostInASecond(times()), limit)
        assert.isAtLeast(times().length, 0.95 * limit * seconds)
      }).pipe(Effect.provide(unhurried))
    )
  }

  it.effect("gets no 429 from the emulator, which counts like the service", () =>
    Effect.gen(function* () {
      const client = yield* StacksClient.StacksClient
      yield* client.registerStack({ key: "s", type: "custom", queueKey: "q" })
      for (const call of [list, reserve, getStates, finish]) yield* flood(client, call, 30)
      yield* TestClock.adjust("20 seconds")
      const emulator = yield* StacksEmulator.StacksEmulator
      const requests = yield* emulator.requests
      assert.deepStrictEqual(
        requests.filter(({ status }) => status === 429),
        []
      )
      assert.isAtLeast(requests.length, 0.95 * 20 * (10 + 10 + 20 + 100))
    }).pipe(
      Effect.provide(
        StacksEmulator.layerClient.pipe(
          Layer.provideMerge(StacksEmulator.layer({ rateLimits: true })),
          Layer.provideMerge(RateLimit.layerMemory),
          Layer.provideMerge(RetryPolicy.layerNone),
          Layer.provideMerge(unhurried)
        )
      )
    )
  )

  for (const seed of [1, 2, 3]) {
    it.effect(`keeps to the limit however long requests and answers take (seed ${seed})`, () =>
      Effect.gen(function* () {
        const delays = Effect.map(
          Effect.all([Random.nextIntBetween(0, 400), Random.nextIntBetween(0, 400)]),
          ([there, back]) => ({ there, back })
        )
        const { scripted, times } = service(() => delays)
        yield* flood(yield* clientOf(scripted), getStates, 60)
        yield* TestClock.adjust("60 seconds")
        assert.isAtMost(mostInASecond(times()), 20)
        // A round trip of 0.4 seconds leaves 1 / 1.4 of the limit.
        assert.isAtLeast(times().length, (0.95 * 20 * 60) / 1.4)
      }).pipe(Random.withSeed(seed))
    )
  }

  it.effect("keeps to the limit where many requests go unanswered", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => ({
        there: (index * 37) % 300,
        back: index % 3 === 0 ? 5000 : 0
      }))
      yield* flood(yield* clientOf(scripted, { timeout: "200 millis" }), getStates, 60)
      yield* TestClock.adjust("60 seconds")
      assert.isAtMost(mostInASecond(times()), 20)
      assert.isAbove(times().length, 300)
    })
  )

  it.effect("counts each stack and each scope on its own", () =>
    Effect.gen(function* () {
      const { counted, scripted } = service()
      const client = yield* clientOf(scripted)
      for (const stackKey of ["a", "b"]) {
        yield* forkCalls(client, (client) => client.listScheduledJobs({ stackKey, clusterQueueKey: "q" }), 11)
        yield* forkCalls(client, (client) => client.batchReserveJobs({ stackKey, jobUuids: ["j"] }), 11)
      }
      yield* TestClock.adjust(0)
      assert.lengthOf(counted, 40)
      yield* TestClock.adjust("2 seconds")
      assert.lengthOf(counted, 44)
    })
  )

  it.effect("counts operations of one scope together", () =>
    Effect.gen(function* () {
      const { counted, scripted } = service()
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, register, 6)
      yield* forkCalls(client, deregister, 6)
      yield* TestClock.adjust(0)
      assert.lengthOf(counted, 10)
    })
  )

  it.effect("counts retries like any other request", () =>
    Effect.gen(function* () {
      const { scripted, times } = service(() => ({ status: 503 }))
      const client = yield* clientOf(scripted)
      yield* flood(client, (client) => RetryPolicy.withPolicy(list(client), RetryPolicy.standard), 30)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(mostInASecond(times()), 10)
    })
  )

  it.effect("holds nothing back below the limit", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const client = yield* clientOf(scripted)
      for (let index = 0; index < 20; index++) {
        yield* list(client)
        yield* TestClock.adjust("101 millis")
      }
      assert.deepStrictEqual(
        times(),
        Array.from({ length: 20 }, (_, index) => index * 101)
      )
    })
  )

  it.effect("serves those who wait in the order in which they came", () =>
    Effect.gen(function* () {
      const { counted, scripted } = service()
      const client = yield* clientOf(scripted)
      const names = Array.from({ length: 2500 }, (_, index) => `job-${index}`)
      yield* Effect.forEach(names, (jobUuid) => Effect.forkScoped(client.getJob({ stackKey: "s", jobUuid })))
      yield* TestClock.adjust("1500 millis")
      yield* Effect.forkScoped(client.getJob({ stackKey: "s", jobUuid: "late" }))
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(
        counted.map(({ path }) => path.replace("s/jobs/", "")),
        [...names, "late"]
      )
    }).pipe(Effect.provide(unhurried))
  )

  it.effect("works around a whole program as well as beneath a client", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const client = yield* Scripted.client(scripted)
      yield* Effect.forkScoped(
        Effect.forEach(Array.from({ length: 25 }), () => list(client), { concurrency: "unbounded" }).pipe(
          Effect.provide(RateLimit.layerMemory)
        )
      )
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(times(), [...Array(10).fill(0), ...Array(10).fill(1005), ...Array(5).fill(2010)])
    })
  )

  it.effect("is switched off by layerNone", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, (client) => Effect.provide(list(client), RateLimit.layerNone), 25)
      yield* TestClock.adjust(0)
      assert.lengthOf(times(), 25)
    })
  )
})

describe("a call that is interrupted", () => {
  it.effect("while it waits, leaves its place to the next", () =>
    Effect.gen(function* () {
      const { counted, scripted } = service()
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, list, 10)
      const waiting = yield* Effect.forEach(["a", "b", "c", "d"], (startCursor) =>
        Effect.forkScoped(client.listScheduledJobs({ stackKey: "s", clusterQueueKey: "q", startCursor }))
      )
      yield* TestClock.adjust("500 millis")
      yield* Fiber.interruptAll([waiting[0], waiting[2]].filter((fiber) => fiber !== undefined))
      yield* TestClock.adjust("505 millis")
      assert.isTrue(waiting.every((fiber) => fiber.pollUnsafe() !== undefined))
      assert.strictEqual(counted.length, 12)
      // The two that left took nothing: eight more are free.
      yield* forkCalls(client, list, 9)
      yield* TestClock.adjust(0)
      assert.strictEqual(counted.length, 20)
    })
  )

  it.effect("while it waits, and all others too, leaves nothing behind", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const client = yield* clientOf(scripted)
      const fibers = yield* forkCalls(client, list, 500)
      yield* TestClock.adjust("500 millis")
      yield* Fiber.interruptAll(fibers)
      yield* TestClock.adjust("505 millis")
      yield* forkCalls(client, list, 11)
      yield* TestClock.adjust(0)
      assert.lengthOf(times(), 20)
    })
  )

  it.effect("in the moment in which it would get its turn, wastes nothing", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, list, 10)
      const unlucky = yield* forkCalls(client, list, 10)
      yield* TestClock.adjust("500 millis")
      yield* Effect.forkScoped(Effect.andThen(Effect.sleep("505 millis"), Fiber.interruptAll(unlucky)))
      yield* TestClock.adjust("505 millis")
      const sent = times().length
      yield* forkCalls(client, list, 30)
      yield* TestClock.adjust(0)
      assert.strictEqual(times().length, 20, `${sent} had been sent`)
    })
  )

  it.effect("on its way counts for two more seconds: the service may still see it", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => ({ there: index < 10 ? 900 : 0 }))
      const client = yield* clientOf(scripted)
      const fibers = yield* forkCalls(client, list, 10)
      yield* TestClock.adjust("100 millis")
      yield* Fiber.interruptAll(fibers)
      yield* forkCalls(client, list, 1)
      yield* TestClock.adjust("1999 millis")
      assert.deepStrictEqual(times(), [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(times(), [2100])
    })
  )

  it.effect("holds no place while its answer is read: the service counted it when it answered", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const read = yield* Deferred.make<void>()
      const limiter = yield* limiterOf(RateLimit.layerMemory)
      const slow: RateLimit.Limiter = {
        limit: (call, attempt) => limiter.limit(call, (observe) => Effect.tap(attempt(observe), Deferred.await(read)))
      }
      const client = yield* clientOf(scripted, { limiter: slow })
      yield* forkCalls(client, list, 20)
      yield* TestClock.adjust("1005 millis")
      assert.lengthOf(times(), 20)
    })
  )
})

describe("what responses say", () => {
  it.effect("RateLimit-Limit replaces the documented limit, whether lower or higher", () =>
    Effect.gen(function* () {
      for (const limit of [3, 25]) {
        const { scripted, times } = service(() => ({
          headers: { "ratelimit-scope": "list-scheduled-jobs", "ratelimit-limit": String(limit) }
        }))
        const client = yield* clientOf(scripted)
        yield* list(client)
        yield* TestClock.adjust("10 seconds")
        const before = times().length
        yield* flood(client, list, 60)
        yield* TestClock.adjust("20 seconds")
        const after = times().slice(before)
        assert.strictEqual(mostInASecond(after), limit)
        assert.isAtLeast(after.length, 0.95 * limit * 20)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("a limit that grows lets those go who wait for it", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => ({
        back: index === 0 ? 500 : 0,
        headers: index === 0 ? { "ratelimit-limit": "20" } : {}
      }))
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, list, 30)
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual(times(), [...Array(10).fill(0), ...Array(10).fill(500)])
    })
  )

  it.effect("a senseless limit is not believed", () =>
    Effect.gen(function* () {
      const texts = ["0", "-5", "many", "", "0.5"]
      const { scripted, times } = service((_, index) => ({
        headers: { "ratelimit-limit": texts[index % texts.length] ?? "" }
      }))
      yield* flood(yield* clientOf(scripted), list, 30)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(mostInASecond(times()), 10)
    })
  )

  it.effect("RateLimit-Scope says what an endpoint is counted under, and the limit is for that", () =>
    Effect.gen(function* () {
      const { counted, scripted } = service((url) =>
        url.endsWith("/job-acquisition-tokens")
          ? { headers: { "ratelimit-scope": "job-acquisition-tokens", "ratelimit-limit": "5" } }
          : { headers: { "ratelimit-scope": "show-job", "ratelimit-limit": "1000" } }
      )
      const client = yield* clientOf(scripted)
      yield* issueTokens(client)
      yield* TestClock.adjust("10 seconds")
      yield* flood(client, issueTokens, 20)
      yield* forkCalls(client, getJob, 1000)
      yield* TestClock.adjust("10 seconds")
      const [, ...tokens] = counted.filter(({ path }) => path.endsWith("tokens")).map(({ at }) => at)
      assert.strictEqual(mostInASecond(tokens), 5)
      assert.lengthOf(
        counted.filter(({ path, at }) => path.endsWith("jobs/j") && at === 10_000),
        1000
      )
    })
  )

  it.effect("RateLimit-Remaining: 0 holds calls back until RateLimit-Reset, where others used the limit", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) =>
        index === 0 ? { headers: { "ratelimit-remaining": "0", "ratelimit-reset": "2" } } : {}
      )
      const client = yield* clientOf(scripted)
      yield* list(client)
      yield* forkCalls(client, list, 3)
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(times(), [0, 2000, 2000, 2000])
    })
  )

  it.effect("RateLimit-Remaining: 0 is no news where this client used the limit itself", () =>
    Effect.gen(function* () {
      const { scripted, times } = service(() => ({
        back: 20,
        headers: { "ratelimit-limit": "10", "ratelimit-remaining": "0", "ratelimit-reset": "1" }
      }))
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, list, 10)
      yield* TestClock.adjust("1025 millis")
      yield* forkCalls(client, list, 10)
      yield* TestClock.adjust("0 millis")
      assert.deepStrictEqual(times(), [...Array(10).fill(0), ...Array(10).fill(1025)])
    })
  )

  it.effect("Retry-After pauses all callers of that stack and scope, once", () =>
    Effect.gen(function* () {
      const { counted, scripted } = service((_, index) =>
        index === 4 ? { status: 429, headers: { "retry-after": "7" } } : {}
      )
      const client = yield* clientOf(scripted)
      for (let index = 0; index < 5; index++) yield* Effect.ignore(list(client))
      yield* forkCalls(client, list, 3)
      yield* forkCalls(client, reserve, 1)
      yield* forkCalls(client, (client) => client.listScheduledJobs({ stackKey: "t", clusterQueueKey: "q" }), 1)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(
        counted.slice(5).map(({ at, path }) => `${path} ${at}`),
        [
          "s/scheduled-jobs/batch-reserve 0",
          "t/scheduled-jobs 0",
          "s/scheduled-jobs 7000",
          "s/scheduled-jobs 7000",
          "s/scheduled-jobs 7000"
        ]
      )
    })
  )

  it.effect("several Retry-After are one pause, until the last of them", () =>
    Effect.gen(function* () {
      const waits = ["2", "5", "3"]
      const { scripted, times } = service((_, index) =>
        index < 3 ? { status: 503, back: 10, headers: { "retry-after": waits[index] ?? "" } } : {}
      )
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, list, 3)
      yield* TestClock.adjust("10 millis")
      yield* forkCalls(client, list, 2)
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(times(), [0, 0, 0, 5010, 5010])
    })
  )

  it.effect("Retry-After counts with a success, too", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => (index === 0 ? { headers: { "retry-after": "3" } } : {}))
      const client = yield* clientOf(scripted)
      yield* list(client)
      yield* forkCalls(client, list, 1)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(times(), [0, 3000])
    })
  )

  it.effect("a 429 without Retry-After pauses until RateLimit-Reset, or for a second", () =>
    Effect.gen(function* () {
      const { scripted, times } = service(
        (_, index) => [{ status: 429, headers: { "ratelimit-reset": "2" } }, { status: 429 }, {}][index] ?? {}
      )
      const client = yield* clientOf(scripted)
      yield* Effect.ignore(list(client))
      yield* Effect.forkScoped(Effect.ignore(list(client)))
      yield* TestClock.adjust("2 seconds")
      yield* forkCalls(client, list, 1)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(times(), [0, 2000, 3000])
    })
  )

  it.effect("a pause is five minutes at most", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => (index === 0 ? { headers: { "retry-after": "86400" } } : {}))
      const client = yield* clientOf(scripted)
      yield* list(client)
      yield* forkCalls(client, list, 1)
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(times(), [0, 300_000])
    })
  )

  it.effect("after a pause the limit holds as before", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => (index === 3 ? { headers: { "retry-after": "10" } } : {}))
      yield* flood(yield* clientOf(scripted), list, 100)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(mostInASecond(times()), 10)
      assert.isAtLeast(times().length, 0.95 * 10 * 10)
    })
  )
})

describe("what is kept", () => {
  it.effect("of a stack that does not call any more is dropped after a minute, but the limit that was learned", () =>
    Effect.gen(function* () {
      const made: Array<readonly [key: string, limit: number]> = []
      const limiter = makeLimiter((key, limit) => {
        made.push([key, limit])
        return new SlidingWindow(limit)
      })
      const { scripted } = service(() => ({
        headers: { "ratelimit-scope": "list-scheduled-jobs", "ratelimit-limit": "7" }
      }))
      const client = yield* clientOf(scripted, { limiter })
      const call = (stackKey: string) => client.listScheduledJobs({ stackKey, clusterQueueKey: "q" })
      yield* call("a")
      yield* call("b")
      yield* TestClock.adjust("61 seconds")
      yield* call("b")
      yield* call("a")
      assert.deepStrictEqual(made, [
        ["list-scheduled-jobs:a", 10],
        ["list-scheduled-jobs:b", 7],
        ["list-scheduled-jobs:b", 7],
        ["list-scheduled-jobs:a", 7]
      ])
    })
  )

  it.effect("of a stack with a call under way, waiting or paused is not dropped", () =>
    Effect.gen(function* () {
      let made = 0
      const limiter = makeLimiter((_, limit) => {
        made++
        return new SlidingWindow(limit)
      })
      const gate = Latch.makeUnsafe()
      const { scripted, times } = service((url, index) =>
        url.includes("stacks/s/") && index < 10
          ? Effect.as(gate.await, {})
          : { headers: url.includes("stacks/t/") ? { "retry-after": "120" } : {} }
      )
      const client = yield* clientOf(scripted, { limiter, timeout: "10 minutes" })
      yield* forkCalls(client, list, 12)
      yield* TestClock.adjust(0)
      yield* client.listScheduledJobs({ stackKey: "t", clusterQueueKey: "q" })
      yield* TestClock.adjust("61 seconds")
      yield* client.listScheduledJobs({ stackKey: "u", clusterQueueKey: "q" })
      assert.lengthOf(times(), 2)
      yield* Effect.forkScoped(client.listScheduledJobs({ stackKey: "t", clusterQueueKey: "q" }))
      yield* forkCalls(client, list, 1)
      yield* gate.open
      yield* TestClock.adjust("2 minutes")
      assert.lengthOf(times(), 2 + 13 + 1)
      assert.strictEqual(made, 3)
    })
  )
})

describe("metrics", () => {
  it.effect("count the calls that waited, and how long, by operation", () =>
    Effect.gen(function* () {
      const { scripted } = service()
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, list, 12)
      yield* forkCalls(client, reserve, 11)
      yield* TestClock.adjust("2 seconds")
      const metrics = yield* Metric.snapshot
      const found = (id: string, operation: string) =>
        metrics.find((metric) => metric.id === id && metric.attributes?.["operation"] === operation)?.state
      assert.deepInclude(found("stacksapi_rate_limit_waits", "listScheduledJobs"), { count: 2 })
      assert.deepInclude(found("stacksapi_rate_limit_waits", "batchReserveJobs"), { count: 1 })
      assert.deepInclude(found("stacksapi_rate_limit_wait_seconds", "listScheduledJobs"), { count: 2, sum: 2.01 })
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
  )
})

// -----------------------------------------------------------------------------
// Many processes
// -----------------------------------------------------------------------------

const memoryStore = Effect.map(Layer.build(Layer.fresh(RateLimiter.layerStoreMemory)), (context) =>
  Context.get(context, RateLimiter.RateLimiterStore)
)

/** A limiter as a process of its own has it. */
const processOf = (store: RateLimiter.RateLimiterStore["Service"], options: RateLimit.StoreOptions = {}) =>
  limiterOf(
    RateLimit.layerStoreWith(options).pipe(
      Layer.provide(Layer.succeed(RateLimiter.RateLimiterStore, store)),
      Layer.orDie
    )
  )

describe("layerStore", () => {
  const cases: ReadonlyArray<readonly [name: string, call: Call, limit: number, seconds: number, used: number]> = [
    ["listScheduledJobs", list, 10, 30, 0.9],
    ["getJobStates", getStates, 20, 30, 0.9],
    ["finishJob", finish, 100, 10, 0.9],
    ["getJob", getJob, 1000, 4, 0.9]
  ]
  for (const [name, call, limit, seconds, used] of cases) {
    it.effect(`keeps ${name} of three processes to ${limit} in any second together`, () =>
      Effect.gen(function* () {
        // The ways to the service differ by up to 50 milliseconds.
        const delays = Effect.map(Random.nextIntBetween(0, 50), (there) => ({ there }))
        const { scripted, times } = service(() => delays)
        const store = yield* memoryStore
        for (let index = 0; index < 3; index++) {
          yield* flood(yield* clientOf(scripted, { limiter: yield* processOf(store) }), call, limit)
        }
        yield* TestClock.adjust(Duration.seconds(seconds))
        assert.isAtMost(mostInASecond(times()), limit)
        assert.isAtLeast(times().length, used * limit * seconds)
      }).pipe(Random.withSeed("store"), Effect.provide(unhurried))
    )
  }

  it.effect("gives every process its part", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const services = [service(), service(), service()]
      for (const { scripted } of services) {
        yield* flood(yield* clientOf(scripted, { limiter: yield* processOf(store) }), list, 10)
      }
      yield* TestClock.adjust("30 seconds")
      for (const { counted } of services) assert.isAtLeast(counted.length, 80)
    })
  )

  it.effect("lets a process that calls after the others have waited long go when it is its turn", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const busy = service()
      const quiet = service()
      yield* flood(yield* clientOf(busy.scripted, { limiter: yield* processOf(store) }), list, 100)
      const client = yield* clientOf(quiet.scripted, { limiter: yield* processOf(store) })
      yield* TestClock.adjust("10 seconds")
      yield* forkCalls(client, list, 1)
      yield* TestClock.adjust("300 millis")
      assert.lengthOf(quiet.times(), 1)
    })
  )

  it.effect("lets 400 processes that all call at one moment wait for each other", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const { scripted, times } = service()
      for (let index = 0; index < 400; index++) {
        const limiter = yield* processOf(store, { processes: 400 })
        yield* forkCalls(yield* clientOf(scripted, { limiter }), list, 1)
      }
      yield* TestClock.adjust("45 seconds")
      assert.lengthOf(times(), 400)
      assert.isAtMost(mostInASecond(times()), 10)
    }).pipe(Effect.provide(unhurried))
  )

  it.effect("heeds RateLimit-Limit, and pauses on Retry-After", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => ({
        headers: index === 0 ? { "retry-after": "5", "ratelimit-limit": "40" } : { "ratelimit-limit": "40" }
      }))
      const client = yield* clientOf(scripted, { limiter: yield* processOf(yield* memoryStore) })
      yield* flood(client, list, 100)
      yield* TestClock.adjust("15 seconds")
      const [first, second] = times()
      assert.deepStrictEqual([first, second], [0, 5000])
      assert.isAtMost(mostInASecond(times()), 40)
      assert.isAtLeast(times().length, 0.85 * 40 * 10)
    })
  )

  it.effect("takes nothing from the others for a call that was interrupted while it waited", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const { scripted, times } = service()
      const client = yield* clientOf(scripted, { limiter: yield* processOf(store) })
      const fibers = yield* forkCalls(client, list, 500)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.interruptAll(fibers)
      const before = times().length
      const other = yield* clientOf(scripted, { limiter: yield* processOf(store) })
      yield* flood(other, list, 30)
      yield* TestClock.adjust("10 seconds")
      assert.isAtMost(mostInASecond(times()), 10)
      assert.isAtLeast(times().length - before, 85)
    })
  )

  it.effect("keeps to the limit where the service stands still now and then, and sees many requests at once", () =>
    Effect.gen(function* () {
      const standstill = Effect.map(Clock.currentTimeMillis, (now) => ({
        there: now > 5000 && now % 5000 < 400 ? 400 - (now % 5000) : 0
      }))
      const { scripted, times } = service(() => standstill)
      const store = yield* memoryStore
      for (let index = 0; index < 3; index++) {
        yield* flood(yield* clientOf(scripted, { limiter: yield* processOf(store) }), list, 10)
      }
      yield* TestClock.adjust("60 seconds")
      assert.isAtMost(mostInASecond(times()), 10)
      assert.isAtLeast(times().length, 0.8 * 10 * 60)
    })
  )

  describe("when the store", () => {
    const broken = new RateLimiter.RateLimiterError({
      reason: new RateLimiter.RateLimitStoreError({ message: "connection lost", cause: undefined })
    })
    const collected = () => {
      const warnings: Array<unknown> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel === "Warn") warnings.push(message)
      })
      return { warnings, layer: Logger.layer([logger]) }
    }
    const unreliable = Effect.fnUntraced(function* (
      failure: Effect.Effect<readonly [number, number], RateLimiter.RateLimiterError>
    ) {
      const store = yield* memoryStore
      const state = { isDown: false, asked: 0 }
      const limiter = yield* processOf({
        ...store,
        tokenBucket: (options) =>
          Effect.suspend(() => {
            state.asked++
            return state.isDown ? failure : store.tokenBucket(options)
          })
      })
      return { limiter, state }
    })

    const failures = [
      ["fails", Effect.fail(broken)],
      ["does not answer", Effect.never],
      ["has a defect", Effect.die("bug")]
    ] as const
    for (const [name, failure] of failures) {
      it.effect(`${name}, calls go on with a quarter of the limit, and one warning`, () => {
        const { layer, warnings } = collected()
        return Effect.gen(function* () {
          const { limiter, state } = yield* unreliable(failure)
          const { scripted, times } = service()
          yield* flood(yield* clientOf(scripted, { limiter }), getStates, 50)
          yield* TestClock.adjust("5 seconds")
          assert.lengthOf(warnings, 0)
          state.isDown = true
          yield* TestClock.adjust("5 seconds")
          const before = times().length
          const asked = state.asked
          yield* TestClock.adjust("30 seconds")
          const sent = times().length - before
          assert.isAtMost(sent, 5 * 30)
          assert.isAtLeast(sent, 0.75 * 5 * 30)
          assert.isAtMost(state.asked - asked, 16)
          assert.lengthOf(warnings, 1)
          assert.isAtMost(mostInASecond(times()), 20)

          state.isDown = false
          yield* TestClock.adjust("8 seconds")
          const recovered = times().length
          yield* TestClock.adjust("10 seconds")
          assert.isAtLeast(times().length - recovered, 0.9 * 20 * 10)
          assert.isAtMost(mostInASecond(times()), 20)
          state.isDown = true
          yield* TestClock.adjust("5 seconds")
          assert.lengthOf(warnings, 2)
        }).pipe(Effect.provide(layer))
      })
    }

    it.effect("is lost and comes back, three processes exceed the limit at no time, and use it all again", () =>
      Effect.gen(function* () {
        const store = yield* memoryStore
        const { scripted, times } = service()
        let isDown = false
        for (const failure of [Effect.fail(broken), Effect.fail(broken), Effect.never]) {
          const limiter = yield* processOf(
            {
              ...store,
              tokenBucket: (options) => Effect.suspend(() => (isDown ? failure : store.tokenBucket(options)))
            },
            { processes: 3 }
          )
          yield* flood(yield* clientOf(scripted, { limiter }), list, 10)
        }
        for (const downMillis of [700, 3000, 5300, 20_000]) {
          yield* TestClock.adjust("10 seconds")
          isDown = true
          const before = times().length
          yield* TestClock.adjust(downMillis)
          // What is not lost to the change is the share of all three: 9 of 10.
          assert.isAtLeast(times().length - before, ((downMillis - 3000) / 1000) * 9)
          isDown = false
        }
        yield* TestClock.adjust("10 seconds")
        const recovered = times().length
        yield* TestClock.adjust("10 seconds")
        assert.isAtLeast(times().length - recovered, 90)
        assert.isAtMost(mostInASecond(times()), 10)
      }).pipe(Effect.provide(Logger.layer([])))
    )

    it.effect("is gone, more processes than the limit has requests stay within it", () =>
      Effect.gen(function* () {
        const { scripted, times } = service()
        const gone = { ...(yield* memoryStore), tokenBucket: () => Effect.fail(broken) }
        for (let index = 0; index < 20; index++) {
          // They don't all start in one moment.
          yield* TestClock.adjust(97)
          yield* flood(yield* clientOf(scripted, { limiter: yield* processOf(gone, { processes: 20 }) }), list, 3)
        }
        yield* TestClock.adjust("30 seconds")
        assert.isAtMost(mostInASecond(times()), 10 + 1)
        assert.isAtLeast(times().length, 0.9 * 10 * 30)
      }).pipe(Effect.provide(Logger.layer([])))
    )

    it.effect("is slow, calls go on within the limit", () =>
      Effect.gen(function* () {
        const store = yield* memoryStore
        const { scripted, times } = service()
        for (let index = 0; index < 3; index++) {
          const limiter = yield* processOf({
            ...store,
            tokenBucket: (options) => Effect.delay(store.tokenBucket(options), 600)
          })
          yield* flood(yield* clientOf(scripted, { limiter }), list, 10)
        }
        yield* TestClock.adjust("30 seconds")
        assert.isAtMost(mostInASecond(times()), 10)
        // Each process has one question under way at a time.
        assert.isAtLeast(times().length, (3 / 0.6) * 30 * 0.8)
      })
    )

    it.effect("has lost its way in time, calls don't wait for it", () =>
      Effect.gen(function* () {
        const { limiter, state } = yield* unreliable(Effect.succeed([-1000, 0] as const))
        const { scripted, times } = service()
        state.isDown = true
        yield* flood(yield* clientOf(scripted, { limiter }), list, 3)
        yield* TestClock.adjust("10 seconds")
        assert.isAtLeast(times().length, 16)
      }).pipe(Effect.provide(Logger.layer([])))
    )

    it.effect("is lost, metrics tell", () =>
      Effect.gen(function* () {
        const { limiter, state } = yield* unreliable(Effect.fail(broken))
        const values = Effect.map(Metric.snapshot, (metrics) =>
          ["stacksapi_rate_limit_store_up", "stacksapi_rate_limit_store_outages"].map(
            (id) => metrics.find((metric) => metric.id === id)?.state
          )
        )
        assert.deepStrictEqual(yield* values, [{ value: 1 }, { count: 0, incremental: true }])
        const { scripted } = service()
        yield* flood(yield* clientOf(scripted, { limiter }), list, 3)
        state.isDown = true
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* values, [{ value: 0 }, { count: 1, incremental: true }])
        state.isDown = false
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* values, [{ value: 1 }, { count: 1, incremental: true }])
      }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()), Effect.provide(Logger.layer([])))
    )
  })
})
