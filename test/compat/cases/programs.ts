/** Whole programs: a stack, settings from the environment, telemetry, the emulator in memory. */
import { JobRunner, RetryPolicy, Stack, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Fiber, Layer, Metric, Result, Tracer } from "effect"
import * as TestClock from "effect/testing/TestClock"
import { CurrentPlatform } from "../support/platform.ts"
import { Emulator, rawServer } from "../support/remote.ts"
import { type Cases, clientWith, must, queueKey, same, stackKey } from "../support/scene.ts"

const { Fault } = StacksEmulator

export const programs: Cases = {
  "a stack runs all jobs of its queue, in spite of faults, and leaves": Effect.gen(function* () {
    const emulator = yield* Emulator
    const ids = yield* emulator.addJobs(Array.from({ length: 60 }, (_, n) => ({ queueKey, command: String(n % 3) })))
    yield* emulator.setFaults([
      Fault.LostResponse({ operations: ["finishJob"], times: 2 }),
      Fault.Reset({ operations: ["getJob"], times: 2 }),
      Fault.Status({ status: 503, operations: ["listScheduledJobs", "batchReserveJobs"], times: 2 })
    ])
    const runner = JobRunner.layer(
      Effect.fn(function* ({ details, notify }) {
        yield* notify("Starting")
        const { command } = yield* details
        return JobRunner.Finished({ exitStatus: Number(command), detail: "done" })
      })
    )
    yield* Stack.runUntilIdle({ key: "stack", queueKey, maxInFlight: 20 }).pipe(Effect.provide(runner))
    const ended = yield* emulator.jobs
    same(
      ended.map(({ exitStatus, state }) => [state, exitStatus]),
      ids.map((_, n) => ["finished", n % 3])
    )
    same((yield* emulator.notifications).length, 60)
    same((yield* emulator.requests).at(-1)?.operation, "deregisterStack")
    const metrics = (yield* Metric.snapshot).map(({ id }) => id)
    must(metrics.includes("stacksapi_jobs"), `there are metrics: ${metrics}`)
  }),

  "a call has a span of its own for each attempt, and sends none of it": Effect.gen(function* () {
    const server = yield* rawServer({ body: JSON.stringify({ id: "a", env: {}, command: "" }) })
    const client = yield* clientWith({ baseUrl: server.baseUrl })
    const names: Array<string> = []
    const tracer = Tracer.make({
      span: (options) => {
        names.push(options.name)
        return Tracer.nativeTracer.span(options)
      }
    })
    yield* client.getJob({ stackKey, jobUuid: "a" }).pipe(Effect.provideService(Tracer.Tracer, tracer))
    must(names.length === 2 && names[0] === "StacksClient.getJob", `there are two spans: ${names}`)
    const { headers } = yield* server.request
    for (const name of ["traceparent", "tracestate", "b3"]) same(headers[name], undefined)
  }),

  "the emulator in memory works under the TestClock": Effect.gen(function* () {
    const emulator = yield* StacksEmulator.StacksEmulator
    const client = yield* StacksClient.StacksClient
    yield* client.registerStack({ key: stackKey, type: "custom", queueKey })
    yield* emulator.addJobs([{ queueKey, id: "job-1" }])
    yield* emulator.setFaults([Fault.LostResponse({ operations: ["finishJob"], times: 1 })])
    const finish = client.finishJob({ stackKey, jobUuid: "job-1", exitStatus: 0, detail: "Done" })
    const fiber = yield* finish.pipe(RetryPolicy.withPolicy(RetryPolicy.standard), Effect.forkChild)
    yield* TestClock.adjust("1 minute")
    yield* Fiber.join(fiber)
    same(
      (yield* emulator.jobs).map(({ state }) => state),
      ["finished"]
    )
  }).pipe(Effect.provide(Layer.mergeAll(StacksEmulator.layerTest(), TestClock.layer()))),

  "decoders are generated where that is allowed": Effect.gen(function* () {
    const { generated, generatesCode } = yield* CurrentPlatform
    const isAllowed = Result.isSuccess(Result.try(() => new Function("return 1")()))
    same([isAllowed, generated > 0], [generatesCode, generatesCode])
  })
}
