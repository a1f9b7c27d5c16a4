/** Runs one contender in a process of its own: warms up, measures, checks its count, and sends the figures. */
import { cpus } from "node:os"
import { GCProfiler } from "node:v8"
import { benchmarks } from "./benchmarks.ts"

/** The costs of the measured work. Times are microseconds. */
export interface Measurement {
  /** User and system time of all threads. */
  readonly cpu: number
  readonly wall: number
  /** The maximum memory of the process, including garbage, in bytes. */
  readonly resident: number
  /** The maximum memory in use, if the contender measures it; otherwise the same. */
  readonly memory: number
  /** The bytes of V8's heap that were allocated. Nearly all of them are garbage at the end. */
  readonly allocated: number
  /** The time that other processes used this core; 0 without a core of its own. */
  readonly disturbed: number
}

/** The task that `main.ts` sends. */
export interface Task {
  readonly benchmark: string
  readonly contender: string
  readonly baseUrl: string
  readonly isQuick: boolean
  /** The core that this process runs on. */
  readonly core: number | undefined
}

const task: Task = JSON.parse(process.argv[2] ?? "{}")
const benchmark = benchmarks(task.isQuick)[task.benchmark]
const load = benchmark?.contenders[task.contender]
if (benchmark === undefined || load === undefined) throw new Error(`no ${task.contender} in ${task.benchmark}`)

const { close, peakMemory, run } = await (await load())(task.baseUrl)

const runChecked = async (times: number) => {
  const counted = await run(times)
  if (counted !== times * benchmark.counted) {
    throw new Error(`${task.contender} counted ${counted} in place of ${times * benchmark.counted}`)
  }
}

/** The time that a core was busy, in microseconds. */
const busyMicros = (core: number): number => {
  const times = cpus()[core]?.times
  return times === undefined ? 0 : (times.user + times.nice + times.sys + times.irq) * 1000
}

/** Does the work once more, and returns the bytes that it allocates: what collections free, and what remains. */
const allocatedBy = async (times: number): Promise<number> => {
  globalThis.gc?.()
  const profiler = new GCProfiler()
  const { heapUsed } = process.memoryUsage()
  profiler.start()
  await runChecked(times)
  const remaining = process.memoryUsage().heapUsed - heapUsed
  const used = ({ heapStatistics }: { readonly heapStatistics: { readonly usedHeapSize: number } }) =>
    heapStatistics.usedHeapSize
  const freed = profiler.stop()?.statistics.map(({ afterGC, beforeGC }) => used(beforeGC) - used(afterGC)) ?? []
  return freed.reduce((sum, bytes) => sum + bytes, remaining)
}

await runChecked(benchmark.warmup)
globalThis.gc?.()

const start = process.hrtime.bigint()
const busyBefore = task.core === undefined ? 0 : busyMicros(task.core)
const before = process.cpuUsage()
await runChecked(benchmark.times)
const { system, user } = process.cpuUsage(before)
const busy = task.core === undefined ? 0 : busyMicros(task.core) - busyBefore
const wall = Number(process.hrtime.bigint() - start) / 1000

const cpu = user + system
const resident = process.resourceUsage().maxRSS * 1024
const memory = peakMemory?.() ?? resident
const allocated = await allocatedBy(benchmark.times)
process.send?.({ cpu, wall, resident, memory, allocated, disturbed: Math.max(0, busy - cpu) } satisfies Measurement)
await close()
