/** Jobs run by stand-in agents, against the emulator over HTTP. */
import { JobRunner, RateLimit, type Stack, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { AgentRunner, JobOutput, NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Layer, Logger } from "effect"
import type { Plan } from "./standInAgent.ts"
import { type StandIn, standIn } from "./standInAgentSetup.ts"

/** The emulator, and a client of it that nothing slows down. */
export const service = Layer.mergeAll(
  NodeStacksEmulator.layerClient.pipe(Layer.provideMerge(NodeStacksEmulator.layer({ rateLimits: false }))),
  RateLimit.layerNone,
  Logger.layer([])
)

/** A runner that starts stand-ins. */
export const runner = ({ agentPath, buildPath, env }: StandIn, options: Partial<AgentRunner.Options> = {}) =>
  Layer.unwrap(
    Effect.map(StacksEmulator.StacksEmulator, ({ baseUrl }) =>
      AgentRunner.layer({
        agentPath,
        buildPath,
        endpoint: baseUrl,
        cancelGracePeriod: "1 second",
        ...options,
        env: { ...env, ...options.env }
      })
    )
  )

export const stackOptions = { key: "s", queueKey: "q", maxInFlight: 8, shutdownGrace: 0 } satisfies Stack.Options

/** Reserves a new job for stack `s`; gives what a runner gets of it, and what it said on the job's page. */
export const reserved = Effect.fnUntraced(function* (job: Partial<StacksEmulator.NewJob> = {}) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const client = yield* StacksClient.StacksClient
  yield* client.registerStack({ key: "s", type: "custom", queueKey: "q" })
  const [added] = yield* emulator.addJobs([{ queueKey: "q", ...job }])
  const jobUuid = added?.id ?? (yield* Effect.die("no job"))
  const { jobs } = yield* client.listScheduledJobs({ stackKey: "s", clusterQueueKey: "q" })
  const listed = jobs.find(({ id }) => id === jobUuid) ?? (yield* Effect.die("not listed"))
  yield* client.batchReserveJobs({ stackKey: "s", jobUuids: [jobUuid] })
  const notes: Array<string> = []
  const context: JobRunner.JobContext = {
    job: listed,
    stackKey: "s",
    queueKey: "q",
    stopRequested: Effect.never,
    issueToken: Effect.die("not asked for"),
    requests: {},
    details: client.getJob({ stackKey: "s", jobUuid }),
    acquisitionToken: client
      .issueJobAcquisitionTokens({ stackKey: "s", jobUuids: [jobUuid] })
      .pipe(
        Effect.flatMap(({ tokens: [issued] }) =>
          issued === undefined
            ? Effect.fail(new JobRunner.JobRunnerError({ message: "not issued" }))
            : Effect.succeed(issued.token)
        )
      ),
    state: client.getJobStates({ stackKey: "s", jobUuids: [jobUuid] }).pipe(
      Effect.map(({ states }) => states[jobUuid]),
      Effect.orDie
    ),
    notify: (text) => Effect.sync(() => void notes.push(text))
  }
  return { jobUuid, context, notes, job: Effect.map(emulator.jobs, (all) => all.find(({ id }) => id === jobUuid)) }
})

/** Runs one job by an agent with a plan; gives how that ended, what was said, and the job then. The service may tell another state of it. */
export const runOne = Effect.fnUntraced(function* (
  plan: Plan,
  options: Partial<AgentRunner.Options> = {},
  job: Partial<StacksEmulator.NewJob> = {},
  state?: string
) {
  const agents = yield* standIn
  yield* agents.setPlans({ "*": plan })
  const one = yield* reserved(job)
  return yield* Effect.gen(function* () {
    const { run } = yield* JobRunner.JobRunner
    const output = yield* JobOutput.JobOutput
    const result = yield* Effect.result(
      run(state === undefined ? one.context : { ...one.context, state: Effect.succeed(state) })
    )
    return { ...one, result, job: yield* one.job, tail: yield* output.tail(one.jobUuid) }
  }).pipe(Effect.provide(runner(agents, options)))
}, Effect.scoped)
