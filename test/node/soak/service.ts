/** The service of a soak test, as a process of its own: it remembers all jobs, and so grows. Ends with its parent. */
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Logger } from "effect"
import { everyFault } from "../../support/stacks.ts"

/** More than the service lets a stack finish: 100 a second. */
const jobsEachRound = 30
const round = "250 millis"

/** Silence that ends soon, so that a moment without jobs is never far. */
const faults = everyFault(0.02).map((fault) =>
  fault._tag === "Stall" ? StacksEmulator.Fault.Stall({ rate: fault.rate, duration: "2 seconds" }) : fault
)

process.on("disconnect", () => process.exit())

const program = Effect.gen(function* () {
  const emulator = yield* NodeStacksEmulator.make()
  yield* emulator.setFaults(faults)
  process.on("message", (paused: boolean) => Effect.runSync(emulator.pauseQueue("q", paused)))
  // So that the queue exists.
  yield* emulator.addJobs([{ queueKey: "q" }])
  yield* Effect.sync(() => process.send?.(emulator.baseUrl))
  const env = { PADDING: "p".repeat(2000) }
  return yield* emulator
    .addJobs(Array.from({ length: jobsEachRound }, () => ({ queueKey: "q", command: "make test", env })))
    .pipe(Effect.delay(round), Effect.forever)
})

Effect.runFork(program.pipe(Effect.scoped, Effect.provide(Logger.layer([]))))
