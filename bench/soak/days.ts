/** Runs a stack for a month under the TestClock: `node bench/soak/days.ts [--days 30] [--leak memory|fiber|timer|socket]`. */
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { type Day, live, problemsOf } from "../../test/core/soak/days.ts"
import { bytesForEachJob } from "../../test/support/growth.ts"
import { leakNamed } from "../../test/support/leaks.ts"
import { format } from "../../test/support/resourceUsage.ts"

const { values: options } = parseArgs({
  options: { days: { type: "string", default: "30" }, leak: { type: "string", default: "" } }
})

const line = ({ day, ends, fibers, jobs, requests, resourceUsage }: Day): string =>
  `day ${String(day).padStart(2)}, ${String(jobs).padStart(6)} jobs until now, ${requests} requests: ${fibers} fibers, ${format(resourceUsage)}; ${JSON.stringify(ends)}`

const life = await Effect.runPromise(
  live({
    days: Number(options.days),
    pace: "15 seconds",
    leak: leakNamed(options.leak),
    onDay: (day) => console.log(line(day))
  })
)
console.log(`${bytesForEachJob(life.days).toFixed(0)} bytes of memory kept for each job`)
const problems = problemsOf(life)
for (const problem of problems) console.log(`PROBLEM ${problem}`)
console.log(problems.length === 0 ? "Nothing grew, and nothing is left." : `${problems.length} problems`)
process.exit(problems.length === 0 ? 0 : 1)
