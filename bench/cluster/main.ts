/**
 * Tests the claims of docs/cluster.md with real processes, PostgreSQL and Redis:
 * `node bench/cluster/main.ts --help`.
 */
import { parseArgs } from "node:util"
import { Cause, Effect, Exit } from "effect"
import type { Outcome } from "./outcome.ts"
import { scenarios } from "./scenarios.ts"

const { values: options } = parseArgs({
  options: {
    only: { type: "string", multiple: true },
    jobs: { type: "string", default: "5000" },
    lock: { type: "string", default: "5" },
    help: { type: "boolean", default: false }
  }
})

if (options.help) {
  console.log(`node bench/cluster/main.ts
  --only NAME  only this one, of ${Object.keys(scenarios).join(", ")}; may be given several times
  --jobs N     how many jobs there are (default 5000)
  --lock S     the option lockExpiration, in seconds (default 5): more, where this machine starves processes for seconds

Needs the servers of PostgreSQL and Redis, and pgbouncer, from Debian's packages for example: npx -y pnpm@12 services.
It ends with 1 if something was not as it should be.`)
  process.exit()
}

// Stop the servers on a signal.
const ending = new AbortController()
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    console.log(`Ended by ${signal}`)
    ending.abort()
  })
}

const run = async (name: string, scenario: Effect.Effect<Outcome>) => {
  console.log(`\n${name}`)
  const exit = await Effect.runPromiseExit(scenario, { signal: ending.signal })
  if (Exit.isFailure(exit)) {
    if (!ending.signal.aborted) console.log(Cause.pretty(exit.cause))
    process.exit(1)
  }
  const { figures, problems } = exit.value
  for (const [what, figure] of Object.entries(figures)) console.log(`  ${what}: ${figure}`)
  for (const problem of problems.slice(0, 20)) console.log(`  PROBLEM: ${problem}`)
  if (problems.length > 20) console.log(`  PROBLEM: and ${problems.length - 20} more`)
  return problems.length
}

const order = { jobs: Number(options.jobs), lockExpiration: `${Number(options.lock)} seconds` as const }
let problems = 0
for (const [name, scenario] of Object.entries(scenarios)) {
  if (options.only === undefined || options.only.includes(name)) problems += await run(name, scenario(order))
}
console.log(`\n${problems === 0 ? "All as it should be" : `${problems} PROBLEMS`}`)
process.exit(problems === 0 ? 0 : 1)
