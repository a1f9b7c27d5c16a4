/** A hundred clients behind an outage of five minutes: `node bench/herd/main.ts [--crowd TEXT] [--outage TEXT]`. */
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { careless, crowds } from "../../test/core/herd/crowds.ts"
import { meet, type Rates } from "../../test/core/herd/herd.ts"
import { outages } from "../../test/core/herd/outages.ts"

const { values: options } = parseArgs({
  options: { crowd: { type: "string", default: "" }, outage: { type: "string", default: "" } }
})
const chosen = <A>(all: Record<string, A>, option: string, text: string): ReadonlyArray<readonly [string, A]> => {
  const found = Object.entries(all).filter(([name]) => name.includes(text))
  if (found.length > 0) return found
  console.error(`--${option} is a part of one of these, not ${text}:\n  ${Object.keys(all).join("\n  ")}`)
  process.exit(1)
}
const chosenCrowds = chosen({ ...crowds, ...careless }, "crowd", options.crowd)
const chosenOutages = chosen(outages, "outage", options.outage)
const times = { start: "30 seconds", before: "30 seconds", outage: "5 minutes", after: "1 minute" } as const

const percent = (part: number): string => `${(part * 100).toFixed(0)} %`.padStart(6)
const show = ({ inSecond, inTenth, mean, ofLimit }: Rates): string =>
  `${percent(ofLimit)}, ${mean.toFixed(0).padStart(4)}, ${String(inSecond).padStart(4)}, ${String(inTenth).padStart(4)}`
const row = (...cells: ReadonlyArray<string>): void =>
  console.log(cells.map((cell, index) => cell.padEnd(index === 0 ? 36 : 24)).join(" | "))

console.log(`Under the TestClock: 30 seconds without trouble, 5 minutes of outage, 1 minute after it. For each of these:
the busiest second of any stack's limit, as a part of that limit; and the requests of the whole crowd in a second on the
average, in their busiest second, and in their busiest tenth of a second. "Refused" are 429s before and after the outage.`)

const exceeded: Array<string> = []
for (const [name, crowd] of chosenCrowds) {
  console.log(`\n${name}`)
  row("  outage", "before", "during", "after", "refused")
  for (const [kind, outage] of chosenOutages) {
    const { after, before, during, refused } = await Effect.runPromise(meet(crowd, outage, times, "all"))
    row(`  ${kind}`, show(before), show(during), show(after), String(refused))
    if (name in crowds && Math.max(during.ofLimit, after.ofLimit) > 1.05) exceeded.push(`${name}: ${kind}`)
  }
}
console.log()
for (const what of exceeded) console.log(`PROBLEM ${what}: over the limit plus 5 %`)
process.exitCode = exceeded.length === 0 ? 0 : 1
