/** Simulates stacks of 1 to 1,000 queues with 10 to 10,000 jobs a second: `node bench/scale/main.ts --help`. */
import { fork } from "node:child_process"
import { once } from "node:events"
import { parseArgs } from "node:util"
import { grid } from "./grid.ts"
import type { LiveFigures } from "./live.ts"
import { type Result, show, showLive } from "./show.ts"
import type { Figures } from "./simulation.ts"

const { values: options } = parseArgs({
  options: {
    only: { type: "string" },
    quick: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const tables = grid(options.quick)
const names = [...Object.keys(tables), "live"]

if (options.help) {
  console.log(`node bench/scale/main.ts
  --only NAME  one of ${names.join(", ")}
  --quick      less of everything; without "live", which takes real time`)
  process.exit()
}

const isChosen = (name: string) =>
  options.only === undefined ? !(options.quick && name === "live") : options.only === name
if (!names.some(isChosen)) throw new Error(`--only takes one of ${names.join(", ")}`)

/** Runs one measurement in a process of its own, so that measurements do not affect each other. */
const measure = async <A>(file: string, args: ReadonlyArray<unknown>): Promise<A> => {
  const child = fork(new URL(file, import.meta.url), args.map(String), {
    execArgv: ["--expose-gc", "--max-old-space-size=8000"]
  })
  const ended = once(child, "exit")
  const failed = ended.then(([code]) => Promise.reject(new Error(`${file} ended with ${code}`)))
  const [figures] = await Promise.race([once(child, "message"), failed])
  failed.catch(() => {})
  child.disconnect()
  await ended
  return figures
}

console.log(`Node ${process.version}. Simulated: Stacks, client and rate limits as they are, against the emulated service with
the documented limits, 50 ms for a request and its answer. Requests, jobs and bytes are of all queues together.
`)
for (const [name, { cells, title }] of Object.entries(tables)) {
  if (!isChosen(name)) continue
  const results: Array<Result> = []
  for (const cell of cells) {
    results.push({ cell, figures: await measure<Figures>("./cell.ts", [JSON.stringify(cell)]) })
  }
  console.log(show(name, title, results))
}

if (isChosen("live")) {
  const rows = []
  for (const [queues, rate] of [
    [1, 90],
    [10, 100],
    [100, 100],
    [1000, 100],
    [20, 1000]
  ]) {
    rows.push({ queues, rate, figures: await measure<LiveFigures>("./live.ts", [queues, rate, 15]) })
  }
  console.log(showLive("In real time, over HTTP, without a way to go, finished by the stack", rows))
}
