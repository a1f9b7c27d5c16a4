/**
 * Runs the model of the runtime on many seeds: `pnpm model --seeds 1..20000`. Seeds that were run with the same source files are
 * not run again. For a seed that fails it prints what was violated, and the smallest plan that it found to violate the same.
 * `--plan FILE` runs the plan in a file, and `--log` prints what happened.
 */
import { createHash } from "node:crypto"
import { appendFileSync, existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { Worker } from "node:worker_threads"
import type { Plan } from "./plan.ts"
import { generate } from "./providerPlan.ts"
import { run } from "./run.ts"
import type { Answer, Question } from "./worker.ts"

const root = resolve(import.meta.dirname, "../..")

const { values: options } = parseArgs({
  options: {
    seeds: { type: "string", default: "1..1000" },
    workers: { type: "string", default: "2" },
    /** How many failures are minimized. */
    minimize: { type: "string", default: "3" },
    plan: { type: "string" },
    log: { type: "boolean", default: false },
    /** Runs all seeds, whether or not they were run before. */
    fresh: { type: "boolean", default: false }
  }
})

const usage = (message: string): never => {
  console.error(message)
  process.exit(2)
}

const [first = 0, last = 0] =
  /^(\d+)(?:\.\.(\d+))?$/
    .exec(options.seeds)
    ?.slice(1)
    .map((text, index, [from]) => Number(text ?? (index === 1 ? from : text))) ??
  usage("--seeds is A..B, for example 1..1000")

// -----------------------------------------------------------------------------
// One plan
// -----------------------------------------------------------------------------

const showOne = async (plan: Plan): Promise<never> => {
  const { log, requests, runs, seconds, violation } = await run(plan)
  if (options.log) console.log(log.join("\n"))
  const size = `${runs} runs of jobs and ${requests} requests in ${Math.round(seconds)} seconds`
  console.log(
    violation === undefined ? `Nothing is violated: ${size}` : `VIOLATED ${violation.invariant}\n  ${violation.message}`
  )
  process.exit(violation === undefined ? 0 : 1)
}

if (options.plan !== undefined) await showOne(JSON.parse(readFileSync(options.plan, "utf8")))
if (options.log) await showOne(generate(first))

// -----------------------------------------------------------------------------
// Progress
// -----------------------------------------------------------------------------

/** What a run depends on. */
const sources = globSync("{packages/core/src,test/model,test/support}/**/*.ts", { cwd: root }).sort()
const hash = createHash("sha256")
for (const source of sources) hash.update(source).update(readFileSync(join(root, source)))
const version = hash.digest("hex").slice(0, 12)

const cache = join(root, "node_modules/.cache/model")
const progressFile = join(cache, `${version}.jsonl`)
mkdirSync(cache, { recursive: true })

interface Entry {
  readonly seed: number
  readonly invariant?: string | undefined
  readonly runs: number
  readonly requests: number
  readonly seconds: number
}

const entries = new Map<number, Entry>()
if (existsSync(progressFile) && !options.fresh) {
  for (const line of readFileSync(progressFile, "utf8").split("\n")) {
    // The last line may have been cut off.
    if (!line.endsWith("}")) continue
    const entry: Entry = JSON.parse(line)
    if (entry.seed >= first && entry.seed <= last) entries.set(entry.seed, entry)
  }
}

// -----------------------------------------------------------------------------
// Workers
// -----------------------------------------------------------------------------

const seeds = Array.from({ length: last - first + 1 }, (_, index) => first + index).filter((seed) => !entries.has(seed))
if (entries.size > 0) console.log(`${entries.size} of ${entries.size + seeds.length} seeds were run before`)

const startedAt = performance.now()
let done = 0
let toMinimize = Number(options.minimize)
const failed = () => Array.from(entries.values()).filter(({ invariant }) => invariant !== undefined)

const report = setInterval(() => {
  const rate = done / ((performance.now() - startedAt) / 1000)
  const left = Math.round((seeds.length - done) / rate / 60)
  console.log(
    `${entries.size} seeds, ${failed().length} failed; ${rate.toFixed(1)} seeds a second, ${left} minutes left`
  )
}, 15_000)

const ask = (worker: Worker, question: Question): Promise<Answer> =>
  new Promise((resolve, reject) => {
    worker.once("message", (answer: Answer) => {
      worker.off("error", reject)
      resolve(answer)
    })
    worker.once("error", reject)
    worker.postMessage(question)
  })

let next = 0
const work = async (): Promise<void> => {
  const worker = new Worker(new URL("./worker.ts", import.meta.url))
  while (true) {
    const seed = seeds[next++]
    if (seed === undefined) break
    const answer = await ask(worker, { seed, maxTries: 0 })
    done++
    const { requests, runs, seconds, violation } = answer
    const entry: Entry = { seed, invariant: violation?.invariant, runs, requests, seconds }
    entries.set(seed, entry)
    appendFileSync(progressFile, `${JSON.stringify(entry)}\n`)
    if (violation === undefined) continue
    console.log(
      `\nSEED ${seed} VIOLATED ${violation.invariant}\n  at ${violation.at.toFixed(1)} s: ${violation.message}`
    )
    if (toMinimize-- > 0) show(seed, await ask(worker, { seed, maxTries: 300 }))
  }
  await worker.terminate()
}

const show = (seed: number, { log, plan, violation }: Answer): void => {
  const file = join(cache, `seed-${seed}.json`)
  writeFileSync(file, JSON.stringify(plan, null, 2))
  console.log(`Minimized plan of seed ${seed}, also in ${file}:\n${JSON.stringify(plan)}`)
  console.log(`${violation?.message}\n${log.slice(-40).join("\n")}\n`)
}

await Promise.all(Array.from({ length: Math.max(1, Number(options.workers)) }, work))
clearInterval(report)

const sum = (count: (entry: Entry) => number) =>
  Array.from(entries.values()).reduce((total, entry) => total + count(entry), 0)
const byInvariant = Object.groupBy(failed(), ({ invariant }) => invariant ?? "")
for (const [invariant, list = []] of Object.entries(byInvariant)) {
  console.log(
    `${list.length} × ${invariant}: ${list
      .map(({ seed }) => seed)
      .slice(0, 20)
      .join(" ")}`
  )
}
console.log(
  `${entries.size} seeds, ${failed().length} failed: ${sum(({ runs }) => runs)} runs of jobs and ${sum(({ requests }) => requests)} requests in ${Math.round(sum(({ seconds }) => seconds) / 3600)} hours of the TestClock`
)
process.exit(failed().length === 0 ? 0 : 1)
