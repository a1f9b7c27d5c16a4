/** Measures a stack with many agents elsewhere, over HTTP: `node bench/agents/main.ts [--agents 1000] [--seconds 60]`. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import type { AgentProvider } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Redacted } from "effect"
import type { Message, Settings } from "./stack.ts"

const { values: options } = parseArgs({
  options: { agents: { type: "string", default: "1000" }, seconds: { type: "string", default: "60" } }
})
const count = Number(options.agents)
const seconds = Number(options.seconds)
const folder = mkdtempSync(join(tmpdir(), "bench-agents-"))

const format = (value: number, digits = 1) => value.toFixed(digits)

const program = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const services = yield* Effect.context<never>()
  const agents: Array<AgentProvider.Agent> = []
  const seen: { watched?: Message & { type: "watched" }; idle?: Message & { type: "idle" } } = {}

  /** A process with the agents that there are, until it has told this. */
  const run = (seconds: number, last: "watched" | "idle") =>
    Effect.promise(async () => {
      const forkedAt = performance.now()
      const child: ChildProcess = fork(new URL("./stack.ts", import.meta.url))
      const settings: Settings = { baseUrl: emulator.baseUrl, store: join(folder, "jobs"), count, seconds, agents }
      child.send({ ...settings, agents: [...agents] })
      const failed = once(child, "exit").then(([code]) => Promise.reject(new Error(`the stack ended with ${code}`)))
      failed.catch(() => {})
      const told = new Promise<void>((resolve) => {
        child.on("message", (message: Message) => {
          if (message.type === "created") {
            agents.push(message.agent)
            Effect.runForkWith(services)(Effect.ignore(emulator.acquireJob(Redacted.make(message.token))))
          } else if (message.type === "watched") seen.watched = message
          else if (message.type === "idle") seen.idle = message
          if (message.type === last) resolve()
        })
      })
      await Promise.race([told, failed])
      const sinceFork = (performance.now() - forkedAt) / 1000
      child.kill("SIGKILL")
      await once(child, "close")
      return sinceFork
    })

  yield* emulator.addJobs(Array.from({ length: count }, () => ({ queueKey: "q" })))
  yield* run(seconds, "idle")
  const { idle, watched: first } = seen
  const sinceFork = yield* run(0, "watched")
  const { watched: second } = seen
  if (first === undefined || second === undefined || idle === undefined) return yield* Effect.die("nothing was told")

  console.log(`${count} jobs, each with an agent elsewhere, over HTTP; the provider answers at once. Node ${process.version}
created and watched after              ${format(first.seconds)} s
listings                               ${format(idle.listings / seconds, 2)} a second
CPU of the stack's process, at rest    ${format(idle.core * 100, 2)} % of a core
resident memory                        ${format(idle.megabytes, 0)} MB
killed and started again:
  all ${count} jobs watched again after    ${format(second.seconds)} s, ${format(sinceFork)} s with the start of Node
  agents created again                 ${second.creates}`)
}).pipe(Effect.provide(NodeStacksEmulator.layer({ rateLimits: false, page: false })))

await Effect.runPromise(program).finally(() => rmSync(folder, { recursive: true, force: true }))
