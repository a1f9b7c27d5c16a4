/** Measures the runtime of a stack, in process with the emulator: `node bench/stack/main.ts [--quick] [--only NAME]`. */
import { parseArgs } from "node:util"
import { JobRunner, RateLimit, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, DateTime, Effect, Layer, Logger } from "effect"

const { values: options } = parseArgs({
  options: { quick: { type: "boolean", default: false }, only: { type: "string" } }
})

const emulated = StacksEmulator.layerClient.pipe(Layer.provideMerge(StacksEmulator.layer()))
const environment = Layer.mergeAll(emulated, RateLimit.layerNone, Logger.layer([]))

const addJobs = Effect.fnUntraced(function* (count: number) {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs(Array.from({ length: count }, () => ({ queueKey: "q" })))
})

/** Seconds until `count` waiting jobs are handed to agents that start at once. */
const throughput = (count: number) =>
  Effect.gen(function* () {
    const emulator = yield* StacksEmulator.StacksEmulator
    yield* addJobs(count)
    let started = 0
    const all = Promise.withResolvers<void>()
    const runner = JobRunner.layer(({ job }) => {
      started++
      if (started === count) all.resolve()
      return Effect.as(Effect.orDie(emulator.acquireJob(job.id)), JobRunner.AgentOwned)
    })
    const before = process.cpuUsage()
    const start = performance.now()
    yield* Stack.make({ key: "s", queueKey: "q", maxInFlight: 1000, shutdownGrace: 0 }).pipe(Effect.provide(runner))
    yield* Effect.promise(() => all.promise)
    const seconds = (performance.now() - start) / 1000
    const { system, user } = process.cpuUsage(before)
    return { seconds, cpu: (system + user) / 1e6 }
  }).pipe(Effect.scoped, Effect.provide(environment))

/** Milliseconds from scheduling to start, for single jobs with free slots. */
const latency = (count: number) =>
  Effect.gen(function* () {
    const waits: Array<number> = []
    const runner = JobRunner.layer(({ job }) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        waits.push(now - DateTime.toEpochMillis(job.scheduledAt))
        return JobRunner.Finished({ exitStatus: 0, detail: "done" })
      })
    )
    yield* Stack.make({ key: "s", queueKey: "q", maxInFlight: 100 }).pipe(Effect.provide(runner))
    for (let i = 0; i < count; i++) {
      yield* Effect.sleep(37)
      yield* addJobs(1)
    }
    yield* Effect.sleep("1500 millis")
    waits.sort((a, b) => a - b)
    const at = (part: number) => waits[Math.min(waits.length - 1, Math.floor(waits.length * part))] ?? Number.NaN
    return { count: waits.length, p50: at(0.5), p99: at(0.99), max: at(1) }
  }).pipe(Effect.scoped, Effect.provide(environment))

/** The CPU time of an idle stack, as a share of one core. */
const idle = (seconds: number, waiting: number) =>
  Effect.gen(function* () {
    yield* addJobs(waiting)
    const runner = JobRunner.layer(() => Effect.never)
    yield* Stack.make({ key: "s", queueKey: "q", maxInFlight: 25, shutdownGrace: 0 }).pipe(Effect.provide(runner))
    yield* Effect.sleep("2 seconds")
    const before = process.cpuUsage()
    yield* Effect.sleep(seconds * 1000)
    const { system, user } = process.cpuUsage(before)
    return (system + user) / 1e6 / seconds
  }).pipe(Effect.scoped, Effect.provide(environment))

const format = (value: number, digits = 0) =>
  value.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: digits })

const benchmarks = {
  throughput: async () => {
    console.log("Jobs handed to agents, 1,000 slots, no rate limits; the emulator's own work is in it.")
    await Effect.runPromise(throughput(5000))
    for (const count of options.quick ? [1000, 10_000] : [1000, 10_000, 100_000]) {
      const { cpu, seconds } = await Effect.runPromise(throughput(count))
      console.log(
        `  ${format(count).padStart(7)} waiting: ${format(count / seconds).padStart(7)} jobs/s, ${format((cpu / count) * 1e6)} µs of CPU a job`
      )
    }
  },
  latency: async () => {
    const { count, max, p50, p99 } = await Effect.runPromise(latency(options.quick ? 50 : 400))
    console.log(`Queue to start, a poll a second, free slots, ${count} jobs:`)
    console.log(`  p50 ${format(p50)} ms, p99 ${format(p99)} ms, at most ${format(max)} ms`)
  },
  idle: async () => {
    const seconds = options.quick ? 5 : 20
    console.log("CPU of a stack with nothing to do, the emulator's answers included:")
    for (const waiting of [0, 10_000]) {
      const part = await Effect.runPromise(idle(seconds, waiting))
      console.log(
        `  ${format(waiting).padStart(7)} waiting for 25 slots that are taken: ${format(part * 100, 2)} % of a core`
      )
    }
  }
}

const chosen = Object.entries(benchmarks).filter(([name]) => options.only === undefined || name === options.only)
if (chosen.length === 0) throw new Error(`--only takes one of ${Object.keys(benchmarks).join(", ")}`)
for (const [, run] of chosen) await run()
