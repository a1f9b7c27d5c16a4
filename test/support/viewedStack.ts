/** A program with a stack that is watched on its standard output: `node viewedStack.ts '{"jobs": 20}'`. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { type JobOutput, StackView } from "@stacksapi/node"
import { Effect, Layer, Logger, Stream } from "effect"

export interface Scenario {
  /** How many jobs pass at once. Default none. */
  readonly quick?: number
  /** How many jobs never end. Default none. */
  readonly endless?: number
  readonly slots?: number
  /** What each job prints. */
  readonly output?: string
  readonly format?: StackView.Format
  /** What happens when all jobs run that will: `crash` and `exit` are those of the process. Default nothing. */
  readonly end?: "crash" | "exit" | "idle"
  /** Whether signals are left to Node. */
  readonly isBare?: boolean
}

const queueKey = "q"

const program = ({ endless = 0, format, output = "", quick = 0, slots = 8, end }: Scenario) =>
  Effect.gen(function* () {
    const emulator = yield* StacksEmulator.StacksEmulator
    yield* emulator.addJobs([
      ...Array.from({ length: quick }, (_, index) => ({
        queueKey,
        command: `${index}`,
        pipeline: { slug: "web" },
        build: { number: 7 },
        step: { key: `quick-${index}` }
      })),
      ...Array.from({ length: endless }, (_, index) => ({
        queueKey,
        command: "endless",
        pipeline: { slug: "web" },
        build: { number: 7 },
        step: { key: `endless-${index}` }
      }))
    ])
    const view = yield* StackView.make({
      format,
      output: { lines: Stream.empty, tail: () => Effect.succeed(["earlier", output]) } satisfies JobOutput.Service
    })
    yield* Effect.gen(function* () {
      const stack = yield* Stack.make({
        key: "my-stack",
        queueKey,
        maxInFlight: slots,
        shutdownGrace: 0,
        onEvent: view.onEvent
      })
      yield* view.watch(stack)
      yield* Effect.logWarning("look out")
      if (end === "idle") return yield* stack.awaitIdle
      while ((yield* stack.status).inFlight.length < Math.min(slots, endless)) yield* Effect.sleep("10 millis")
      yield* Effect.sleep("300 millis")
      if (end === "crash") setTimeout(() => Promise.reject(new Error("crashed")))
      if (end === "exit") process.exit(7)
      return yield* stack.awaitFailure
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([view.logger])))
  }).pipe(
    Effect.scoped,
    Effect.provide(
      Layer.mergeAll(
        NodeServices.layer,
        JobRunner.layer(({ details }) =>
          Effect.flatMap(details, ({ command }) =>
            command === "endless"
              ? Effect.never
              : Effect.succeed(JobRunner.Finished({ exitStatus: Number(command) % 5 === 4 ? 1 : 0, detail: "ended" }))
          )
        ),
        StacksEmulator.layerClient.pipe(Layer.provideMerge(StacksEmulator.layer()))
      )
    )
  )

const scenario: Scenario = JSON.parse(process.argv[2] ?? "{}")
if (scenario.isBare) Effect.runFork(program(scenario))
else NodeRuntime.runMain(program(scenario))
