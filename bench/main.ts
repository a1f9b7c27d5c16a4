/** Compares this client with its alternatives: `node bench/main.ts --help`. */
import { type ChildProcess, fork, spawnSync } from "node:child_process"
import { once } from "node:events"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { sizeOf } from "../scripts/size.ts"
import { type Benchmark, benchmarks } from "./benchmarks.ts"
import * as Reference from "./contenders/reference.ts"
import type { Measurement, Task } from "./measure.ts"
import { benchmarkTable, disturbance, spread, summarize } from "./report.ts"
import { type Target, targetsOf, targetTable } from "./targets.ts"

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string" },
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    json: { type: "boolean", default: false },
    packed: { type: "boolean", default: false },
    "cpu-prof": { type: "string" },
    help: { type: "boolean", default: false }
  }
})

if (positionals[0] === "start") {
  await import("./start.ts")
  process.exit()
}

const all = benchmarks(options.quick)

if (options.help) {
  console.log(`node bench/main.ts
  --rounds N       how often everybody is measured (default 5, with --quick 2)
  --quick          fewer rounds, less work in each
  --only NAME      one of ${[...Object.keys(all), "stack", "size"].join(", ")}
  --json           the figures for a machine
  --cpu-prof DIR   keeps a CPU profile of every contender; it slows them down`)
  console.log(
    `node bench/main.ts start   how long the command and imports of the packed packages take to start; --packed uses existing tarballs`
  )
  process.exit()
}

const rounds = Number(options.rounds ?? (options.quick ? 2 : 5))
const chosen = Object.entries(all).filter(([name]) => options.only === undefined || name === options.only)
const isChosen = (name: string) => options.only === undefined || name === options.only
if (!(rounds >= 1) || (chosen.length === 0 && !isChosen("stack") && !isChosen("size")))
  throw new Error("nothing to measure: see --help")

const pinner = "taskset"

/** The cores of the server and of the contenders, if there are two cores and `taskset`. */
const cores = availableParallelism() > 1 && spawnSync(pinner, ["-c", "1", "true"]).status === 0 ? ([0, 1] as const) : []
const [serverCore, contenderCore] = cores

const start = (
  file: string,
  core: number | undefined,
  args: ReadonlyArray<string> = [],
  execArgv: ReadonlyArray<string> = []
): ChildProcess =>
  fork(fileURLToPath(new URL(file, import.meta.url)), args, {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    ...(core === undefined
      ? { execArgv: [...execArgv] }
      : { execPath: pinner, execArgv: ["-c", String(core), process.execPath, ...execArgv] })
  })

/** The first message of a process. Fails if it exits without one. */
const messageOf = async <A>(child: ChildProcess): Promise<A> => {
  const ended = once(child, "exit").then(() => Promise.reject(new Error(`${child.spawnargs.join(" ")} failed`)))
  const [message] = await Promise.race([once(child, "message"), ended])
  ended.catch(() => {})
  return message as A
}

const server = start("./server.ts", serverCore)
const baseUrl = `http://127.0.0.1:${await messageOf<number>(server)}`
const profiling = options["cpu-prof"] === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", options["cpu-prof"]]

const measure = async (benchmark: string, contender: string): Promise<Measurement> => {
  const task: Task = { benchmark, contender, baseUrl, isQuick: options.quick, core: contenderCore }
  const child = start("./measure.ts", contenderCore, [JSON.stringify(task)], ["--expose-gc", ...profiling])
  const ended = once(child, "exit")
  const measurement = await messageOf<Measurement>(child)
  await ended
  return measurement
}

const pinning =
  contenderCore === undefined
    ? "processes not kept to cores"
    : `server on core ${serverCore}, contender on core ${contenderCore}`
if (!options.json) {
  console.log(`Node ${process.version}, ${rounds} rounds, ${pinning}.`)
  console.log("CPU is user + system time of the contender's process after its warm-up. Ratios are to the first line,")
  console.log("measured in the same round: the smallest, then the median.\n")
}

const reference = chosen.some(([, { hasReference }]) => hasReference === true) ? await Reference.build() : undefined
if (reference?.path === undefined && reference !== undefined) {
  console.error(`Without the reference client: ${reference.reason}\n`)
}

/** The contenders of a benchmark: those in this process's language, then the reference client if it can be built. */
const contendersOf = (
  name: string,
  benchmark: Benchmark
): ReadonlyArray<readonly [string, () => Promise<Measurement>]> => {
  const own = Object.keys(benchmark.contenders).map((contender) => [contender, () => measure(name, contender)] as const)
  if (benchmark.hasReference !== true || reference?.path === undefined) return own
  const { path, version } = reference
  const run = async () => Reference.measure(path, name, benchmark, baseUrl, contenderCore)
  return [...own, [`reference client ${version} (Go)`, run]]
}

const results = []
for (const [name, benchmark] of chosen) {
  const measured: Array<Array<Measurement>> = []
  const contenders = contendersOf(name, benchmark)
  for (let round = 0; round < rounds; round++) {
    const measurements = []
    for (const [, measure] of contenders) measurements.push(await measure())
    measured.push(measurements)
  }
  const rows = summarize(
    benchmark,
    contenders.map(([contender]) => contender),
    measured
  )
  results.push({ name, title: benchmark.title, rows, rounds: measured })
  if (options.json) continue
  console.log(benchmarkTable(benchmark, rows))
  const disturbed = disturbance(measured)
  if (disturbed > 0.05) {
    console.log(`  Disturbed: others had the contender's core for up to ${Math.round(disturbed * 100)} % of the time.`)
  }
  console.log()
}
server.disconnect()

/** The output of the benchmark of the runtime: jobs a second by number of waiting jobs, and the CPU time of an idle stack. */
const measureStack = (): { readonly jobsPerSecond: ReadonlyArray<number>; readonly idle: number } => {
  const args = [fileURLToPath(new URL("./stack/main.ts", import.meta.url)), ...(options.quick ? ["--quick"] : [])]
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: "utf8" })
  if (status !== 0) throw new Error("the benchmark of the runtime failed")
  if (!options.json) console.log(stdout)
  const figures = (pattern: RegExp) =>
    Array.from(stdout.matchAll(pattern), ([, figure = ""]) => Number(figure.replaceAll(",", "")))
  return {
    jobsPerSecond: figures(/waiting: +([\d,]+) jobs\/s/g),
    idle: figures(/ 0 waiting .*: ([\d.]+) % of a core/g)[0] ?? Number.NaN
  }
}

const targets: Array<Target> = targetsOf(Object.fromEntries(results.map(({ name, rows }) => [name, rows])))
if (isChosen("stack")) {
  const measured = Array.from({ length: Math.min(rounds, 3) }, measureStack)
  const over = (f: (stack: ReturnType<typeof measureStack>) => number) => spread(measured.map(f))
  targets.push(
    {
      work: "runtime, no limits: jobs a second, at the slowest size",
      atLeast: 5000,
      figure: over(({ jobsPerSecond }) => Math.min(...jobsPerSecond))
    },
    {
      work: "the same: the fastest size × the slowest, 1,000 to 100,000 waiting",
      figure: over(({ jobsPerSecond }) => Math.max(...jobsPerSecond) / Math.min(...jobsPerSecond))
    },
    { work: "idle stack: % of a core", atMost: 1, figure: over(({ idle }) => idle) }
  )
}
if (isChosen("size")) {
  const figure = spread([(await sizeOf("@stacksapi/core/StacksClient")) / 1000])
  targets.push({ work: "client, minified and gzipped: kB", atMost: 55, figure })
}

if (!options.json) console.log(targetTable(targets))
else
  console.log(
    JSON.stringify({ node: process.version, serverCore, contenderCore, benchmarks: results, targets }, undefined, 2)
  )
