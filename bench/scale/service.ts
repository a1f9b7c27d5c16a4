/** The emulated service in a process of its own, with jobs at a constant rate. Sends its URL to its parent. */
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Logger } from "effect"

const [queues = 1, rate = 1] = process.argv.slice(2).map(Number)

const program = Effect.gen(function* () {
  const { addJobs, baseUrl } = yield* NodeStacksEmulator.make({ page: false })
  process.send?.(baseUrl)
  const start = performance.now()
  let added = 0
  while (true) {
    const due = Math.floor(((performance.now() - start) / 1000) * rate)
    yield* addJobs(Array.from({ length: due - added }, (_, index) => ({ queueKey: `q${(added + index) % queues}` })))
    added = due
    yield* Effect.sleep("10 millis")
  }
}).pipe(Effect.scoped, Effect.provide(Logger.layer([])))

process.once("disconnect", () => process.exit())
Effect.runFork(program)
