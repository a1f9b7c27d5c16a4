/** A cluster whose statements fail one by one: done or not, told or not, or done much later. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { type Duration, Effect, Redacted } from "effect"
import type { Storage } from "../../../packages/node/src/internal/cluster/storage.ts"
import type { Fault } from "../../support/clusterStorage.ts"
import * as Simulated from "../../support/simulatedCluster.ts"

const { during, isProcessDeath, simulated, until } = Simulated

/** What makes a statement occur. Each process sends most of them by itself, again and again. */
interface Occurrence {
  /** Whether the statement occurs only once in a while, so that its first one fails. */
  readonly isRare?: boolean
  /** Jobs that agents run are canceled. */
  readonly withCancellations?: boolean
  /** The answers to the first claims of jobs are lost. */
  readonly withLostClaim?: boolean
  /** How long the cluster has no jobs at first. */
  readonly idle?: Duration.Input
}

/** All statements: one that is added to the storage needs a case here. */
const statements: Readonly<Record<keyof Storage, Occurrence>> = {
  join: { isRare: true },
  heartbeat: {},
  leave: { isRare: true },
  deleteExpired: { isRare: true },
  snapshot: {},
  take: { isRare: true },
  resign: { isRare: true },
  load: { isRare: true },
  save: {},
  remove: {},
  offer: {},
  requestStop: { isRare: true, withCancellations: true },
  ended: {},
  claim: {},
  end: {},
  giveBack: { isRare: true, withLostClaim: true },
  listen: { isRare: true },
  notify: { isRare: true, idle: "10 seconds" },
  collectGarbage: { isRare: true, idle: "11 minutes" }
}

const jobs = 16

interface Scenario {
  readonly operation: keyof Storage
  readonly fault: Fault
  /** How many statements in a row fail. */
  readonly count: number
  readonly isKilled: boolean
  readonly onProcessDeath: "fail" | "retry"
}

/** The statements of this name, of all processes, that fail, and whether they did. */
const failing = ({ count, fault, operation }: Scenario) => {
  const { isRare = false, withLostClaim = false } = statements[operation]
  const first = isRare ? 1 : 2
  let seen = 0
  let failed = 0
  let lostClaims = 0
  return {
    failed: () => failed,
    loseClaims: () => {
      lostClaims = withLostClaim ? 3 : 0
    },
    latency: () => 3,
    next: (name: keyof Storage): Fault | undefined => {
      if (name === "claim" && lostClaims-- > 0) return "notTold"
      if (name !== operation) return undefined
      seen++
      if (seen < first || seen >= first + count) return undefined
      failed++
      return fault
    }
  }
}

/** Three jobs whose agents are canceled. Returns once each runner was told. */
const cancelSome = Effect.fnUntraced(function* (cluster: Simulated.Simulation, told: ReadonlySet<string>) {
  const { jobs } = yield* StacksEmulator.StacksEmulator
  const canceled = yield* cluster.addJobs(3, () => 0)
  const areRunning = Effect.map(
    jobs,
    (all) => all.filter(({ id, state }) => canceled.includes(id) && state === "running").length === canceled.length
  )
  yield* until(areRunning)
  for (const jobUuid of canceled) yield* cluster.cancel(jobUuid)
  yield* until(Effect.sync(() => canceled.every((jobUuid) => told.has(jobUuid))))
})

/** Sleeps as long as the job's command says, or, without a time, hands it to an agent that ends when it is canceled. */
const makeRun = Effect.gen(function* () {
  const { acquireJob, completeJob } = yield* StacksEmulator.StacksEmulator
  const told = new Set<string>()
  const run: Simulated.Run = (context) =>
    Effect.gen(function* () {
      const { acquisitionToken, job, stopRequested } = context
      if (Number((yield* context.details).command) > 0) return yield* Simulated.sleeps(context)
      yield* acquireJob(Redacted.make(Redacted.value(yield* acquisitionToken)))
      assert.strictEqual(yield* stopRequested, "Canceled")
      told.add(job.id)
      yield* completeJob(job.id, 0)
      return JobRunner.AgentOwned
    })
  return { run, told }
})

/** Jobs, three processes, of which one leaves in the middle and one is killed. */
const play = (scenario: Scenario) =>
  simulated(
    Effect.gen(function* () {
      const { isKilled, onProcessDeath, operation } = scenario
      const { idle, withCancellations = false } = statements[operation]
      const faults = failing(scenario)
      const cluster = yield* Simulated.make
      const { run, told } = yield* makeRun
      const one = { slots: 4, faults, onProcessDeath, run }
      const first = yield* cluster.start(one)
      if (idle !== undefined) yield* during(Effect.sleep(idle))
      const members = [first, yield* cluster.start(one), yield* cluster.start(one)]
      if (withCancellations) yield* cancelSome(cluster, told)
      faults.loseClaims()
      yield* cluster.addJobs(jobs, (index) => 100 + ((index * 37) % 900))
      yield* until(cluster.areOver(4 + told.size))
      if (isKilled) members[1]?.kill()
      yield* during(members[0]?.stop ?? Effect.void)
      yield* until(cluster.allOver)
      const violations = yield* cluster.violations
      const allowed = isKilled && onProcessDeath === "fail"
      assert.isEmpty(violations.filter((violation) => !(allowed && isProcessDeath(cluster, violation))))
      // Nothing but the death of its process makes a job run again.
      if (!isKilled) assert.lengthOf(cluster.runs, jobs + told.size)
      yield* until(Effect.sync(() => cluster.database.jobs.size === 0))
      yield* during(Effect.forEach(members, ({ stop }) => stop, { concurrency: "unbounded" }))
      // Nobody's row expires where nobody dies.
      if (isKilled || operation !== "deleteExpired") assert.isAbove(faults.failed(), 0)
    })
  )

describe("A cluster loses no job, and runs none twice, though", () => {
  for (const fault of ["notDone", "notTold", "late"] as const) {
    const what = { notDone: "is not done", notTold: "is done and not told", late: "is done much later" }[fault]
    for (const operation of Object.keys(statements) as ReadonlyArray<keyof Storage>) {
      it.effect(`the statement ${operation} ${what}`, () =>
        Effect.gen(function* () {
          const one = { operation, fault }
          yield* play({ ...one, count: 1, isKilled: false, onProcessDeath: "fail" })
          // The statement fails before the first job.
          if (statements[operation].idle !== undefined) return
          yield* play({ ...one, count: 2, isKilled: true, onProcessDeath: "retry" })
          yield* play({ ...one, count: 2, isKilled: true, onProcessDeath: "fail" })
        })
      )
    }
  }
})
