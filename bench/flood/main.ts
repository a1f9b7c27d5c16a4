/**
 * Floods the health server of a stack, and measures the stack's polls and memory, and scrapes by others:
 * `node bench/flood/main.ts [--attack unread] [--seconds 30]`.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { NodeStacksEmulator } from "@stacksapi/node"
import { DateTime, Effect, Scope } from "effect"

const { values: options } = parseArgs({
  options: { attack: { type: "string", multiple: true }, seconds: { type: "string", default: "30" } }
})
const attacks = options.attack ?? ["unread", "read", "many", "idle", "slow"]
const seconds = Number(options.seconds)

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const mebibytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(0)

const emulator = await Effect.runPromise(
  Effect.flatMap(Scope.make(), (scope) => Scope.provide(NodeStacksEmulator.make(), scope))
)

/** The times of the polls. */
const polls = async (): Promise<ReadonlyArray<number>> =>
  (await Effect.runPromise(emulator.requests))
    .filter(({ operation }) => operation === "listScheduledJobs")
    .map(({ time }) => DateTime.toEpochMillis(time))

const resourceUsage = async (target: ChildProcess): Promise<{ rss: number; peak: number; cpu: number }> => {
  target.send("resourceUsage")
  const [answer] = await once(target, "message")
  return answer
}

/** Scrapes once a second. Returns the slowest, in milliseconds, and the number without a response within 5 seconds. */
const scrape = async (url: string, until: number): Promise<{ slowest: number; failed: number }> => {
  const result = { slowest: 0, failed: 0 }
  while (performance.now() < until) {
    const start = performance.now()
    const signal = AbortSignal.timeout(5000)
    await fetch(`${url}/metrics`, { signal, headers: { connection: "close" } })
      .then((response) => response.text())
      .catch(() => result.failed++)
    result.slowest = Math.max(result.slowest, performance.now() - start)
    await sleep(1000)
  }
  return result
}

console.log(
  "| attack | longest time between two polls | memory before, at most | processor | slowest scrape | failed scrapes | connections: made, closed |"
)
console.log("|---|---|---|---|---|---|---|")
for (const attack of attacks) {
  const target = fork(file("target.ts"), [emulator.baseUrl], { stdio: ["ignore", "ignore", "inherit", "ipc"] })
  const [{ url }] = await once(target, "message")
  await sleep(4000)
  const before = await resourceUsage(target)
  const began = Date.now()
  const attacker = fork(file("attacker.ts"), [new URL(url).port, attack], {
    stdio: ["ignore", "pipe", "inherit", "ipc"]
  })
  let output = ""
  attacker.stdout?.on("data", (text) => {
    output += text
  })
  const scraped = await scrape(url, performance.now() + seconds * 1000)
  attacker.kill("SIGTERM")
  await once(attacker, "exit")
  const after = await resourceUsage(target)
  const times = [...(await polls()).filter((time) => time > began - 1500), Date.now()]
  const longest = Math.max(...times.slice(1).map((time, index) => time - (times[index] ?? time)))
  const counts = JSON.parse(output)
  console.log(
    `| ${attack} | ${(longest / 1000).toFixed(1)} s | ${mebibytes(before.rss)}, ${mebibytes(after.peak)} MiB | ${((after.cpu - before.cpu) / 1e6).toFixed(1)} s | ${scraped.slowest.toFixed(0)} ms | ${scraped.failed} | ${counts.connected}, ${counts.closed} |`
  )
  target.kill("SIGKILL")
  await once(target, "exit")
}
process.exit(0)
