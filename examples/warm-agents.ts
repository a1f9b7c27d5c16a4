/**
 * Warm agents: running machines that ask for work. The stack gives each job, with a token for it, to a waiting machine.
 *
 *     node examples/warm-agents.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner, Stack, StacksSchema } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Console, Context, Deferred, Effect, Layer, Logger, Queue, type Redacted } from "effect"

// -----------------------------------------------------------------------------
// The waiting machines
// -----------------------------------------------------------------------------

interface Work {
  readonly jobUuid: string
  readonly token: Redacted.Redacted
}

export class Idle extends Context.Service<Idle, Queue.Queue<Deferred.Deferred<Work>>>()("warm-agents/Idle") {
  static readonly layer = Layer.effect(Idle, Queue.unbounded<Deferred.Deferred<Work>>())
}

// A machine calls this to wait for a job. Serve it over your machines' protocol, and only to them, because a token runs a job.
// A machine that disconnects interrupts this, and gets no job.
export const nextWork = Effect.gen(function* () {
  const waiting = Deferred.makeUnsafe<Work>()
  yield* Queue.offer(yield* Idle, waiting)
  return yield* Effect.onInterrupt(Deferred.await(waiting), () => Deferred.interrupt(waiting))
})

// Gives the job to the machine that has waited longest. The token is issued when there is a machine.
const handOver = Effect.fnUntraced(function* ({ issueToken, job }: JobRunner.JobContext) {
  const idle = yield* Idle
  while (true) {
    const waiting = yield* Queue.take(idle)
    if (Deferred.isDoneUnsafe(waiting)) continue
    const { token } = yield* Effect.onError(issueToken, () => Queue.offer(idle, waiting))
    if (yield* Deferred.succeed(waiting, { jobUuid: job.id, token })) return
  }
})

// -----------------------------------------------------------------------------
// The stack
// -----------------------------------------------------------------------------

type State = StacksSchema.JobState | undefined
const isOver = (state: State) => state === undefined || StacksSchema.isFinal(state)
const isTaken = (state: State) => isOver(state) || (state !== undefined && StacksSchema.isAgentOwned(state))

export const Runner = JobRunner.layer(
  Effect.fnUntraced(function* (context) {
    const until = (isSo: (state: State) => boolean) =>
      Effect.repeat(Effect.delay(context.state, "1 second"), { until: isSo })
    // After a restart of the stack an agent may already have the job.
    if (!isTaken(yield* context.state)) {
      yield* handOver(context)
      const started = yield* Effect.timeoutOption(until(isTaken), "1 minute")
      const message = "The machine that got the job has not started its agent"
      // The stack starts the job again later, with another machine.
      if (started._tag === "None") return yield* new JobRunner.JobRunnerError({ message, isRetryable: true })
    }
    yield* until(isOver)
    return JobRunner.AgentOwned
  }),
  { outlivesStack: true }
)

// -----------------------------------------------------------------------------
// A demonstration
// -----------------------------------------------------------------------------

// A real machine runs `buildkite-agent start --acquire-job` with the token, and asks again after that has ended.
const machine = Effect.fnUntraced(function* (name: string) {
  const emulator = yield* StacksEmulator.StacksEmulator
  while (true) {
    const { jobUuid, token } = yield* nextWork
    yield* emulator.acquireJob(token)
    yield* Console.log(`${name} machine runs ${jobUuid}`)
    yield* emulator.completeJob(jobUuid, jobUuid === "lint" ? 1 : 0)
  }
})

const program = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs(["build", "lint", "test"].map((id) => ({ id, queueKey: "warm" })))
  for (const name of ["first", "second"]) yield* Effect.forkChild(machine(name))
  yield* Stack.runUntilIdle({ key: "warm-agents", queueKey: "warm", maxInFlight: 2 }).pipe(Effect.provide(Runner))
  for (const { exitStatus, id } of yield* emulator.jobs) yield* Console.log(`${id} finished with ${exitStatus}`)
})

if (import.meta.main)
  NodeRuntime.runMain(program.pipe(Effect.provide([Idle.layer, StacksEmulator.layerTest(), Logger.layer([])])))
