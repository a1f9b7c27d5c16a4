/** What a process holds: memory, sockets, timers. */
import { getHeapCodeStatistics, setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Effect, type Metric } from "effect"

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")

export interface Vitals {
  /** Bytes in use after garbage was collected. Compiled code is left out: it grows and shrinks for days. */
  readonly heap: number
  /** Bytes of buffers, which are not on the heap. */
  readonly buffers: number
  /** Bytes that the process takes of the machine's memory. */
  readonly rss: number
  /** What keeps the process alive, by kind: sockets, servers, timers, child processes. */
  readonly resources: Readonly<Record<string, number>>
}

const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Collects garbage, also what only its finalizers let go, and takes stock. */
export const vitals: Effect.Effect<Vitals> = Effect.gen(function* () {
  for (let round = 0; round < 3; round++) {
    collect()
    yield* turn
    yield* turn
  }
  const { arrayBuffers, heapUsed, rss } = process.memoryUsage()
  const resources: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1
  const { bytecode_and_metadata_size, code_and_metadata_size } = getHeapCodeStatistics()
  return { heap: heapUsed - code_and_metadata_size - bytecode_and_metadata_size, buffers: arrayBuffers, rss, resources }
})

const megabytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`

/** In a line. */
export const format = ({ heap, resources, rss }: Vitals): string => {
  const held = Object.entries(resources).map(([kind, count]) => `${count} ${kind}`)
  return `heap ${megabytes(heap)}, RSS ${megabytes(rss)}, ${held.join(", ") || "nothing open"}`
}

/** Resources of which there are more than there were. */
export const grown = (before: Vitals, after: Vitals): ReadonlyArray<string> =>
  Object.entries(after.resources).flatMap(([kind, count]) => {
    const was = before.resources[kind] ?? 0
    return count > was ? [`${kind}: ${was}, then ${count}`] : []
  })

/** Counts the fibers that are alive among those that are started with its service. */
export const countFibers = (): {
  readonly alive: () => number
  readonly service: Metric.FiberRuntimeMetricsService
} => {
  let alive = 0
  return {
    alive: () => alive,
    service: { recordFiberStart: () => void alive++, recordFiberEnd: () => void alive-- }
  }
}
