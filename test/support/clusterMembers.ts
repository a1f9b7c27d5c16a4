/** Processes of a cluster that are none: they share this one, and are stopped in order. */
import { JobRunner } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksClient } from "@stacksapi/node"
import * as ClusterStack from "@stacksapi/node/ClusterStack"
import { Clock, Effect, Fiber, Layer, Scope } from "effect"
import * as Postgres from "./postgres.ts"
import { RunRecorder } from "./runRecorder.ts"

export interface Member extends ClusterStack.Service {
  /** Stops it as SIGTERM does a process; done when it has ended. */
  readonly stop: Effect.Effect<void>
}

export type Run = (context: JobRunner.JobContext) => Effect.Effect<JobRunner.JobOutcome, JobRunner.JobRunnerError>

const passed = JobRunner.Finished({ exitStatus: 0, detail: "done" })

/** Takes as many milliseconds as the job's command says. */
const sleep: Run = ({ details }) =>
  details.pipe(
    Effect.orDie,
    Effect.flatMap(({ command }) => Effect.sleep(Number(command))),
    Effect.as(passed)
  )

export interface StartOptions {
  readonly run?: Run | undefined
  /** Of the client. Default none. */
  readonly limits?: Layer.Layer<never> | undefined
  /** How this one reaches the database, if otherwise than the others. */
  readonly databaseUrl?: string | undefined
  /** Its client of the database, if otherwise than those of the others. */
  readonly database?: ReturnType<typeof Postgres.layerClient> | undefined
}

/** A cluster without members yet. */
export const make = Effect.fnUntraced(function* (clusterUrl: string) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const scope = yield* Effect.scope
  const recorder = new RunRecorder()
  let count = 0

  const start = Effect.fnUntraced(function* (
    options: ClusterStack.Options,
    { database, databaseUrl = clusterUrl, limits = Layer.empty, run = sleep }: StartOptions = {}
  ) {
    const name = `m${++count}`
    const told = (jobUuid: string, type: "began" | "ended") =>
      Effect.map(Clock.currentTimeMillis, (at) => recorder.saw(name, { type, jobUuid, at }))
    const runner = JobRunner.layer((context) =>
      Effect.andThen(told(context.job.id, "began"), run(context)).pipe(Effect.ensuring(told(context.job.id, "ended")))
    )
    const client = NodeStacksClient.layer({
      token: emulator.token,
      baseUrl: emulator.baseUrl,
      userAgentPrefix: name
    }).pipe(Layer.provide(limits))
    const own = yield* Scope.fork(scope)
    const context = yield* Layer.build(
      Layer.fresh(Layer.mergeAll(runner, client, database ?? Postgres.layerClient(databaseUrl)))
    ).pipe(Scope.provide(own))
    const service = yield* ClusterStack.make({ name, ...options }).pipe(
      Effect.provideContext(context),
      Scope.provide(own)
    )
    const running = yield* Effect.never.pipe(
      Effect.onExit((exit) => Scope.close(own, exit)),
      Effect.forkDetach({ startImmediately: true })
    )
    return { ...service, stop: Fiber.interrupt(running) }
  })
  return { start, recorder }
})

/** A cluster on a database of its own, of the server that the tests of a file share. */
export const onServer = Effect.gen(function* () {
  const { createDatabase } = yield* Postgres.Server
  const databaseUrl = yield* createDatabase
  return { databaseUrl, ...(yield* make(databaseUrl)) }
})
