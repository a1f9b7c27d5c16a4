/** One contender in a process of its own: warms up, measures, checks what was counted, and sends the figures. */
import { cpus } from "node:os"
import { benchmarks } from "./benchmarks.ts"

/** What a process used for the measured work, in microseconds. */
export interface Measurement {
  /** User and system time of all threads. */
  readonly cpu: number
  readonly wall: number
  /** The most memory that the process had at any time, garbage included, in bytes. */
  readonly resident: number
  /** The most that was in use, where a contender measures it; else the same. */
  readonly memory: number
  /** What other processes used of this one's core meanwhile; 0 where it has no core of its own. */
  readonly disturbed: number
}

/** What `main.ts` has to tell this process. */
export interface Task {
  readonly benchmark: string
  readonly contender: string
  readonly baseUrl: string
  readonly isQuick: boolean
  /** The core that this process is kept to. */
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

/** The time that a core was at work for anybody, in microseconds. */
const busyMicros = (core: number): number => {
  const times = cpus()[core]?.times
  return times === undefined ? 0 : (times.user + times.nice + times.sys + times.irq) * 1000
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
process.send?.({ cpu, wall, resident, memory, disturbed: Math.max(0, busy - cpu) } satisfies Measurement)
await close()
