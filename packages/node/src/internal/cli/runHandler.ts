/** What `stacksapi run` does. */
import * as Stack from "@stacksapi/core/Stack"
import type { StackEvent } from "@stacksapi/core/StackEvent"
import * as Stacks from "@stacksapi/core/Stacks"
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as FileJobStore from "../../FileJobStore.ts"
import * as HealthServer from "../../HealthServer.ts"
import * as JobOutput from "../../JobOutput.ts"
import * as StackView from "../../StackView.ts"
import * as Access from "./access.ts"
import type { ClusterProcess } from "./cluster.ts"
import * as EmulatorLog from "./emulatorLog.ts"
import { Failed, Misused } from "./failure.ts"
import * as Flag from "./flag.ts"
import { Host } from "./host.ts"
import { importPeer } from "./optionalPeers.ts"
import { OutputMode } from "./outputMode.ts"
import { type RunInput, runFlags } from "./runFlags.ts"
import { layerRunner } from "./runner.ts"
import { StepLabels } from "./stepLabels.ts"
import * as Stop from "./stop.ts"
import { withClient } from "./withClient.ts"

export const handle = Effect.fnUntraced(
  function* (input: RunInput) {
    yield* checkUse(input)
    yield* warnOfFlags(input)
    yield* (yield* Host).expectStop
    const cluster = input.cluster ? yield* prepareCluster(input) : undefined
    const format = input.json ? "json" : input.format
    if (format === "json") (yield* OutputMode).isJson = true
    // Built in the outer scope, so that the runner and the view outlive the stack.
    const labels = new StepLabels()
    const forkUntilEnd = yield* makeForkUntilEnd
    const runner = labels.wrap(
      Context.merge(yield* Layer.build(layerRunner(input)), yield* Layer.build(layerStore(input)))
    )
    const output = Context.get(runner, JobOutput.JobOutput)
    if (input.runner === "command") yield* forkUntilEnd(sendToEmulator(input, output))
    const view = yield* StackView.make({
      format,
      output,
      printOutput: Option.getOrElse(input.jobOutput, () => input.runner === "command" && format !== "json"),
      labelOf: labels.of
    })
    let failures = 0
    yield* runStacks(input, view, cluster, () => failures++).pipe(
      Effect.scoped,
      Effect.catchTags({
        InvalidOptions: ({ message }) => Effect.fail(new Misused({ message })),
        JobStoreError: ({ message }) => Effect.fail(new Failed({ message }))
      }),
      // The view shows what the stack logs at the level Info.
      Effect.updateService(References.MinimumLogLevel, (level) => (level === "Info" ? "Warn" : level)),
      Effect.provideContext(runner),
      Effect.provide(Logger.layer([view.logger]))
    )
    if (failures > 0) return yield* new Failed({ message: failures === 1 ? "a job failed" : `${failures} jobs failed` })
  },
  Effect.scoped,
  withClient
)

/** Rejects flags that contradict each other, before anything starts. */
const checkUse = ({ cluster, onExit, queues, store, untilIdle }: RunInput) => {
  if (queues.length === 0) return new Misused({ message: "STACKSAPI_QUEUE names no queue" })
  const duplicate = queues.find((queue, index) => queues.indexOf(queue) < index)
  if (duplicate !== undefined) return new Misused({ message: `--queue ${duplicate} is given twice` })
  if (untilIdle && cluster) {
    return new Misused({ message: "--until-idle is for one process, and --cluster for several: use only one of them" })
  }
  if (cluster && Option.isSome(store)) {
    return new Misused({ message: "--store is for one process; a --cluster keeps its jobs in the database" })
  }
  if (cluster && Option.isSome(onExit)) return new Misused({ message: "--on-exit can't be used with --cluster" })
  if (untilIdle && queues.length > 1) return new Misused({ message: "--until-idle is for one --queue" })
  return Effect.void
}

/** Warns about flags that have no effect. They may come from variables, so they don't stop the command. */
const warnOfFlags = (input: RunInput) => {
  const uses = new Set<Flag.Use>([`--runner ${input.runner}`])
  if (input.cluster) uses.add("--cluster").add("--cluster and REDIS_URL")
  const withoutEffect = Effect.forEach(
    Flag.withoutEffect(runFlags, input, uses),
    ({ name, onlyWith }) => Effect.logWarning(`--${name} has no effect: it is for ${onlyWith}`),
    { discard: true }
  )
  return Stop.detaches(input) && input.runner !== "docker"
    ? Effect.andThen(
        withoutEffect,
        Effect.logWarning(
          `With --runner ${input.runner}, --on-exit detach stops the running jobs at once: only the containers of --runner docker ` +
            "outlive this process. Use --on-exit drain to let jobs end"
        )
      )
    : withoutEffect
}

const layerStore = (input: RunInput) =>
  Option.isSome(input.store)
    ? FileJobStore.layer({ path: input.store.value })
    : Layer.effectDiscard(
        Stop.detaches(input)
          ? Effect.logWarning(
              "Without --store, the next process does not know the jobs that --on-exit detach leaves: those that no agent has acquired " +
                "start again when their reservations lapse"
            )
          : Effect.void
      )

const prepareCluster = (input: RunInput) =>
  Effect.flatMap(
    importPeer("--cluster", () => import("./cluster.ts")),
    ({ prepare }) => prepare(input)
  )

/** Sends what jobs print to an emulator that asks for it. Agents send it themselves. */
const sendToEmulator = Effect.fnUntraced(function* (input: RunInput, output: JobOutput.Service) {
  const page = yield* EmulatorLog.find(yield* Access.endpoint(input))
  if (Option.isSome(page)) yield* EmulatorLog.send(page.value, output)
}, Effect.provide(EmulatorLog.layerClient))

/** Forks an effect that may still finish its work after everything else in this scope has closed. */
const makeForkUntilEnd = Effect.gen(function* () {
  const fibers: Array<Fiber.Fiber<void, unknown>> = []
  yield* Effect.addFinalizer(() =>
    Effect.forEach(fibers, (fiber) => Effect.timeoutOption(Fiber.await(fiber), EmulatorLog.flushTimeout))
  )
  return <E, R>(effect: Effect.Effect<void, E, R>) =>
    Effect.map(Effect.forkDetach(effect, { startImmediately: true }), (fiber) => void fibers.push(fiber))
})

/** Runs the stacks until they end. */
const runStacks = Effect.fnUntraced(function* (
  input: RunInput,
  view: StackView.View,
  cluster: ClusterProcess | undefined,
  onFailure: () => void
) {
  const health = Option.isSome(input.healthPort)
    ? yield* HealthServer.make({ host: input.healthHost, port: input.healthPort.value })
    : undefined
  if (health !== undefined) yield* view.print(`Health and metrics: ${health.url}`)
  let stacks: StackView.Watched | undefined
  const onStarted = (started: StackView.Watched) => {
    stacks = started
    return Effect.andThen(view.watch(started), health === undefined ? Effect.void : health.watch(started))
  }
  const explainingStop = <A, E, R>(running: Effect.Effect<A, E, R>) =>
    Effect.onInterrupt(running, () => Stop.explain(view, stacks, input))
  yield* cluster === undefined
    ? explainingStop(
        runHere(input, view, onStarted, (event) => {
          if (hasFailed(event)) onFailure()
          return event._tag === "RequestFailed" && health !== undefined
            ? health.explain(event.error.message)
            : Effect.void
        })
      )
    : explainingStop(cluster.run(view, onStarted))
})

/** Runs the stacks of this process until they end. */
const runHere = Effect.fnUntraced(function* (
  input: RunInput,
  view: StackView.View,
  onStarted: (started: StackView.Watched) => Effect.Effect<void>,
  onEvery: (event: StackEvent) => Effect.Effect<void>
) {
  const service = new Stop.ServiceWatch()
  const onEvent = (event: StackEvent, queueKey?: string) => {
    service.record(event)
    return Effect.andThen(onEvery(event), view.onEvent(event, queueKey))
  }
  const options = {
    key: input.key,
    maxInFlight: input.maxInFlight,
    tags: Option.getOrUndefined(input.tags),
    shutdownGrace: input.shutdownGrace * 1000,
    onClose: Option.getOrUndefined(input.onExit),
    metadata: { program: "stacksapi run" },
    onEvent
  }
  const client = yield* service.client
  const [queueKey, ...others] = input.queues
  if (queueKey === undefined || others.length > 0) {
    const stacks = yield* Effect.provideService(
      Stacks.make({ ...options, queues: input.queues }),
      StacksClient.StacksClient,
      client
    )
    yield* onStarted(stacks)
    return yield* stacks.awaitFailure
  }
  const stack = yield* Effect.provideService(Stack.make({ ...options, queueKey }), StacksClient.StacksClient, client)
  yield* onStarted(stack)
  yield* input.untilIdle ? Effect.raceFirst(stack.awaitIdle, stack.awaitFailure) : stack.awaitFailure
})

const hasFailed = (event: StackEvent): boolean =>
  event._tag === "Failed" || event._tag === "FinishRejected" || (event._tag === "Finished" && event.exitStatus !== 0)
