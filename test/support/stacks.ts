/** Stacks under test: what most of their tests set up and look at. */
import { JobRunner, Stack, type StackEvent, type StacksApi, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Duration, Effect, Exit, Fiber, Layer, Random, Stream } from "effect"
import { HttpClient, type HttpClientError, type HttpClientRequest, type HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { testClock } from "./testClock.ts"

/** An emulator, a client of it, and a TestClock that is the same on a slow machine as on a fast one. */
export const emulated = (options?: StacksEmulator.Options) =>
  StacksEmulator.layerClient.pipe(Layer.provideMerge(StacksEmulator.layer(options)), Layer.provideMerge(testClock))

/** A client of the emulator whose answers go through a function. */
export const clientVia = (
  f: (
    request: HttpClientRequest.HttpClientRequest,
    response: Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>
  ) => Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>
): Layer.Layer<StacksClient.StacksClient, never, StacksEmulator.StacksEmulator> =>
  Layer.effect(
    StacksClient.StacksClient,
    Effect.gen(function* () {
      const { baseUrl, token } = yield* StacksEmulator.StacksEmulator
      const http = HttpClient.transform(yield* HttpClient.HttpClient, (response, request) => f(request, response))
      return yield* Effect.provideService(StacksClient.make({ baseUrl, token }), HttpClient.HttpClient, http)
    })
  ).pipe(Layer.provide(StacksEmulator.layerHttpClient))

export type Run = (context: JobRunner.JobContext) => Effect.Effect<JobRunner.JobOutcome, unknown>

export const done = JobRunner.Finished({ exitStatus: 0, detail: "done" })

/** A runner that takes a time, and then is done. */
export const takes =
  (duration: Duration.Input): Run =>
  () =>
    Effect.as(Effect.sleep(duration), done)

interface Started extends Stack.Service {
  /** What has happened so far. */
  readonly seen: ReadonlyArray<StackEvent.StackEvent>
  /** The names of the events so far, those of polls left out. */
  readonly names: () => ReadonlyArray<string>
}

/**
 * A stack on queue `q` that runs until the scope closes, and then lets nothing have its time. Where the test has failed,
 * time goes by itself from there on: what ends the stack may have to wait, and nobody else would let time pass.
 */
export const start = Effect.fnUntraced(function* (run: Run, options: Partial<Stack.Options> = {}) {
  let time: Fiber.Fiber<never> | undefined
  yield* Effect.addFinalizer(() => (time === undefined ? Effect.void : Fiber.interrupt(time)))
  const stack = yield* Stack.make({ key: "s", queueKey: "q", shutdownGrace: 0, ...options }).pipe(
    Effect.provide(JobRunner.layer(run)),
    Random.withSeed("stack")
  )
  yield* Effect.addFinalizer(
    Effect.fnUntraced(function* (exit) {
      if (Exit.isFailure(exit)) time = yield* Effect.forkDetach(Effect.forever(TestClock.adjust("1 second")))
    })
  )
  const seen: Array<StackEvent.StackEvent> = []
  yield* stack.events.pipe(
    Stream.runForEach((event) => Effect.sync(() => void seen.push(event))),
    Effect.forkDetach({ startImmediately: true })
  )
  const started: Started = {
    ...stack,
    seen,
    names: () => seen.map(({ _tag }) => _tag).filter((tag) => tag !== "Polled")
  }
  return started
})

export const addJobs = Effect.fnUntraced(function* (count: number, job: Partial<StacksEmulator.NewJob> = {}) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const jobs = yield* emulator.addJobs(Array.from({ length: count }, () => ({ queueKey: "q", ...job })))
  return jobs.map(({ id }) => id)
})

/** How many jobs there are of each kind; a kind is the state, with the exit status where there is one. */
export const census = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const counts: Record<string, number> = {}
  for (const { exitStatus, state } of yield* emulator.jobs) {
    const kind = exitStatus === undefined ? state : `${state} ${exitStatus}`
    counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
})

export const jobOf = Effect.fnUntraced(function* (id: string) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const job = (yield* emulator.jobs).find((job) => job.id === id)
  return job ?? (yield* Effect.die(`no job ${id}`))
})

/** How many requests of an operation have arrived. */
export const countOf = Effect.fnUntraced(function* (operation: StacksApi.Operation) {
  const emulator = yield* StacksEmulator.StacksEmulator
  return (yield* emulator.requests).filter((request) => request.operation === operation).length
})

/** Lets time pass in steps until an effect has ended, at most so long; gives its exit, and how long it took. */
export const within = <A, E, R>(
  most: Duration.Input,
  effect: Effect.Effect<A, E, R>,
  step: Duration.Input = "1 second"
) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    const end = Duration.toMillis(Duration.fromInputUnsafe(most))
    const millis = Duration.toMillis(Duration.fromInputUnsafe(step))
    let passed = 0
    while (fiber.pollUnsafe() === undefined && passed < end) {
      yield* TestClock.adjust(millis)
      passed += millis
    }
    if (fiber.pollUnsafe() === undefined) return yield* Effect.die(`nothing within ${passed / 1000} s`)
    return { exit: yield* Fiber.await(fiber), passed: Duration.millis(passed) }
  })

/** One fault of each kind, each striking so often that together they strike with the probability `rate`. */
export const everyFault = (rate: number): ReadonlyArray<StacksEmulator.Fault> => {
  const { Fault } = StacksEmulator
  const kinds = 9
  // Those in front leave fewer requests to those behind.
  const share = (index: number) => ({ rate: rate / kinds / (1 - (rate / kinds) * index) })
  return [
    Fault.Status({ status: 500, ...share(0) }),
    Fault.Status({ status: 503, retryAfter: "2 seconds", ...share(1) }),
    Fault.Status({ status: 429, ...share(2) }),
    Fault.Html(share(3)),
    Fault.Malformed(share(4)),
    Fault.Reset(share(5)),
    Fault.Stall({ duration: "20 seconds", ...share(6) }),
    Fault.Truncate(share(7)),
    Fault.LostResponse(share(8))
  ]
}

/** Lets time pass so slowly that what happens at one moment has happened before the next. */
export const slowly = Effect.fnUntraced(function* (duration: Duration.Input, step: Duration.Input = "10 millis") {
  const millis = Duration.toMillis(Duration.fromInputUnsafe(duration))
  const stepMillis = Duration.toMillis(Duration.fromInputUnsafe(step))
  for (let passed = 0; passed < millis; passed += stepMillis) {
    yield* TestClock.adjust(stepMillis)
    for (let turn = 0; turn < 100; turn++) yield* Effect.yieldNow
  }
})
