/** Fuzzes the client with responses and the emulator with requests: `node bench/fuzz/main.ts --help`. */
import { parseArgs } from "node:util"
import { Effect } from "effect"
import type { Outcomes, Unexpected } from "../../test/node/fuzz/fuzz.ts"
import { requests } from "../../test/node/fuzz/requests.ts"
import { responses } from "../../test/node/fuzz/responses.ts"
import { format, grown, type ResourceUsage, resourceUsage } from "../../test/support/resourceUsage.ts"

const { values: options } = parseArgs({
  options: {
    responses: { type: "string", default: "100000" },
    requests: { type: "string", default: "100000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000_000) },
    help: { type: "boolean", default: false }
  }
})

if (options.help) {
  console.log(`node bench/fuzz/main.ts
  --responses N  how many responses the client gets (default 100000)
  --requests N   how many requests the emulator gets (default 100000)
  --seed S       decides them; the default is another one each time

Cases come in batches of 1000, each with a seed of its own, counted up from S. To see the batch of seed 123 again:
  node bench/fuzz/main.ts --seed 123 --responses 1000 --requests 0`)
  process.exit()
}

const batchSize = 1000
const seed = Number(options.seed)
const problems: Array<string> = []

process.on("unhandledRejection", (reason) => problems.push(`unhandled rejection: ${reason}`))
process.on("uncaughtException", (error) => problems.push(`uncaught exception: ${error.stack}`))
process.on("warning", (warning) => problems.push(`warning: ${warning.stack}`))

/** The memory in use, including bodies, which are not on the heap. */
const held = ({ buffers, heap }: ResourceUsage): number => heap + buffers

const fuzz = async (
  name: string,
  count: number,
  run: (seed: number, count: number) => Effect.Effect<Outcomes, Unexpected>
) => {
  const batches = Math.ceil(count / batchSize)
  if (batches === 0) return
  console.log(`${name}: ${count} from seed ${seed} on`)
  const start = performance.now()
  const all: Outcomes = {}
  let warm: ResourceUsage | undefined
  let last: ResourceUsage | undefined
  for (let batch = 0; batch < batches; batch++) {
    const size = Math.min(batchSize, count - batch * batchSize)
    const outcomes = await Effect.runPromise(
      run(seed + batch, size).pipe(
        Effect.catch((unexpected) => {
          problems.push(unexpected.message)
          return Effect.succeed<Outcomes>({})
        })
      )
    )
    for (const [outcome, times] of Object.entries(outcomes)) all[outcome] = (all[outcome] ?? 0) + times
    last = await Effect.runPromise(resourceUsage)
    // Skip the first batches, which fill caches.
    if (batch === Math.min(9, batches - 1)) warm = last
    if ((batch + 1) % 10 === 0 || batch === batches - 1) {
      const seconds = ((performance.now() - start) / 1000).toFixed(0)
      console.log(`  ${String((batch + 1) * batchSize).padStart(7)} after ${seconds.padStart(4)} s: ${format(last)}`)
    }
  }
  for (const [outcome, times] of Object.entries(all).sort(([, a], [, b]) => b - a)) {
    console.log(`  ${String(times).padStart(7)} ${outcome}`)
  }
  if (warm === undefined || last === undefined) return
  if (held(last) > held(warm) * 1.1 + 8 * 1024 * 1024)
    problems.push(`${name}: its memory grew, ${format(warm)}, then ${format(last)}`)
  problems.push(...grown(warm, last).map((what) => `${name}: left open, ${what}`))
}

await fuzz("Responses to the client", Number(options.responses), responses)
await fuzz("Requests to the emulator", Number(options.requests), requests)

for (const problem of problems) console.log(`PROBLEM ${problem}`)
console.log(
  problems.length === 0 ? "Every outcome was a value or a typed failure." : `${problems.length} problems, seed ${seed}`
)
process.exitCode = problems.length === 0 ? 0 : 1
