/**
 * Retry policies: which failures are retried, how often, and for how long. The emulator causes the failures.
 *
 *     node examples/retry-policies.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { RetryPolicy, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Console, Effect, Layer, Schedule } from "effect"

const { Fault } = StacksEmulator

const stackKey = "retries"

const getJob = Effect.gen(function* () {
  const client = yield* StacksClient.StacksClient
  return yield* client.getJob({ stackKey, jobUuid: "job-1" })
})

const listJobs = Effect.gen(function* () {
  const client = yield* StacksClient.StacksClient
  return yield* client.listScheduledJobs({ stackKey, clusterQueueKey: "examples" })
})

/** Runs an effect while the service has these faults, and prints how many requests arrived. */
const show = Effect.fn("show")(function* <A, E, R>(
  name: string,
  faults: ReadonlyArray<StacksEmulator.Fault>,
  effect: Effect.Effect<A, E, R>
) {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.setFaults(faults)
  const before = (yield* emulator.requests).length
  const exit = yield* Effect.exit(effect)
  const requests = (yield* emulator.requests).length - before
  yield* Console.log(`${name}: ${exit._tag}, requests: ${requests}`)
})

// A policy is an Effect Schedule: each recurrence is one more attempt. The delays are short, because this is an example.
const quick = RetryPolicy.make(Schedule.exponential("5 millis")).pipe(
  RetryPolicy.maxAttempts(4),
  RetryPolicy.honorRetryAfter({ max: "1 minute" })
)

// By operation: no retries for list calls, because the next poll is the retry. All other operations use `quick`.
const policies = RetryPolicy.layerFor({ listScheduledJobs: RetryPolicy.none }).pipe(
  Layer.provide(RetryPolicy.layer(quick))
)

// Limits the time instead of the number of attempts.
const patient = RetryPolicy.make(Schedule.spaced("20 millis")).pipe(RetryPolicy.maxElapsed("100 millis"))

// One budget for all callers: 20 calls that fail cost 20 requests and 5 retries, not 80.
const budgeted = quick.pipe(RetryPolicy.withBudget({ capacity: 5, perSecond: 1 }))

const program = Effect.gen(function* () {
  const outage = Fault.Status({ status: 503 })
  const twice = [Fault.Status({ status: 503, times: 2 })]

  yield* show("two failures, then an answer", twice, getJob)
  yield* show("four attempts at most", [outage], getJob)
  yield* show("a list call is not retried", twice, listJobs)
  yield* show("a 404 is never retried", [Fault.Status({ status: 404 })], getJob)
  yield* show("a proxy's HTML page", [Fault.Html({ times: 1 })], getJob)
  yield* show("a reset connection", [Fault.Reset({ times: 1 })], getJob)
  yield* show("Retry-After of 1 s", [Fault.Status({ status: 429, retryAfter: "1 second", times: 1 })], getJob)

  // Around one effect. The innermost policy wins.
  yield* show("none, for one call", twice, getJob.pipe(RetryPolicy.withPolicy(RetryPolicy.none)))
  yield* show("until 100 ms have passed", [outage], getJob.pipe(RetryPolicy.withPolicy(patient)))

  const calls = Effect.forEach(Array.from({ length: 20 }), () => Effect.exit(getJob), { concurrency: "unbounded" })
  yield* show("20 callers and a budget of 5", [outage], calls.pipe(RetryPolicy.withPolicy(budgeted)))
})

const emulated = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const client = yield* StacksClient.StacksClient
  yield* emulator.addJobs([{ queueKey: "examples", id: "job-1" }])
  yield* client.registerStack({ key: stackKey, type: "custom", queueKey: "examples" })
  yield* program
}).pipe(
  // Against Buildkite: NodeStacksClient.layerConfig instead of StacksEmulator.layerClient, and no faults.
  Effect.provide(StacksEmulator.layerClient.pipe(Layer.provide(policies), Layer.provideMerge(StacksEmulator.layer())))
)

NodeRuntime.runMain(emulated)
