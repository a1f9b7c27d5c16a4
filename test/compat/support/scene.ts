/** What a case is, and what it works with. */
import { RetryPolicy, StacksClient } from "@stacksapi/core"
import { Context, Effect, Equal, Formatter, Layer, Redacted, Schedule, type Scope } from "effect"
import { CurrentPlatform } from "./platform.ts"
import { Emulator, emulator } from "./remote.ts"

/** Fails where the platform doesn't do what the client needs. `StacksClient` is a client of the case's own emulator. */
export type Case = Effect.Effect<unknown, unknown, StacksClient.StacksClient | Emulator | CurrentPlatform | Scope.Scope>

/** Cases, by what they say. */
export type Cases = Readonly<Record<string, Case>>

export const stackKey = "compat"
export const queueKey = "default"

/** The policy of the cases, unless they choose one. */
const quickly = RetryPolicy.make(Schedule.spaced("20 millis")).pipe(RetryPolicy.maxAttempts(5))

/** A client with other options, or of another service, or with other layers beneath it. */
export const clientWith = Effect.fnUntraced(function* (
  options: Partial<StacksClient.Options>,
  beneath: Layer.Layer<never> = Layer.empty
) {
  const platform = yield* CurrentPlatform
  const { baseUrl } = yield* Emulator
  const context = yield* platform
    .client({ token: Redacted.make("bkct_emulator"), baseUrl, ...options })
    .pipe(Layer.provide(beneath), Layer.provide(RetryPolicy.layer(quickly)), Layer.build)
  return Context.get(context, StacksClient.StacksClient)
})

/** Runs a case with an emulator of its own. */
export const play = (self: Case): Effect.Effect<void, unknown, CurrentPlatform> =>
  Effect.gen(function* () {
    const client = yield* clientWith({})
    yield* Effect.provideService(self, StacksClient.StacksClient, client)
  }).pipe(Effect.provideServiceEffect(Emulator, emulator), Effect.scoped)

/** Registers the stack, adds jobs to its queue, and gives their ids. */
export const jobs = Effect.fnUntraced(function* (count: number) {
  const client = yield* StacksClient.StacksClient
  const { addJobs } = yield* Emulator
  yield* client.registerStack({ key: stackKey, type: "custom", queueKey })
  const added = yield* addJobs(Array.from({ length: count }, () => ({ queueKey })))
  return added.map(({ id }) => id)
})

/** The same with reserved jobs. */
export const reservedJobs = Effect.fnUntraced(function* (count: number) {
  const client = yield* StacksClient.StacksClient
  const jobUuids = yield* jobs(count)
  yield* client.batchReserveJobs({ stackKey, jobUuids })
  return jobUuids
})

/** Dies unless the values are the same, by structure. */
export const same = (actual: unknown, expected: unknown): void => {
  if (Equal.equals(actual, expected)) return
  throw new Error(`Expected ${Formatter.format(expected)}\n     but got ${Formatter.format(actual)}`)
}

/** Dies unless it is true. */
export function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`Expected that ${what}`)
}
