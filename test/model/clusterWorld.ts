/**
 * Random worlds of a cluster: three processes on a simulated database that loses requests and answers, is late, and is cut off, while
 * processes are killed, stopped and started.
 */
import type { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, type Scope } from "effect"
import type { HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import type { Faults } from "../support/clusterStorage.ts"
import * as Random from "../support/random.ts"
import {
  during,
  type Member,
  make,
  type Simulation,
  type StartOptions,
  simulated
} from "../support/simulatedCluster.ts"

/** After so many simulated seconds all troubles end, and all jobs have to within those that follow. */
const troubled = 60
const patience = 180

const diedMessage = "The process that ran the job died before the job had ended"

class World {
  readonly random: Random.SeededRandom
  readonly onProcessDeath: "fail" | "retry"
  readonly members: Array<Member> = []
  #faultRate: number
  #latency: number

  constructor(seed: number) {
    this.random = Random.make(seed)
    this.onProcessDeath = this.random.pick(["fail", "retry"])
    this.#faultRate = this.random.chance(0.3) ? 0 : this.random.next() * 0.15
    this.#latency = this.random.pick([5, 150])
  }

  readonly faults: Faults = {
    latency: () => this.random.below(this.#latency),
    // A process that can't join at its start ends.
    next: (operation) =>
      operation !== "join" && this.random.chance(this.#faultRate)
        ? this.random.pick(["notDone", "notTold", "late"])
        : undefined
  }

  newMember(): StartOptions {
    return { faults: this.faults, onProcessDeath: this.onProcessDeath, slots: this.random.between(1, 6) }
  }

  endTroubles(): void {
    this.#faultRate = 0
    this.#latency = 5
    for (const member of this.members) member.cut(false)
  }

  /** Where that is wanted, a job may fail whose process died or interrupted its run. No other may, as one that nobody had begun. */
  isAllowed({ database, runs }: Simulation, violation: string): boolean {
    const [jobUuid = ""] = violation.split(" ")
    const hasExpired = Array.from(database.claimants.get(jobUuid) ?? []).some((id) => database.expired.has(id))
    const wasInterrupted = runs.some((run) => run.jobUuid === jobUuid && run.wasInterrupted)
    return this.onProcessDeath === "fail" && violation.endsWith(diedMessage) && (hasExpired || wasInterrupted)
  }
}

/** Something happens to one of the processes. */
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
  if (members.length < 3 && random.chance(0.8)) members.push(yield* cluster.start(world.newMember()))
})

const live = Effect.fnUntraced(function* (
  seed: number
): Effect.fn.Return<ReadonlyArray<string>, never, StacksEmulator.StacksEmulator | HttpClient.HttpClient | Scope.Scope> {
  const world = new World(seed)
  const { members, random } = world
  const cluster = yield* make
  for (let count = 0; count < 3; count++) members.push(yield* cluster.start(world.newMember()))
  for (let second = 0; second < troubled; second += 5) {
    yield* cluster.addJobs(random.below(6), () => Math.floor(100 + random.next() ** 3 * 10_000))
    yield* during(Effect.sleep(`${random.between(1, 5000)} millis`))
    yield* happen(cluster, world)
  }
  world.endTroubles()
  if (members.length === 0) members.push(yield* cluster.start(world.newMember()))
  for (let second = 0; second < patience && !(yield* cluster.allOver); second++) yield* TestClock.adjust("1 second")
  const violations = yield* cluster.violations
  for (let second = 0; second < 30 && cluster.database.jobs.size > 0; second++) yield* TestClock.adjust("1 second")
  return [
    ...violations.filter((violation) => !world.isAllowed(cluster, violation)),
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
