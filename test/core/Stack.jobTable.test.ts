/** Which stages of a job may follow each other in a stack's table of jobs. */
import { assert, describe, it } from "@effect/vitest"
import { StacksSchema } from "@stacksapi/core"
import { Schema } from "effect"
import {
  InvalidTransition,
  type JobRecord,
  JobTable,
  type StageName,
  transitions
} from "../../packages/core/src/internal/stack/jobTable.ts"
import { scheduledJob } from "../support/samples.ts"

const job = Schema.decodeUnknownSync(StacksSchema.ScheduledJob)(scheduledJob)

/** What may follow each stage. Nothing else may. */
const declared: { readonly [S in StageName]: ReadonlyArray<StageName> } = {
  Reserving: ["Reserved", "ReservingAgain", "Unconfirmed", "Releasing", "Settled"],
  ReservingAgain: ["Reserved", "Unconfirmed", "Starting", "Releasing", "Settled"],
  Unconfirmed: ["Reserved", "Releasing", "Settled"],
  Reserved: ["Starting", "ReservingAgain", "Releasing", "Settled"],
  BackingOff: ["Starting", "ReservingAgain", "Releasing", "Settled"],
  Starting: ["Running", "Reserved", "BackingOff", "ReservingAgain", "Releasing", "Settled"],
  Running: ["Stopping", "Finishing", "BackingOff", "Releasing", "Settled"],
  Stopping: ["Finishing", "Releasing", "Settled"],
  Finishing: ["FinishDelayed", "Settled"],
  FinishDelayed: ["Settled"],
  Releasing: ["Settled"],
  Settled: []
}

const stages = Object.keys(declared) as ReadonlyArray<StageName>

/** How a job comes to a stage. */
const ways: { readonly [S in StageName]: ReadonlyArray<StageName> } = {
  Reserving: [],
  ReservingAgain: ["ReservingAgain"],
  Unconfirmed: ["Unconfirmed"],
  Reserved: ["Reserved"],
  Starting: ["Reserved", "Starting"],
  Running: ["Reserved", "Starting", "Running"],
  BackingOff: ["Reserved", "Starting", "Running", "BackingOff"],
  Stopping: ["Reserved", "Starting", "Running", "Stopping"],
  Finishing: ["Reserved", "Starting", "Running", "Finishing"],
  FinishDelayed: ["Reserved", "Starting", "Running", "Finishing", "FinishDelayed"],
  Releasing: ["Releasing"],
  Settled: ["Settled"]
}

const jobIn = (stage: StageName): { readonly table: JobTable; readonly record: JobRecord } => {
  const table = new JobTable()
  const record = table.add(job, "Reserving")
  for (const next of ways[stage]) table.move(record, next)
  return { table, record }
}

describe("A stack's table of jobs", () => {
  for (const from of stages) {
    for (const to of stages) {
      const isDeclared = declared[from].includes(to)
      it(`${isDeclared ? "lets" : "does not let"} a job go from ${from} to ${to}`, () => {
        const { record, table } = jobIn(from)
        if (isDeclared) {
          table.move(record, to)
          assert.strictEqual(record.stage, to)
          assert.deepStrictEqual(table.in(from), [])
          assert.strictEqual(table.has(job.id), to !== "Settled")
        } else {
          assert.throws(() => table.move(record, to), InvalidTransition)
          assert.strictEqual(record.stage, from)
          assert.strictEqual(table.count(from), from === "Settled" ? 0 : 1)
        }
      })
    }
  }

  it("declares these transitions", () => {
    for (const from of stages) assert.sameMembers(Array.from(transitions[from]), Array.from(declared[from]))
  })

  it("has each job once, and rejects transitions of other records", () => {
    const { table } = jobIn("Running")
    assert.throws(() => table.add(job, "Reserving"), InvalidTransition)
    assert.throws(() => table.move(jobIn("Running").record, "Stopping"), InvalidTransition)
    assert.strictEqual(table.stageOf(job.id), "Running")
    assert.strictEqual(table.size, 1)
  })

  it("counts slots from the first request to the first finish, except for unconfirmed jobs and delayed finishes", () => {
    const withSlot = stages.filter((stage) => jobIn(stage).table.slots === 1)
    assert.sameMembers(withSlot, ["Reserving", "ReservingAgain", "Starting", "Running", "Stopping", "Finishing"])
  })

  it("renews a reservation from its confirmation to the end of the job, unless an agent has the job", () => {
    const renewed = stages.filter((stage) => jobIn(stage).table.renewed().length === 1)
    assert.sameMembers(renewed, [
      "Reserved",
      "BackingOff",
      "Starting",
      "Running",
      "Stopping",
      "Finishing",
      "FinishDelayed"
    ])
    const { record, table } = jobIn("Running")
    record.isRenewed = false
    assert.isEmpty(table.renewed())
  })

  it("removes a settled job", () => {
    const { table } = jobIn("Settled")
    assert.strictEqual(table.size, 0)
    assert.isEmpty(table.all())
    table.add(job, "Reserving")
    assert.strictEqual(table.stageOf(job.id), "Reserving")
  })
})
