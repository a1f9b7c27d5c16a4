/** Several processes, or what counts as such, that share their limits by way of a real Redis. */
import { type ChildProcess, fork, spawnSync } from "node:child_process"
import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksClient, NodeStacksEmulator } from "@stacksapi/node"
import * as RedisRateLimit from "@stacksapi/node/RedisRateLimit"
import { Clock, ConfigProvider, Context, DateTime, Effect, Layer, Logger, Redacted } from "effect"
import * as Redis from "../support/redis.ts"

const limit = 10

const register = Effect.gen(function* () {
  const { baseUrl, token } = yield* StacksEmulator.StacksEmulator
  const client = Context.get(yield* Layer.build(NodeStacksClient.layer({ baseUrl, token })), StacksClient.StacksClient)
  yield* client.registerStack({ key: "s", type: "custom", queueKey: "q" })
})

const listings = Effect.gen(function* () {
  const { requests } = yield* StacksEmulator.StacksEmulator
  const listed = (yield* requests).filter(({ operation }) => operation === "listScheduledJobs")
  return {
    times: listed.map(({ time }) => DateTime.toEpochMillis(time)),
    tooMany: listed.filter(({ status }) => status === 429).length,
    by: (prefix: string) => listed.filter(({ headers }) => headers["user-agent"]?.startsWith(prefix)).length
  }
})

/** Waits for what takes real time. */
const until = <E, R>(condition: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.flatMap(condition, (isMet) => (isMet ? Effect.void : Effect.delay(until(condition), "50 millis")))

/** Waits for so many more listings. */
const untilListed = Effect.fnUntraced(function* (more: number) {
  const { times } = yield* listings
  yield* until(Effect.map(listings, (now) => now.times.length >= times.length + more))
})

/** The most listings in any so many milliseconds. */
const mostIn = (millis: number, times: ReadonlyArray<number>) => {
  let most = 0
  let first = 0
  for (const [last, time] of times.entries()) {
    while (time - (times[first] ?? 0) >= millis) first++
    most = Math.max(most, last - first + 1)
  }
  return most
}

/** As a process of its own would, lists jobs as often as it may. */
const flood = Effect.fnUntraced(function* (options: RedisRateLimit.Options, name = "p") {
  const { baseUrl, token } = yield* StacksEmulator.StacksEmulator
  const client = NodeStacksClient.layer({ baseUrl, token, userAgentPrefix: name }).pipe(
    Layer.provide(RedisRateLimit.layer(options)),
    Layer.provide(RetryPolicy.layerNone),
    Layer.fresh
  )
  const { listScheduledJobs } = Context.get(yield* Layer.build(client), StacksClient.StacksClient)
  const call = Effect.ignore(listScheduledJobs({ stackKey: "s", clusterQueueKey: "q" }))
  for (let index = 0; index < 5; index++) yield* Effect.forkScoped(Effect.forever(call))
})

/** Whether processes ask Redis: their keys are there. */
const isAsked = (redis: Redis.RedisServer) => Effect.map(redis.command("DBSIZE"), (size) => Number(size) > 0)

/**
 * Where this machine stands still for a moment, requests arrive together that were sent apart. Of processes that don't share
 * their limit the half would be refused; that those who do are never refused is tested where time is.
 */
const assertWithin = Effect.map(listings, ({ times, tooMany }) => assert.isAtMost(tooMany, 2 + times.length / 10))

const silent = Logger.layer([])

describe("One rate limit for many processes", { concurrent: true }, () => {
  it.live("is used by at least 90 % by three processes, and never exceeded", () =>
    Effect.gen(function* () {
      const { baseUrl, token } = yield* StacksEmulator.StacksEmulator
      const redis = yield* Redis.started
      yield* register
      const program = fileURLToPath(new URL("../support/rateLimitedProcess.ts", import.meta.url))
      const env = {
        ...process.env,
        BUILDKITE_AGENT_ENDPOINT: baseUrl,
        BUILDKITE_CLUSTER_TOKEN: Redacted.value(token),
        REDIS_URL: Redacted.value(redis.url),
        STACKSAPI_PROCESSES: "3"
      }
      const launch = Effect.acquireRelease(
        Effect.sync(() => fork(program, { env })),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const children = yield* Effect.all([launch, launch, launch])
      const isReady = (child: ChildProcess) =>
        Effect.callback<void>((resume) => {
          child.once("message", () => resume(Effect.void))
        })
      yield* Effect.forEach(children, isReady, { concurrency: "unbounded" })
      for (const child of children) child.send("start")
      yield* until(Effect.map(listings, ({ times }) => mostIn(3000, times) >= 0.9 * limit * 3))
      yield* assertWithin
    }).pipe(Effect.provide(NodeStacksEmulator.layer()), Effect.scoped)
  )

  it.live("is divided between the processes while Redis is down, and shared again afterwards", () =>
    Effect.gen(function* () {
      const redis = yield* Redis.started
      yield* register
      for (let index = 0; index < 3; index++) yield* flood({ url: redis.url, processes: 3 })
      yield* untilListed(10)
      yield* redis.stop
      yield* untilListed(15)
      yield* redis.start
      yield* until(isAsked(redis))
      yield* untilListed(30)
      yield* assertWithin
    }).pipe(Effect.provide([NodeStacksEmulator.layer(), silent]), Effect.scoped)
  )

  it.live("is obeyed by a process that starts without Redis, and shared when Redis is up", () =>
    Effect.gen(function* () {
      const redis = yield* Redis.make
      yield* register
      const warnings: Array<unknown> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel === "Warn") warnings.push(message)
      })
      yield* Effect.provide(flood({ url: redis.url, processes: 3 }), Logger.layer([logger]))
      yield* untilListed(8)
      assert.isAtMost(mostIn(1000, (yield* listings).times), 3)
      assert.lengthOf(warnings, 1)
      yield* redis.start
      yield* until(isAsked(redis))
      yield* until(Effect.map(listings, ({ times }) => mostIn(1000, times) > 6))
      yield* assertWithin
    }).pipe(Effect.provide(NodeStacksEmulator.layer()), Effect.scoped)
  )

  it.live("does not show a password that Redis refuses", () =>
    Effect.gen(function* () {
      const redis = yield* Redis.started
      yield* redis.command("CONFIG", "SET", "requirepass", "right-secret")
      yield* register
      const lines: Array<string> = []
      const logger = Logger.map(Logger.formatLogFmt, (line) => void lines.push(line))
      const url = Redacted.make(Redacted.value(redis.url).replace("//", "//:wrong-secret@"))
      yield* Effect.provide(flood({ url }), Logger.layer([logger]))
      yield* untilListed(3)
      assert.include(lines.join("\n"), "The store of the rate limits failed")
      assert.notInclude(lines.join("\n"), "secret")
    }).pipe(Effect.provide(NodeStacksEmulator.layer()), Effect.scoped)
  )

  it.live("delays no call while Redis hangs", () =>
    Effect.gen(function* () {
      const redis = yield* Redis.started
      yield* register
      yield* flood({ url: redis.url, processes: 2 })
      yield* untilListed(5)
      yield* redis.suspend
      yield* untilListed(20)
      yield* redis.resume
      const { times } = yield* listings
      yield* until(Effect.map(listings, (now) => mostIn(1000, now.times.slice(times.length)) > 6))
      yield* assertWithin
    }).pipe(Effect.provide([NodeStacksEmulator.layer(), silent]), Effect.scoped)
  )

  it.live("is shared by processes whose clocks differ", () =>
    Effect.gen(function* () {
      const redis = yield* Redis.started
      yield* register
      const clock = yield* Clock.Clock
      for (const [name, ahead] of Object.entries({ right: 0, fast: 30_000, slow: -30_000 })) {
        const currentTimeMillisUnsafe = () => clock.currentTimeMillisUnsafe() + ahead
        const currentTimeNanosUnsafe = () => BigInt(currentTimeMillisUnsafe()) * 1_000_000n
        const wrong: Clock.Clock = {
          currentTimeMillisUnsafe,
          currentTimeMillis: Effect.sync(currentTimeMillisUnsafe),
          currentTimeNanosUnsafe,
          currentTimeNanos: Effect.sync(currentTimeNanosUnsafe),
          monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
          monotonicTimeNanos: clock.monotonicTimeNanos,
          sleep: (duration) => clock.sleep(duration)
        }
        yield* Effect.provideService(flood({ url: redis.url }, name), Clock.Clock, wrong)
      }
      const counts = Effect.map(listings, ({ by }) => ["right", "fast", "slow"].map(by))
      yield* until(Effect.map(counts, (all) => Math.min(...all) >= 8))
      assert.isAtMost(Math.max(...(yield* counts)), 30)
      yield* assertWithin
    }).pipe(Effect.provide(NodeStacksEmulator.layer()), Effect.scoped)
  )

  it.live("leaves nothing in Redis, and uses only keys with its prefix", () =>
    Effect.gen(function* () {
      const redis = yield* Redis.started
      yield* register
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* flood({ url: redis.url, prefix: "ci:" })
          yield* until(isAsked(redis))
          const keys = yield* redis.command("KEYS", "*")
          assert(Array.isArray(keys))
          for (const key of keys)
            assert.isTrue(String(key).startsWith("ci:stacksapi:list-scheduled-jobs:s"), String(key))
        })
      )
      yield* until(Effect.map(isAsked(redis), (asked) => !asked))
    }).pipe(Effect.provide(NodeStacksEmulator.layer()), Effect.scoped)
  )
})

describe("An invalid URL of a Redis", () => {
  it.effect("is rejected without being shown", () =>
    Effect.gen(function* () {
      for (const url of ["https://:secret@example.test", "secret"]) {
        const error = yield* Effect.flip(Layer.build(RedisRateLimit.layer({ url: Redacted.make(url) })))
        assert.strictEqual(error._tag, "InvalidRedisUrl")
        assert.notInclude(`${error} ${inspect(error)} ${JSON.stringify(error)}`, "secret")
      }
    })
  )

  it.effect("is reported with the name of its variable", () =>
    Effect.gen(function* () {
      const layer = Layer.provide(RedisRateLimit.layerConfig, ConfigProvider.layer(ConfigProvider.fromEnv({ env: {} })))
      assert.include(String(yield* Effect.flip(Layer.build(layer))), "REDIS_URL")
    })
  )
})

describe("Without the optional packages installed", () => {
  /** Runs imports as if these packages were not there. */
  const importing = (...modules: ReadonlyArray<string>) => {
    const hooks = `import { registerHooks } from "node:module"
      registerHooks({ resolve: (name, context, next) => {
        if (/^(redis|@redis|@effect\\/sql-pg|pg)(\\/|$)/.test(name)) throw new Error("not installed: " + name)
        return next(name, context)
      } })`
    return spawnSync(
      process.execPath,
      [
        ...["--import", `data:text/javascript,${encodeURIComponent(hooks)}`],
        ...["--input-type=module", "--eval", modules.map((module) => `await import("${module}")`).join("\n")]
      ],
      { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8" }
    )
  }
  const ofThese: Readonly<Record<string, string>> = { ClusterStack: "@effect/sql-pg", RedisRateLimit: "redis" }

  it("the package and all modules that don't need them can be imported", () => {
    const modules = readdirSync(new URL("../../packages/node/src", import.meta.url))
      .filter((file) => /^[A-Z]\w*\.ts$/.test(file))
      .map((file) => file.slice(0, -3))
    const others = modules.filter((module) => !(module in ofThese))
    assert.isAbove(others.length, 5)
    const all = importing("@stacksapi/node", ...others.map((module) => `@stacksapi/node/${module}`))
    assert.strictEqual(all.stderr, "")
    assert.strictEqual(all.status, 0)
    for (const [module, name] of Object.entries(ofThese))
      assert.include(importing(`@stacksapi/node/${module}`).stderr, `not installed: ${name}`)
  })
})
