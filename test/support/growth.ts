/** Whether what a process holds has grown with the work that it did. */
import type { ResourceUsage } from "./resourceUsage.ts"

/** What is held at a moment in which there is nothing to do. */
export interface Sample {
  /** How many jobs have been here until now. */
  readonly jobs: number
  readonly fibers: number
  readonly resourceUsage: ResourceUsage
}

/** The first half of the time is for warming up: caches fill, and what compilers note grows. */
const warm = (samples: ReadonlyArray<Sample>) => samples.slice(samples.length >>> 1)
/** From how many warm samples on memory has a trend: it is not the same twice. */
const enough = 6
/** Bytes for each job that are no growth. What is kept of a job takes more: 55 its id alone, 90 in a set. */
const tolerated = 50

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >>> 1] ?? 0

const memory = ({ resourceUsage }: Sample): number => resourceUsage.heap + resourceUsage.buffers

/**
 * How many bytes of memory are kept for each job: the median of what it was from one sample to the next. So it does not count
 * that V8 forgets compiled code now and then, which is more than all jobs of a month take.
 */
export const bytesForEachJob = (samples: ReadonlyArray<Sample>): number => {
  const later = warm(samples)
  return median(
    later.flatMap((before, index) => {
      const after = later[index + 1]
      return after === undefined ? [] : [(memory(after) - memory(before)) / Math.max(1, after.jobs - before.jobs)]
    })
  )
}

/** How many sockets, timers and fibers more may be there at one time than at another, though nothing is left behind. */
const coming = 2

const countGrowth = (samples: ReadonlyArray<Sample>, what: string, of: (sample: Sample) => number) => {
  const before = median(samples.slice(0, samples.length >>> 1).map(of))
  const after = median(warm(samples).map(of))
  return after > before + coming ? [`${what}: ${before}, later ${after}`] : []
}

/** What grew. */
export const growth = (samples: ReadonlyArray<Sample>): ReadonlyArray<string> => {
  if (samples.length < 2) return []
  const kinds = new Set(samples.flatMap(({ resourceUsage }) => Object.keys(resourceUsage.resources)))
  const bytes = bytesForEachJob(samples)
  return [
    ...countGrowth(samples, "fibers", ({ fibers }) => fibers),
    ...Array.from(kinds).flatMap((kind) =>
      countGrowth(samples, kind, ({ resourceUsage }) => resourceUsage.resources[kind] ?? 0)
    ),
    ...(warm(samples).length >= enough && bytes > tolerated
      ? [`memory: ${bytes.toFixed(0)} bytes more for each job`]
      : [])
  ]
}
