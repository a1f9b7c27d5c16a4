/**
 * Step 5: a machine for each job. One job is canceled, one machine breaks, and one job continues while the stack restarts.
 *
 *     node examples/guide/05-cancel-and-shutdown.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner, JobStore, Stack, StacksSchema } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Console, Context, Deferred, Effect, Fiber, Layer, Logger, type Redacted, Stream } from "effect"

// -----------------------------------------------------------------------------
// Machines
// -----------------------------------------------------------------------------

// Your cloud's API. A machine starts an agent for one job, and switches itself off when the agent has ended.
class Machines extends Context.Service<
  Machines,
  {
    readonly has: (name: string) => Effect.Effect<boolean>
    readonly create: (name: string, token: Redacted.Redacted) => Effect.Effect<void>
    readonly awaitOff: (name: string) => Effect.Effect<void>
    readonly delete: (name: string) => Effect.Effect<void>
  }
>()("guide/Machines") {}

// The long job ends after the stack has restarted.
const restarted = Deferred.makeUnsafe<void>()

const until = (emulator: StacksEmulator.Service, jobUuid: string, state: StacksSchema.JobState) =>
  Effect.map(emulator.jobs, (jobs) => jobs.find(({ id }) => id === jobUuid)?.state).pipe(
    Effect.delay("100 millis"),
    Effect.repeat({ until: (now) => now === state })
  )

// Simulated machines. They are not part of the stack's process, and continue when it ends.
const Cloud = Layer.effect(
  Machines,
  Effect.gen(function* () {
    const emulator = yield* StacksEmulator.StacksEmulator
    const machines = new Map<string, Fiber.Fiber<void>>()

    const agent = Effect.fn(
      function* (jobUuid: string, token: Redacted.Redacted) {
        if (jobUuid === "broken") return
        yield* emulator.acquireJob(token)
        switch (jobUuid) {
          case "long":
            yield* Deferred.await(restarted)
            break
          case "canceled":
            yield* until(emulator, jobUuid, "canceling")
            // An agent stops the job's processes, runs its hooks, and uploads its log.
            yield* Effect.sleep("2 seconds")
        }
        yield* emulator.completeJob(jobUuid, 0)
      },
      Effect.catch((error) => Console.log(error.message))
    )

    return {
      has: (name) => Effect.sync(() => machines.has(name)),
      create: Effect.fn(function* (name, token) {
        yield* Console.log(`${name}: machine up`)
        machines.set(name, yield* Effect.forkDetach(agent(name, token)))
      }),
      awaitOff: Effect.fn(function* (name) {
        const machine = machines.get(name)
        if (machine !== undefined) yield* Fiber.await(machine)
      }),
      delete: Effect.fn(function* (name) {
        yield* Console.log(`${name}: machine down`)
        machines.delete(name)
      })
    }
  })
)

// -----------------------------------------------------------------------------
// The runner
// -----------------------------------------------------------------------------

// Whether an agent is running a job, and was not told to end it.
const isAtWork = (state: StacksSchema.JobState | undefined) =>
  state !== undefined && StacksSchema.isAgentOwned(state) && state !== "canceling" && state !== "timing_out"

const Runner = JobRunner.layer(
  Effect.fn(function* ({ acquisitionToken, job, state, stopRequested }) {
    const machines = yield* Machines
    // After a restart the machine may already exist, with an agent that has the job.
    const create = (yield* machines.has(job.id)) ? Effect.void : machines.create(job.id, yield* acquisitionToken)
    // Released when this run ends, however it ends.
    yield* Effect.acquireRelease(
      create,
      Effect.fn(function* () {
        // Never delete a machine whose agent is working: that would kill the job.
        if (isAtWork(yield* state)) yield* Console.log(`${job.id}: machine stays`)
        else yield* machines.delete(job.id)
      })
    )
    yield* stopRequested.pipe(
      Effect.tap((reason) => Console.log(`${job.id}: stop requested, ${reason}`)),
      Effect.forkScoped
    )
    yield* machines.awaitOff(job.id)
    // The agent has exited. The stack finishes the job if that agent never acquired it.
    return JobRunner.AgentOwned
  }),
  { outlivesStack: true }
)

// -----------------------------------------------------------------------------
// The program
// -----------------------------------------------------------------------------

const options: Stack.Options = {
  key: "guide",
  queueKey: "_default",
  // How often the stack reads whether a job was canceled.
  stateInterval: "1 second",
  // How long the agent of a canceled job may take to end it, before the runner is interrupted.
  cancelGrace: "10 seconds",
  // Stop at once, and leave the jobs to the next process.
  onClose: "detach"
}

const program = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs(["canceled", "short", "broken", "long"].map((id) => ({ id, queueKey: "_default" })))

  // The first process.
  yield* Effect.gen(function* () {
    const stack = yield* Stack.make(options)
    const canceled = yield* stack.events.pipe(
      Stream.filter((event) => event._tag === "Canceled"),
      Stream.take(1),
      Stream.runDrain,
      Effect.forkChild
    )
    for (const jobUuid of ["canceled", "long"]) yield* until(emulator, jobUuid, "running")
    // A user cancels a job in Buildkite. Its agent ends it.
    yield* emulator.cancelJob("canceled")
    yield* Fiber.join(canceled)
    yield* Console.log("restarting")
    // The scope ends here, as after SIGTERM: the stack detaches.
  }).pipe(Effect.scoped)

  // The next process continues with the running job.
  yield* Stack.runUntilIdle({
    ...options,
    onClose: "drain",
    onEvent: (event) => (event._tag === "Started" ? Deferred.succeed(restarted, undefined) : Effect.void)
  })

  for (const { exitStatus, id, signalReason, state } of yield* emulator.jobs) {
    yield* Console.log([id, state, exitStatus, signalReason].filter((it) => it !== undefined).join(" "))
  }
})

const Emulated = Layer.provideMerge(NodeStacksEmulator.layerClient, NodeStacksEmulator.layer())
NodeRuntime.runMain(
  program.pipe(
    Effect.provide([
      Layer.provide(Runner, Cloud),
      // Real processes need a store in a file, such as FileJobStore of @stacksapi/node.
      JobStore.layerMemory
    ]),
    Effect.provide([Emulated, Logger.layer([])])
  )
)
