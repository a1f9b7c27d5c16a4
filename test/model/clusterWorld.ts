/**
 * Random worlds of a cluster: three processes on a simulated database that loses requests and answers, is late, and is cut off, while
 * processes are killed, stopped and started, and jobs are canceled. The processes may list different queues, and differ in
 * `lockExpiration`.
 */
import { JobRunner } from "@stacksapi/core"
import { isFinal } from "@stacksapi/core/StacksSchema"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Redacted, type Scope } from "effect"
import type { HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import type { Faults } from "../support/clusterStorage.ts"
import * as Random from "../support/random.ts"
import {
  during,
  isProcessDeath,
  type JobRun,
  type Member,
  make,
  type Run,
  type Simulation,
  type StartOptions,
  simulated
} from "../support/simulatedCluster.ts"

/** After so many events, up to 5 simulated seconds apart, all faults end. */
const events = 12
/** Within so many simulated seconds after the faults, and one `lockExpiration`, all jobs have to end. */
const patience = 180
/** Within so many more, and one `lockExpiration`, no row of them may be left. */
const cleanup = 30

class World {
  readonly random: Random.SeededRandom
  readonly onProcessDeath: "fail" | "retry"
  readonly members: Array<Member> = []
  readonly queues: ReadonlyArray<string>
  /** In seconds. */
  readonly lockExpirations: ReadonlyArray<number>
  readonly withCancellations: boolean
  /** The options of each process that was started, by its name. */
  readonly started = new Map<string, { readonly queues: ReadonlyArray<string>; readonly slots: number }>()
  readonly run: Run | undefined
  readonly #haveSameQueues: boolean
  #faultRate: number
  #latency: number

  constructor(seed: number, agentRun: Run) {
    const random = Random.make(seed)
    this.random = random
    this.onProcessDeath = random.pick(["fail", "retry"])
    this.#faultRate = random.chance(0.3) ? 0 : random.next() * 0.15
    this.#latency = random.pick([5, 150])
    this.queues = Array.from({ length: random.pick([1, 1, 2, 3, 5]) }, (_, index) => `q${index}`)
    this.#haveSameQueues = random.chance(0.4)
    this.lockExpirations = random.pick([[5], [5], [3, 5], [15], [5, 60]])
    this.withCancellations = random.chance(0.5)
    this.run = random.chance(0.4) ? agentRun : undefined
  }

  readonly faults: Faults = {
    latency: () => this.random.below(this.#latency),
    // A process that can't join at its start ends.
    next: (operation) =>
      operation !== "join" && this.random.chance(this.#faultRate)
        ? this.random.pick(["notDone", "notTold", "late"])
        : undefined
  }

  start(cluster: Simulation, queues = this.#someQueues()): Effect.Effect<void> {
    const { faults, lockExpirations, onProcessDeath, random, run } = this
    const lockExpiration = `${random.pick(lockExpirations)} seconds` as const
    const slots = random.between(1, 6)
    const options: StartOptions = { faults, lockExpiration, onProcessDeath, queues, run, slots }
    return Effect.map(cluster.start(options), (member) => {
      this.started.set(member.name, { queues, slots })
      this.members.push(member)
    })
  }

  #someQueues(): ReadonlyArray<string> {
    if (this.#haveSameQueues) return this.queues
    const some = this.queues.filter(() => this.random.chance(0.6))
    return some.length > 0 ? some : [this.random.pick(this.queues)]
  }

  endTroubles(): void {
    this.#faultRate = 0
    this.#latency = 5
    for (const member of this.members) member.cut(false)
  }
}

/** Something happens to one of the processes, or to a job. */
const happen = Effect.fnUntraced(function* (cluster: Simulation, world: World) {
  const { members, random } = world
  const index = random.below(members.length)
  const member = members[index]
  const what = random.weighted([
    ["killed", 3],
    ["stopped", 2],
    ["cut off", 2],
    ["spared", 3]
  ])
  if (member !== undefined && what === "killed") member.kill()
  if (member !== undefined && what === "stopped") yield* Effect.forkChild(member.stop)
  if (what === "killed" || what === "stopped") members.splice(index, 1)
  if (member !== undefined && what === "cut off") {
    member.cut(true)
    yield* Effect.forkChild(
      Effect.delay(
        Effect.sync(() => member.cut(false)),
        `${random.between(1, 12)} seconds`
      )
    )
  }
  if (world.withCancellations) yield* cancelOne(cluster, world)
  if (members.length < 3 && random.chance(0.8)) yield* world.start(cluster)
})

const cancelOne = Effect.fnUntraced(function* (cluster: Simulation, { random }: World) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const open = (yield* emulator.jobs).filter(({ state }) => !isFinal(state))
  if (open.length > 0 && random.chance(0.7)) yield* cluster.cancel(random.pick(open).id)
})

/** Hands the job to an agent, which outlives the process and takes as many milliseconds as the job's command says. */
const makeAgentRun = Effect.gen(function* () {
  const { acquireJob, completeJob, jobs } = yield* StacksEmulator.StacksEmulator
  const stateOf = (jobUuid: string) => Effect.map(jobs, (all) => all.find(({ id }) => id === jobUuid)?.state)
  const live = Effect.fnUntraced(function* (jobUuid: string, millis: number) {
    for (let left = millis; left > 0 && (yield* stateOf(jobUuid)) === "running"; left -= 500) {
      yield* Effect.sleep(Math.min(left, 500))
    }
    yield* Effect.ignore(completeJob(jobUuid, 0))
  })
  const run: Run = ({ acquisitionToken, details, job, state }) =>
    Effect.gen(function* () {
      const { command } = yield* details
      const isAcquired = yield* Effect.match(acquireJob(Redacted.make(Redacted.value(yield* acquisitionToken))), {
        onFailure: () => false,
        onSuccess: () => true
      })
      if (isAcquired) yield* Effect.forkDetach(live(job.id, Number(command)))
      yield* Effect.repeat(Effect.delay(state, "1 second"), { until: (state) => state !== undefined && isFinal(state) })
      return JobRunner.AgentOwned
    })
  return run
})

/** Runs where their queue is not listed, and more of them at a time than the process has slots. */
const misplaced = (world: World, runs: ReadonlyArray<JobRun>, queueOf: ReadonlyMap<string, string>) =>
  runs.flatMap((run) => {
    const { queues = [], slots = 0 } = world.started.get(run.name) ?? {}
    const atOnce = runs.filter(({ from, name, to }) => name === run.name && from <= run.from && to > run.from).length
    return [
      ...(queues.includes(queueOf.get(run.jobUuid) ?? "") ? [] : [`${run.jobUuid} ran at ${run.name}`]),
      ...(atOnce > slots ? [`${run.name} ran ${atOnce} jobs in ${slots} slots`] : [])
    ]
  })

const live = Effect.fnUntraced(function* (
  seed: number
): Effect.fn.Return<ReadonlyArray<string>, never, StacksEmulator.StacksEmulator | HttpClient.HttpClient | Scope.Scope> {
  const world = new World(seed, yield* makeAgentRun)
  const { queues, random } = world
  const cluster = yield* make
  const queueOf = new Map<string, string>()
  for (let count = 0; count < 3; count++) yield* world.start(cluster)
  for (let event = 0; event < events; event++) {
    const queue = random.pick(queues)
    const added = yield* cluster.addJobs(random.below(6), () => Math.floor(100 + random.next() ** 3 * 10_000), queue)
    for (const id of added) queueOf.set(id, queue)
    yield* during(Effect.sleep(`${random.between(1, 5000)} millis`))
    yield* happen(cluster, world)
  }
  world.endTroubles()
  // Each queue needs a process that lists it.
  yield* world.start(cluster, queues)
  const longestLease = Math.max(...world.lockExpirations)
  for (let second = 0; second < patience + longestLease && !(yield* cluster.allOver); second++)
    yield* TestClock.adjust("1 second")
  const violations = yield* cluster.violations
  for (let second = 0; second < cleanup + longestLease && cluster.database.jobs.size > 0; second++) {
    yield* TestClock.adjust("1 second")
  }
  const { onProcessDeath } = world
  return [
    // Where that is wanted, a job may fail whose process died or interrupted its run. No other may, as one that nobody had begun.
    ...violations.filter((violation) => onProcessDeath === "retry" || !isProcessDeath(cluster, violation)),
    ...misplaced(world, cluster.runs, queueOf),
    // One that was saved late waits for the next leader.
    ...Array.from(cluster.database.jobs.values()).flatMap(({ job, phase }) =>
      phase === "saved" ? [] : [`${job.id} is left in the database: ${phase}`]
    )
  ]
})

/** Runs a world, and tells what was wrong in it. */
export const runWorld = (seed: number): Effect.Effect<ReadonlyArray<string>> =>
  Effect.suspend(() => {
    const problems: Array<string> = []
    const world = Effect.map(live(seed), (found) => void problems.push(...found))
    return Effect.as(Effect.orDie(simulated(world)), problems)
  })
