/** The simulated configurations. */
import type { Cell, Runner } from "./simulation.ts"

/** The round trip to a service in another city. */
const roundTrip = 50
const jobSeconds = 3

interface Load {
  readonly queues: number
  readonly rate: number
  readonly runner: Runner
  readonly keys?: number
}

/** The approximate capacity of a stack, in jobs a second. */
const most = { finish: 100, agents: 1000, handover: 10_000 }

/** Twice as many slots as jobs that run at a time. */
const cell = (isQuick: boolean, { keys = 1, queues, rate, runner }: Load): Cell => ({
  queues,
  keys,
  rate,
  runner,
  slots: Math.max(queues, Math.min(rate, most[runner] * queues * keys) * jobSeconds * 2),
  jobSeconds,
  roundTrip,
  warmup: 6,
  seconds: isQuick ? 4 : rate > 1000 ? 6 : 10
})

const inFlight = (isQuick: boolean, jobs: number, runner: Runner): Cell => ({
  queues: 1,
  keys: 1,
  rate: 5000,
  jobs,
  cancels: true,
  runner,
  slots: jobs * 2,
  jobSeconds: 1_000_000,
  roundTrip,
  warmup: 10 + jobs / 5000,
  // A renewal comes every 225 seconds.
  seconds: isQuick ? 30 : 230
})

export interface Table {
  readonly title: string
  readonly cells: ReadonlyArray<Cell>
}

export const grid = (isQuick: boolean): Readonly<Record<string, Table>> => {
  const table = (title: string, loads: ReadonlyArray<Load>): Table => ({
    title,
    cells: loads
      .filter(({ keys = 1, queues, rate }) => !isQuick || (queues <= 100 && rate <= 1000 && keys === 1))
      .map((load) => cell(isQuick, load))
  })
  const loads = (runner: Runner, queues: number, ...rates: ReadonlyArray<number>) =>
    rates.map((rate): Load => ({ queues, rate, runner }))
  return {
    queues: table(
      "100 jobs a second that the stack finishes",
      [1, 10, 100, 1000].flatMap((queues) => loads("finish", queues, 100))
    ),
    finish: table("Jobs that the stack finishes", [
      ...loads("finish", 1, 10, 100, 1000, 10_000),
      ...loads("finish", 20, 100, 1000, 10_000),
      ...loads("finish", 200, 10_000),
      { queues: 1, keys: 11, rate: 1000, runner: "finish" }
    ]),
    agents: table("Jobs with an agent each, started by the stack", [
      ...loads("agents", 1, 10, 100, 1000),
      ...loads("agents", 20, 100, 1000, 10_000)
    ]),
    handover: table("Jobs with an agent each, started elsewhere", [
      ...loads("handover", 1, 100, 1000, 10_000),
      ...loads("handover", 20, 10_000),
      { queues: 1, keys: 2, rate: 10_000, runner: "handover" }
    ]),
    inFlight: {
      title: "Jobs that run for hours, one canceled a second",
      cells: (isQuick ? [1000, 10_000] : [1000, 10_000, 100_000]).map((jobs) => inFlight(isQuick, jobs, "finish"))
    }
  }
}
