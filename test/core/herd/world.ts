/** The service that a crowd of clients calls, with its rate limits on; it counts what comes, and can be away. */
import { RateLimit, RetryPolicy, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, Context, Deferred, Effect, Exit, Layer, Random, type Scope } from "effect"
import { HttpClient, HttpClientError } from "effect/http"
import type { Outage } from "./outages.ts"

/** A request as it comes to the service. */
export interface Arrived {
  readonly at: number
  /** The stack and the kind of request: what the service counts together. */
  readonly counter: string
  /** How many of these it takes in any second. */
  readonly limit: number
}

export interface ClientOptions {
  readonly policy?: RetryPolicy.Policy
  readonly limiter?: RateLimit.Limiter
}

export interface World {
  readonly emulator: StacksEmulator.Service
  readonly arrived: ReadonlyArray<Arrived>
  /** How many requests the service refused for their number while it was well. */
  readonly refused: () => number
  readonly goAway: (outage: Outage, until: number) => Effect.Effect<void>
  readonly comeBack: Effect.Effect<void>
  readonly client: (options: ClientOptions) => Effect.Effect<StacksClient.Service, never, Scope.Scope>
}

/** The documented limits, by how the paths end. */
const kinds: ReadonlyArray<readonly [path: RegExp, limit: number]> = [
  [/\/scheduled-jobs$/, 10],
  [/\/batch-reserve$/, 10],
  [/\/get-states$/, 20],
  [/\/finish$/, 100],
  [/\/notifications$/, 200],
  [/\/(register|deregister)$/, 10],
  [/\/(jobs\/[^/]+|job-acquisition-tokens)$/, 1000]
]

/** Half of a round trip. */
const onTheWay = Effect.flatMap(Random.nextIntBetween(5, 40), (millis) => Effect.sleep(millis))

export const make = Effect.gen(function* () {
  const context = yield* StacksEmulator.layerHttpClient.pipe(
    Layer.provideMerge(Layer.orDie(StacksEmulator.layer({ rateLimits: true }))),
    Layer.build
  )
  const emulator = Context.get(context, StacksEmulator.StacksEmulator)
  const service = Context.get(context, HttpClient.HttpClient)
  const arrived: Array<Arrived> = []
  let refused = 0
  let away: { readonly outage: Outage; readonly over: Deferred.Deferred<void> } | undefined

  const http = HttpClient.make((request, { pathname }) =>
    Effect.gen(function* () {
      yield* onTheWay
      const [path, limit] = kinds.find(([path]) => path.test(pathname)) ?? [/./, 0]
      const stackKey = pathname.split("/")[3]
      arrived.push({ at: yield* Clock.currentTimeMillis, counter: `${stackKey} ${path}`, limit })
      if (away?.outage.connection !== undefined) {
        const cause = yield* away.outage.connection(Deferred.await(away.over))
        return yield* new HttpClientError.HttpClientError({
          reason: new HttpClientError.TransportError({ request, cause })
        })
      }
      const response = yield* service.execute(request)
      if (response.status === 429 && away === undefined) refused++
      yield* onTheWay
      return response
    })
  )
  const world: World = {
    emulator,
    arrived,
    refused: () => refused,
    goAway: (outage, until) =>
      Effect.suspend(() => {
        away = { outage, over: Deferred.makeUnsafe() }
        return emulator.setFaults(outage.faults?.(until) ?? [])
      }),
    comeBack: Effect.suspend(() => {
      if (away !== undefined) Deferred.doneUnsafe(away.over, Exit.void)
      away = undefined
      return emulator.setFaults([])
    }),
    client: ({ limiter, policy }) => {
      const { baseUrl, token } = emulator
      return StacksClient.layer({ baseUrl, token }).pipe(
        Layer.provide(Layer.succeed(HttpClient.HttpClient, http)),
        Layer.provide(limiter === undefined ? Layer.empty : Layer.succeed(RateLimit.RateLimit, limiter)),
        Layer.provide(policy === undefined ? Layer.empty : RetryPolicy.layer(policy)),
        Layer.build,
        Effect.map((context) => Context.get(context, StacksClient.StacksClient))
      )
    }
  }
  return world
})
