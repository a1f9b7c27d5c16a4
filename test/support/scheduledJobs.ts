/** Queues of the emulator and of scripted services, for tests of ScheduledJobs. */
import { ScheduledJobs, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { DateTime, type Duration, Effect, Layer, Stream } from "effect"
import type { HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { scheduledJob } from "./samples.ts"
import * as Scripted from "./scripted.ts"

export const request = { stackKey: "s", clusterQueueKey: "q" }

/** The emulator, with the stack `s` registered for the queue `q`. */
export const emulated = Layer.effectDiscard(
  Effect.flatMap(StacksClient.StacksClient, (client) =>
    client.registerStack({ key: "s", type: "custom", queueKey: "q" })
  )
).pipe(Layer.provideMerge(StacksEmulator.layerClient), Layer.provideMerge(StacksEmulator.layer()))

/** The requests for pages that arrived. */
export const listed = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  return (yield* emulator.requests).filter((request) => request.operation === "listScheduledJobs")
})

/** When the pages were asked for, in milliseconds. */
export const listedAt = Effect.map(listed, (requests) => requests.map(({ time }) => DateTime.toEpochMillis(time)))

export const emulator = <A>(f: (emulator: StacksEmulator.Service) => Effect.Effect<A>) =>
  Effect.flatMap(StacksEmulator.StacksEmulator, f)

export const numbered = (count: number) => Array.from({ length: count }, (_, index) => `j${index}`)

export const at = (millis: number) => DateTime.makeUnsafe(millis)

/** A client whose service answers each list request with the page of a script. */
export const scripted = (
  pageFor: (after: string | null, index: number) => Effect.Effect<unknown> | unknown,
  options?: { readonly onAbort?: () => void }
) => {
  const service = Scripted.make((sent, index) => {
    const answer = pageFor(new URL(sent.url).searchParams.get("after"), index)
    const respond = (body: unknown) => Scripted.json(200, body)(sent, index) as HttpServerResponse.HttpServerResponse
    return Effect.isEffect(answer)
      ? Effect.map(answer as Effect.Effect<unknown>, respond).pipe(
          Effect.onInterrupt(() => Effect.sync(() => options?.onAbort?.()))
        )
      : respond(answer)
  })
  return { service, layer: Layer.effect(StacksClient.StacksClient, Scripted.client(service)) }
}

export const page = (
  ids: ReadonlyArray<string>,
  endCursor: string | null = null,
  hasNextPage = endCursor !== null
) => ({
  jobs: ids.map((id) => ({ ...scheduledJob, id, runnable_at: null })),
  cluster_queue: { id: null, dispatch_paused: false },
  page_info: { has_next_page: hasNextPage, end_cursor: endCursor }
})

/** Runs a watch in the background, and gives the ids that it has emitted since they were last asked for. */
export const watching = Effect.fnUntraced(function* (options: Partial<ScheduledJobs.WatchRequest> = {}) {
  const ids: Array<string> = []
  const fiber = yield* ScheduledJobs.watch({ ...request, ...options }).pipe(
    Stream.runForEach((job) => Effect.sync(() => ids.push(job.id))),
    Effect.forkScoped
  )
  const next = (time: Duration.Input) => Effect.map(TestClock.adjust(time), () => ids.splice(0))
  return { fiber, next }
})
