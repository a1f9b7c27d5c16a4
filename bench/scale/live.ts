/** Stacks in real time, against the emulator over HTTP in another process. Measures what virtual time can't show. */
import { fork } from "node:child_process"
import { once } from "node:events"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { JobRunner, Stacks } from "@stacksapi/core"
import { NodeStacksClient } from "@stacksapi/node"
import { Clock, DateTime, Effect, Logger, Redacted } from "effect"
import { type Percentiles, percentiles } from "./simulation.ts"

export interface LiveFigures {
  /** The time until all are registered, in milliseconds. */
  readonly start: number
  readonly started: number
  /** From scheduling to start, in milliseconds. */
  readonly latency: Percentiles
  /** As a share of one core. */
  readonly cpu: number
  /** The delay of the event loop, in milliseconds. */
  readonly lateness: Percentiles
  /** The maximum number of open connections. */
  readonly connections: number
}

// The parent may have exited.
process.once("disconnect", () => process.exit())

const [queues = 1, rate = 1, seconds = 10] = process.argv.slice(2).map(Number)

const service = fork(new URL("./service.ts", import.meta.url), [String(queues), String(rate)])
const [baseUrl] = await once(service, "message")

let waits: Array<number> = []
const runner = JobRunner.layer(({ job }) =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    waits.push(now - DateTime.toEpochMillis(job.scheduledAt))
    return JobRunner.Finished({ exitStatus: 0, detail: "done" })
  })
)

let connections = 0
const countConnections = () => {
  const open = process.getActiveResourcesInfo().filter((kind) => kind === "TCPSocketWrap").length
  connections = Math.max(connections, open)
}

const program = Effect.gen(function* () {
  const counting = setInterval(countConnections, 20)
  const before = performance.now()
  yield* Stacks.make({
    key: "s",
    queues: Array.from({ length: queues }, (_, index) => `q${index}`),
    maxInFlight: 500,
    onClose: "detach"
  })
  const start = performance.now() - before
  yield* Effect.sleep("5 seconds")
  waits = []
  const lateness = monitorEventLoopDelay({ resolution: 1 })
  lateness.enable()
  const cpuBefore = process.cpuUsage()
  yield* Effect.sleep(seconds * 1000)
  const { system, user } = process.cpuUsage(cpuBefore)
  lateness.disable()
  clearInterval(counting)
  // The histogram includes the millisecond of its own timer.
  const late = (percentile: number) => Math.max(0, lateness.percentile(percentile) / 1e6 - 1)
  return {
    start,
    started: waits.length / seconds,
    latency: percentiles(waits),
    cpu: (system + user) / 1e6 / seconds,
    lateness: { p50: late(50), p99: late(99) },
    connections
  } satisfies LiveFigures
}).pipe(
  Effect.scoped,
  Effect.provide([runner, NodeStacksClient.layer({ token: Redacted.make("bkct_emulator"), baseUrl }), Logger.layer([])])
)

process.send?.(await Effect.runPromise(program))
service.disconnect()
