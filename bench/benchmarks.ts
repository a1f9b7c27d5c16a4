/** The benchmarks: what is measured, how often, and the contenders. The first contender is the baseline. */
import type { Contender } from "./workload/contender.ts"
import { concurrency } from "./workload/contender.ts"
import { countJob, job, pageCount, pageSize } from "./workload/fixtures.ts"
import { slowPages } from "./workload/work.ts"

export interface Benchmark {
  readonly title: string
  /** The unit of work, and how many units a contender does while it is measured. */
  readonly unit: string
  readonly units: number
  /** How many times a contender's `run` does its work: to warm up, and measured. */
  readonly warmup: number
  readonly times: number
  /** What a contender must count each time. */
  readonly counted: number
  readonly contenders: Readonly<Record<string, () => Promise<Contender>>>
  /** Whether the reference client, which is written in Go, does this work too. */
  readonly hasReference?: boolean
}

export const benchmarks = (isQuick: boolean): Readonly<Record<string, Benchmark>> => {
  const scale = isQuick ? 4 : 1
  const calls = 20_000 / scale
  const decodings = 400 / scale
  const jobs = pageCount * pageSize
  return {
    getJob: {
      title: `getJob: ${format(calls)} calls, ${concurrency} at a time, a job of ${format(job.length)} bytes`,
      unit: "call",
      units: calls,
      warmup: 6000,
      times: calls,
      counted: countJob(JSON.parse(job)),
      hasReference: true,
      contenders: {
        "undici request + JSON.parse": async () => (await import("./contenders/undici.ts")).getJob,
        "fetch + JSON.parse": async () => (await import("./contenders/fetch.ts")).getJob,
        "effect HttpClient + response.json": async () => (await import("./contenders/httpClient.ts")).getJob,
        stacksapi: async () => (await import("./contenders/stacksClient.ts")).getJob,
        "stacksapi, with a rate limit": async () => (await import("./contenders/stacksClient.ts")).getJobLimited,
        "stacksapi, with a tracer": async () => (await import("./contenders/stacksClient.ts")).getJobTraced
      }
    },
    list: {
      title: `list: ${format(jobs)} jobs, ${format(pageSize)} a page, page by page`,
      unit: "page",
      units: pageCount,
      warmup: 1,
      times: 1,
      counted: jobs,
      hasReference: true,
      contenders: {
        "undici request + JSON.parse": async () => (await import("./contenders/undici.ts")).list,
        "fetch + JSON.parse": async () => (await import("./contenders/fetch.ts")).list,
        "stacksapi, listScheduledJobs": async () => (await import("./contenders/stacksClient.ts")).list,
        "stacksapi, ScheduledJobs.stream": async () => (await import("./contenders/stacksClient.ts")).stream
      }
    },
    overlap: {
      title: `overlap: ${slowPages} pages that take 20 ms to come, and 5 ms of work with each`,
      unit: "page",
      units: slowPages,
      warmup: 4,
      times: 4,
      counted: slowPages * pageSize,
      contenders: {
        "undici request + JSON.parse": async () => (await import("./contenders/undici.ts")).listAndWork,
        "stacksapi, ScheduledJobs.pages": async () => (await import("./contenders/stacksClient.ts")).listAndWork
      }
    },
    memory: {
      title: "memory: a queue streamed, job by job",
      unit: "queue",
      units: 1,
      warmup: 1,
      times: 1,
      counted: 1,
      contenders: {
        "10,000 jobs": async () => (await import("./contenders/stacksClient.ts")).streamPages(10),
        "1,000,000 jobs": async () => (await import("./contenders/stacksClient.ts")).streamPages(1000)
      }
    },
    decode: {
      title: `decode: a page of ${format(pageSize)} jobs, ${format(decodings)} times, no network`,
      unit: "page",
      units: decodings,
      warmup: 200,
      times: decodings,
      counted: pageSize,
      contenders: {
        "JSON.parse": async () => (await import("./contenders/decoding.ts")).parse,
        "JSON.parse + stacksapi's decoder": async () => (await import("./contenders/decoding.ts")).parseAndDecode
      }
    }
  }
}

const format = (count: number) => count.toLocaleString("en-US")
