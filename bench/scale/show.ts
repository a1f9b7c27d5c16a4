/** The tables of figures. */
import { table } from "../report.ts"
import { expected, expectedInFlight } from "./formula.ts"
import type { LiveFigures } from "./live.ts"
import type { Cell, Figures } from "./simulation.ts"

export interface Result {
  readonly cell: Cell
  readonly figures: Figures
}

const count = (value: number | undefined, digits?: number) =>
  value === undefined || Number.isNaN(value)
    ? "-"
    : value.toLocaleString("en-US", { maximumFractionDigits: digits ?? (value < 1 ? 2 : value < 10 ? 1 : 0) })

const megabytes = (bytes: number) => count(bytes / 1024 / 1024)

const nameOf = ({ keys, queues }: Cell) => (keys === 1 ? count(queues) : `${count(queues)} × ${keys} keys`)

/** The measured and the expected figure, if there is a formula. */
const both = (simulated: number | undefined, formula: number | undefined) =>
  `${count(simulated ?? 0)} / ${count(formula)}`

const requests = (title: string, results: ReadonlyArray<Result>) =>
  table(
    `${title}: requests a second, simulated / by the formula`,
    ["queues", "jobs/s", "list", "reserve", "states", "finish", "getJob", "tokens", "429"],
    results.map(({ cell, figures }) => {
      const formula = expected(cell)
      return [
        nameOf(cell),
        count(cell.rate),
        both(figures.requests.list, formula.list),
        both(figures.requests.reserve, formula.reserve),
        both(figures.requests.states, formula.states),
        both(figures.requests.finish, formula.finish),
        both(figures.requests.getJob, formula.getJob),
        count(figures.requests.tokens ?? 0),
        count(figures.refused)
      ]
    })
  )

const outcome = (title: string, results: ReadonlyArray<Result>) =>
  table(
    `${title}: what becomes of them, and what it costs`,
    [
      "queues",
      "jobs/s",
      "done/s",
      "to start p50 ms",
      "p99 ms",
      "waiting",
      "running",
      "fibers",
      "stacks MB",
      "emulator MB",
      "CPU of stacks",
      "of the emulator"
    ],
    results.map(({ cell, figures }) => {
      const formula = expected(cell)
      const { cpu, latency, memory } = figures
      return [
        nameOf(cell),
        count(cell.rate),
        both(cell.runner === "finish" ? figures.requests.finish : figures.ended, formula.done),
        formula.latency === undefined ? "grows" : both(latency.p50, formula.latency.p50),
        formula.latency === undefined ? "" : both(latency.p99, formula.latency.p99),
        count(figures.waiting),
        count(figures.running),
        count(figures.fibers),
        megabytes(memory.stacks),
        megabytes(memory.emulator),
        `${((cpu.all - cpu.emulator) * 100).toFixed(1)} %`,
        `${(cpu.emulator * 100).toFixed(1)} %`
      ]
    })
  )

const inFlight = (title: string, results: ReadonlyArray<Result>) =>
  table(
    title,
    [
      "running",
      "states/s",
      "most in a second",
      "reserve/s",
      "most in a second",
      "429",
      "cancel noticed p50 ms",
      "p99 ms",
      "kB a job",
      "CPU of the stack"
    ],
    results.map(({ cell, figures }) => {
      const formula = expectedInFlight(cell)
      return [
        count(figures.running),
        both(figures.requests.states, formula.states),
        count(figures.peaks.states),
        both(figures.requests.reserve, formula.reserve),
        count(figures.peaks.reserve),
        count(figures.refused),
        count(figures.notice.p50),
        both(figures.notice.p99, formula.notice),
        count(figures.memory.stacks / 1024 / figures.running),
        `${((figures.cpu.all - figures.cpu.emulator) * 100).toFixed(1)} %`
      ]
    })
  )

export const show = (name: string, title: string, results: ReadonlyArray<Result>): string =>
  name === "inFlight" ? `${inFlight(title, results)}\n` : `${requests(title, results)}\n\n${outcome(title, results)}\n`

export const showLive = (
  title: string,
  rows: ReadonlyArray<{
    readonly queues: number | undefined
    readonly rate: number | undefined
    readonly figures: LiveFigures
  }>
): string =>
  `${table(
    title,
    [
      "queues",
      "jobs/s",
      "all there after ms",
      "started/s",
      "to start p50 ms",
      "p99 ms",
      "CPU",
      "event loop late p50 ms",
      "p99 ms",
      "connections"
    ],
    rows.map(({ figures, queues, rate }) => [
      count(queues),
      count(rate),
      count(figures.start, 0),
      count(figures.started),
      count(figures.latency.p50),
      count(figures.latency.p99),
      `${(figures.cpu * 100).toFixed(1)} %`,
      count(figures.lateness.p50),
      count(figures.lateness.p99),
      count(figures.connections)
    ])
  )}\n`
