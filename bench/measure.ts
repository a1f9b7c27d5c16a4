/** One contender in a process of its own: warms up, measures, checks what was counted, and sends the figures. */
import { benchmarks } from "./benchmarks.ts"

/** What a process used for the measured work, in microseconds. */
export interface Measurement {
  /** User and system time of all threads. */
  readonly cpu: number
  readonly wall: number
}

const [benchmarkName = "", contenderName = "", baseUrl = "", quick] = process.argv.slice(2)
const benchmark = benchmarks(quick === "quick")[benchmarkName]
const load = benchmark?.contenders[contenderName]
if (benchmark === undefined || load === undefined) throw new Error(`no ${contenderName} in ${benchmarkName}`)

const { close, run } = await (await load())(baseUrl)

const runChecked = async (times: number) => {
  const counted = await run(times)
  if (counted !== times * benchmark.counted) {
    throw new Error(`${contenderName} counted ${counted} in place of ${times * benchmark.counted}`)
  }
}

await runChecked(benchmark.warmup)
globalThis.gc?.()

const start = process.hrtime.bigint()
const before = process.cpuUsage()
await runChecked(benchmark.times)
const { system, user } = process.cpuUsage(before)
const wall = Number(process.hrtime.bigint() - start) / 1000

process.send?.({ cpu: user + system, wall } satisfies Measurement)
await close()
