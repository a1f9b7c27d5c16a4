/** This client: `NodeStacksClient.layer` with all defaults. */
import * as RateLimit from "@stacksapi/core/RateLimit"
import * as RetryPolicy from "@stacksapi/core/RetryPolicy"
import * as ScheduledJobs from "@stacksapi/core/ScheduledJobs"
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as NodeStacksClient from "@stacksapi/node/NodeStacksClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import type { Contender, Workload } from "../workload/contender.ts"
import { countJob, jobUuid, pageSize, queueKey, stackKey, stackKeyOf, token } from "../workload/fixtures.ts"
import { sumEffects } from "../workload/sumEffects.ts"
import { slowKey, work } from "../workload/work.ts"

const workload = (
  baseUrl: string,
  run: (times: number) => Effect.Effect<number, unknown, StacksClient.StacksClient>,
  around: Layer.Layer<never> = Layer.empty
): Workload => {
  const client = NodeStacksClient.layer({ token: Redacted.make(token), baseUrl: `${baseUrl}/v3` })
  const runtime = ManagedRuntime.make(Layer.provide(client, around))
  return { run: (times) => runtime.runPromise(run(times)), close: () => runtime.dispose() }
}

const getJobs = (times: number) =>
  Effect.flatMap(StacksClient.StacksClient, (client) =>
    sumEffects(times, (index) => Effect.map(client.getJob({ stackKey, jobUuid: jobUuid(index) }), countJob))
  )

export const getJob: Contender = async (baseUrl) => workload(baseUrl, getJobs)

/** With a rate limit and a retry budget. */
export const getJobLimited: Contender = async (baseUrl) =>
  workload(
    baseUrl,
    getJobs,
    Layer.merge(RateLimit.layerMemory, RetryPolicy.layer(RetryPolicy.withBudget(RetryPolicy.standard)))
  )

/** With a tracer that makes spans and exports none. */
const tracer = Tracer.make({ span: (options) => new Tracer.NativeSpan(options) })

export const getJobTraced: Contender = async (baseUrl) =>
  workload(baseUrl, (times) => Effect.withTracer(getJobs(times), tracer))

export const list: Contender = async (baseUrl) =>
  workload(
    baseUrl,
    Effect.fnUntraced(function* (times) {
      const client = yield* StacksClient.StacksClient
      let jobs = 0
      for (let time = 0; time < times; time++) {
        let startCursor: string | undefined
        do {
          const page = yield* client.listScheduledJobs({ stackKey, clusterQueueKey: queueKey, pageSize, startCursor })
          jobs += page.jobs.length
          startCursor = page.pageInfo.hasNextPage ? (page.pageInfo.endCursor ?? undefined) : undefined
        } while (startCursor !== undefined)
      }
      return jobs
    })
  )

/** Streams a whole queue several times, and counts the jobs. */
const countStreamed = (stackKey: string) =>
  Effect.fnUntraced(function* (times: number) {
    let jobs = 0
    for (let time = 0; time < times; time++) {
      jobs += yield* Stream.runCount(ScheduledJobs.stream({ stackKey, clusterQueueKey: queueKey }))
    }
    return jobs
  })

export const stream: Contender = async (baseUrl) => workload(baseUrl, countStreamed(stackKey))

/** Streams a queue of this many pages, and measures the memory in use. Counts 1 for all its jobs. */
export const streamPages =
  (pages: number): Contender =>
  async (baseUrl) => {
    let peak = 0
    let jobs = 0
    const look = Effect.sync(() => {
      if (++jobs % (5 * pageSize) !== 1) return
      globalThis.gc?.()
      const { external, heapUsed } = process.memoryUsage()
      peak = Math.max(peak, heapUsed + external)
    })
    const streamed = Stream.runForEach(
      ScheduledJobs.stream({ stackKey: stackKeyOf(pages, 0), clusterQueueKey: queueKey }),
      () => look
    )
    const run = Effect.fnUntraced(function* (times: number) {
      jobs = 0
      for (let time = 0; time < times; time++) yield* streamed
      return jobs / (pages * pageSize)
    })
    return { ...workload(baseUrl, run), peakMemory: () => peak }
  }

export const listAndWork: Contender = async (baseUrl) =>
  workload(
    baseUrl,
    Effect.fnUntraced(function* (times) {
      let jobs = 0
      for (let time = 0; time < times; time++) {
        yield* Stream.runForEach(ScheduledJobs.pages({ stackKey: slowKey, clusterQueueKey: queueKey }), (page) =>
          Effect.sync(() => {
            jobs += page.jobs.length
            work()
          })
        )
      }
      return jobs
    })
  )
