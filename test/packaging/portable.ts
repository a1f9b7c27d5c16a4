/** Exports effects as users write them, without type annotations. `scripts/smoke` compiles it to declarations. */
import {
  JobRunner,
  JobStates,
  Notifications,
  RateLimit,
  Reservations,
  RetryPolicy,
  ScheduledJobs,
  Stack,
  StackEvent,
  Stacks,
  StacksClient,
  StacksError
} from "@stacksapi/core"
import { AgentProviderContract, AgentProviderEmulator, StacksEmulator } from "@stacksapi/core/testing"
import { AgentRunner, CommandRunner, FileJobStore, HealthServer, NodeStacksClient } from "@stacksapi/node"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Match from "effect/Match"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"

// Every way to handle a failure.
export const call = StacksClient.StacksClient.use((client) => client.getJob({ stackKey: "s", jobUuid: "j" }))
export const notified = StacksClient.StacksClient.use((client) =>
  client.createStackNotification({ stackKey: "s", jobUuid: "j", detail: "d" })
)
export const caughtResponse = call.pipe(Effect.catchTag("ErrorResponse", (error) => Effect.succeed(error)))
export const caughtTransport = call.pipe(Effect.catchTag("TransportError", ({ kind }) => Effect.succeed(kind)))
export const caughtTwo = call.pipe(Effect.catchTag(["ErrorResponse", "DecodeError"], (error) => Effect.succeed(error)))
export const caughtTags = call.pipe(
  Effect.catchTags({
    DecodeError: ({ issue }) => Effect.succeed(issue),
    InvalidRequest: (error) => Effect.fail(error.issue)
  })
)
export const caughtRejection = notified.pipe(Effect.catchTag("NotificationRejected", (error) => Effect.succeed(error)))
export const caughtReason = call.pipe(
  Effect.catchReason("ErrorResponse", "NotFound", (reason, error) => Effect.succeed([reason, error] as const))
)
export const caughtReasons = call.pipe(
  Effect.catchReasons("ErrorResponse", {
    NotFound: (reason) => Effect.succeed(reason),
    RateLimited: ({ retryAfter }) => Effect.succeed(retryAfter)
  })
)
export const unwrapped = call.pipe(Effect.unwrapReason("ErrorResponse"))
export const onlyFatal = call.pipe(Effect.catchIf(StacksError.isRetryable, (error) => Effect.succeed(error)))
export const onlyRetryable = call.pipe(Effect.catchIf(StacksError.isFatal, (error) => Effect.succeed(error)))
export const flipped = Effect.flip(call)
export const result = Effect.result(call)
export const exit = Effect.exit(call)
export const matched = Effect.match(call, { onFailure: (error) => error, onSuccess: (job) => job })
export const sentence = Match.type<StacksError.StacksError>().pipe(
  Match.tag("ErrorResponse", (error) => error),
  Match.orElse((error) => error)
)
export const retried = Effect.retry(call, { while: StacksError.isRetryable, schedule: Schedule.recurs(2) })
export const withHeaders = StacksClient.withResponse(call)
export const withPolicy = RetryPolicy.withPolicy(call, RetryPolicy.none)

// Functions and generators.
export const find = Effect.fn("find")(function* (jobUuid: string) {
  const client = yield* StacksClient.StacksClient
  const page = yield* client.listScheduledJobs({ stackKey: "s", clusterQueueKey: "default" })
  if (page.jobs.length === 0) return yield* new StacksError.InvalidOptions({ option: "jobUuid", issue: "is unknown" })
  return page.jobs.find(({ id }) => id === jobUuid)
})
export const makeFailures = (error: StacksError.StacksError) => ({ error, isRetryable: error.isRetryable })

// Streams, batches and notifications.
export const watched = ScheduledJobs.watch({ stackKey: "s", clusterQueueKey: "default" })
export const pages = ScheduledJobs.pages({ stackKey: "s", clusterQueueKey: "default" }).pipe(Stream.runCollect)
export const settledWatch = watched.pipe(Stream.catchTag("ErrorResponse", (error) => Stream.succeed(error)))
export const reserved = Reservations.reserve({ stackKey: "s", jobUuids: [] })
export const states = JobStates.watch("s", "j")
export const announced = Notifications.notify("j", "Reserved").pipe(
  Effect.provide(Notifications.layer({ stackKey: "s" }))
)

// The runtime, runners and layers.
export const runner = JobRunner.layer(
  Effect.fn(function* ({ details, job, notify }) {
    yield* notify(job.id)
    const { command } = yield* details
    return JobRunner.Finished({ exitStatus: 0, detail: command })
  })
)
export const stack = Stack.run({ key: "s", queueKey: "default" })
export const handle = Stack.make({ key: "s", queueKey: "default" })
export const many = Stacks.make({ key: "s", queues: ["default"] })
export const event = StackEvent.StackEvent.$match
export const events = Effect.map(handle, (stack) => stack.events)
export const client = NodeStacksClient.layerConfig
export const limited = Layer.provide(client, RateLimit.layerMemory)
export const emulated = Layer.provideMerge(StacksEmulator.layerClient, StacksEmulator.layer())
export const provider = AgentProviderEmulator.layer()
export const contract = AgentProviderContract
export const runners = [AgentRunner.layer({ buildPath: "/tmp" }), CommandRunner.layer()] as const
export const services = Layer.mergeAll(FileJobStore.layer({ path: "jobs" }), HealthServer.layer({ port: 0 }))

// Classes of users' own, on top of ours.
export class Refused extends StacksError.BadRequest {}
export class Client extends Context.Service<Client, StacksClient.Service>()("Client") {
  static readonly layer = Layer.effect(Client, StacksClient.StacksClient)
}
