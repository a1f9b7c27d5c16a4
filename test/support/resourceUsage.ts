/** The resources that a process uses: memory, sockets, timers. */
import { getHeapCodeStatistics, setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Effect, type Metric } from "effect"

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")

export interface ResourceUsage {
  /** Bytes in use after a garbage collection, without compiled code, whose size varies for days. */
  readonly heap: number
  /** Bytes of buffers outside of the heap. */
  readonly buffers: number
  /** Resident memory, in bytes. */
  readonly rss: number
  /** What keeps the process alive, by kind: sockets, servers, timers, child processes. */
  readonly resources: Readonly<Record<string, number>>
}

const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Collects garbage, including objects with finalizers, and measures. */
export const resourceUsage: Effect.Effect<ResourceUsage> = Effect.gen(function* () {
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

/** Formats the usage on one line. */
export const format = ({ heap, resources, rss }: ResourceUsage): string => {
  const held = Object.entries(resources).map(([kind, count]) => `${count} ${kind}`)
  return `heap ${megabytes(heap)}, RSS ${megabytes(rss)}, ${held.join(", ") || "nothing open"}`
}

/** The resources of which there are more than before. */
export const grown = (before: ResourceUsage, after: ResourceUsage): ReadonlyArray<string> =>
  Object.entries(after.resources).flatMap(([kind, count]) => {
    const was = before.resources[kind] ?? 0
    return count > was ? [`${kind}: ${was}, then ${count}`] : []
  })

/** Counts the live fibers among those that are started with its service. */
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
