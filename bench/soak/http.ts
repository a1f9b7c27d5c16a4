/** Runs a stack over HTTP at full rate: `node bench/soak/http.ts [--minutes 10] [--leak memory|fiber|timer|socket]`. */
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { line, problemsOf, soak } from "../../test/node/soak/soak.ts"
import { bytesForEachJob } from "../../test/support/growth.ts"
import { leakNamed } from "../../test/support/leaks.ts"
import { format } from "../../test/support/resourceUsage.ts"

const { values: options } = parseArgs({
  options: { minutes: { type: "string", default: "10" }, leak: { type: "string", default: "" } }
})
const minutes = Number(options.minutes)
const intervals = 12

console.log(`A stack over HTTP for ${minutes} minutes; 2 % of all responses fail.`)
const soaked = await Effect.runPromise(
  soak({
    interval: `${(minutes * 60) / intervals} seconds`,
    intervals,
    jobsEach: 1,
    rest: "6 seconds",
    leak: leakNamed(options.leak),
    onCheckpoint: (checkpoint) => console.log(line(checkpoint))
  })
)
console.log(`Before: ${format(soaked.before)}`)
console.log(`After:  ${format(soaked.after)}, ${soaked.fibersLeft} fibers`)
console.log(`${bytesForEachJob(soaked.checkpoints).toFixed(0)} bytes of memory kept for each job`)
const problems = problemsOf(soaked)
for (const problem of problems) console.log(`PROBLEM ${problem}`)
console.log(problems.length === 0 ? "Nothing grew, and nothing is left." : `${problems.length} problems`)
process.exit(problems.length === 0 ? 0 : 1)
