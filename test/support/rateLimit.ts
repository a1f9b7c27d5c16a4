/** A service that records when it counts requests, and clients with limiters for it. */
import { RateLimit, RetryPolicy, type StacksClient } from "@stacksapi/core"
import { Clock, Context, type Duration, Effect, Layer } from "effect"
import { HttpServerResponse } from "effect/http"
import { RateLimiter } from "effect/persistence"
import { answers } from "./samples.ts"
import * as Scripted from "./scripted.ts"

export type Call = (client: StacksClient.Service) => Effect.Effect<unknown, unknown>

export const list: Call = (client) => client.listScheduledJobs({ stackKey: "s", clusterQueueKey: "q" })
export const reserve: Call = (client) => client.batchReserveJobs({ stackKey: "s", jobUuids: ["j"] })
export const getJob: Call = (client) => client.getJob({ stackKey: "s", jobUuid: "j" })
export const getStates: Call = (client) => client.getJobStates({ stackKey: "s", jobUuids: ["j"] })
export const finish: Call = (client) => client.finishJob({ stackKey: "s", jobUuid: "j", detail: "done" })
export const notify: Call = (client) =>
  client.createStackNotifications({ stackKey: "s", notifications: [{ jobUuid: "j", detail: "x" }] })
export const register: Call = (client) => client.registerStack({ key: "s", type: "custom", queueKey: "q" })
export const deregister: Call = (client) => client.deregisterStack({ stackKey: "s" })
export const issueTokens: Call = (client) => client.issueJobAcquisitionTokens({ stackKey: "s", jobUuids: ["j"] })

const answerFor = (url: string) => {
  const path = new URL(url).pathname
  if (path.endsWith("/scheduled-jobs")) return answers.listScheduledJobs
  if (path.endsWith("/batch-reserve")) return answers.batchReserveJobs
  if (path.endsWith("/get-states")) return answers.getJobStates
  if (path.endsWith("/finish")) return answers.finishJob
  if (path.endsWith("/notifications")) return answers.createStackNotifications
  if (path.endsWith("/register")) return answers.registerStack
  if (path.endsWith("/deregister")) return answers.deregisterStack
  if (path.endsWith("/job-acquisition-tokens")) return answers.issueJobAcquisitionTokens
  return answers.getJob
}

/** What goes wrong, or differs, at a request: by default nothing. */
interface Behaviour {
  readonly status?: number
  readonly headers?: Record<string, string>
  /** Milliseconds before the service counts the request, and before its answer is back. */
  readonly there?: number
  readonly back?: number
}

/** A service that tells when it counted which request. */
export const service = (behave: (url: string, index: number) => Behaviour | Effect.Effect<Behaviour> = () => ({})) => {
  const counted: Array<{ readonly at: number; readonly path: string }> = []
  const scripted = Scripted.make(({ url }, index) =>
    Effect.gen(function* () {
      const behaviour = behave(url, index)
      const { back = 0, headers = {}, status, there = 0 } = Effect.isEffect(behaviour) ? yield* behaviour : behaviour
      if (there > 0) yield* Effect.sleep(there)
      counted.push({ at: yield* Clock.currentTimeMillis, path: new URL(url).pathname.replace("/v3/stacks/", "") })
      if (back > 0) yield* Effect.sleep(back)
      const answer = answerFor(url)
      return answer.body === undefined
        ? HttpServerResponse.empty({ status: status ?? answer.status, headers })
        : HttpServerResponse.jsonUnsafe(answer.body, { status: status ?? answer.status, headers })
    })
  )
  return { scripted, counted, times: () => counted.map(({ at }) => at) }
}

export const limiterOf = (layer: Layer.Layer<never, never, never>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, RateLimit.RateLimit))

/** A client without retries and with a limiter of its own. */
export const clientOf = Effect.fnUntraced(function* (
  scripted: Scripted.Scripted,
  options: { readonly limiter?: RateLimit.Limiter; readonly timeout?: Duration.Input } = {}
) {
  const limiter = options.limiter ?? (yield* limiterOf(RateLimit.layerMemory))
  return yield* Scripted.client(scripted, options.timeout === undefined ? {} : { timeout: options.timeout }).pipe(
    Effect.provideService(RateLimit.RateLimit, limiter),
    RetryPolicy.withPolicy(RetryPolicy.none)
  )
})

/** The most events in any one second, both of its ends included. */
export const mostInASecond = (times: ReadonlyArray<number>) => {
  const sorted = times.toSorted((a, b) => a - b)
  let most = 0
  let first = 0
  for (const [last, time] of sorted.entries()) {
    while (time - (sorted[first] ?? 0) > 1000) first++
    most = Math.max(most, last - first + 1)
  }
  return most
}

/** Calls again and again from so many fibers that there are always some waiting. */
export const flood = (client: StacksClient.Service, call: Call, fibers: number) =>
  Effect.forEach(Array.from({ length: fibers }), () => Effect.forkScoped(Effect.forever(Effect.ignore(call(client)))), {
    discard: true
  })

export const forkCalls = (client: StacksClient.Service, call: Call, count: number) =>
  Effect.forEach(Array.from({ length: count }), () => Effect.forkScoped(call(client)))

export const memoryStore = Effect.map(Layer.build(Layer.fresh(RateLimiter.layerStoreMemory)), (context) =>
  Context.get(context, RateLimiter.RateLimiterStore)
)

/** A limiter as a process of its own has it. */
export const processOf = (store: RateLimiter.RateLimiterStore["Service"], options: RateLimit.StoreOptions = {}) =>
  limiterOf(
    RateLimit.layerStoreWith(options).pipe(
      Layer.provide(Layer.succeed(RateLimiter.RateLimiterStore, store)),
      Layer.orDie
    )
  )
