/** Runs random worlds of a cluster: `node test/model/clusterMain.ts FROM..TO`. Exits with 1 if a world violates an invariant. */
import { Effect, References } from "effect"
import { runWorld } from "./clusterWorld.ts"

const [from = 1, to = from] = (process.argv[2] ?? "1..20").split("..").map(Number)
let wrong = 0
for (let seed = from; seed <= to; seed++) {
  const problems = await Effect.runPromise(Effect.provideService(runWorld(seed), References.MinimumLogLevel, "Fatal"))
  if (problems.length > 0) wrong++
  for (const problem of problems) console.log(`world ${seed}: ${problem}`)
}
console.log(`${to - from + 1} worlds, ${wrong} with problems`)
process.exit(wrong === 0 ? 0 : 1)
