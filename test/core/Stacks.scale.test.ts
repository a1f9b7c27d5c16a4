/** How what stacks ask of the service grows with queues and jobs. `node bench/scale/main.ts` is the same, larger. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { expected } from "../../bench/scale/formula.ts"
import { type Cell, run } from "../../bench/scale/simulation.ts"

/** Jobs that come evenly, 10 a second for each queue, to slots for twice as many as run at a time. */
const cell = (queues: number, runner: Cell["runner"]): Cell => ({
  queues,
  keys: 1,
  rate: 10 * queues,
  runner,
  slots: 40 * queues,
  jobSeconds: 2,
  roundTrip: 50,
  warmup: 4,
  seconds: 4
})

const who = { finish: "the stack", agents: "agents" }

describe("What stacks ask of the service", () => {
  for (const runner of ["finish", "agents"] as const) {
    it.effect(`grows with the queues, and with nothing else, where jobs are run by ${who[runner]}`, () =>
      Effect.gen(function* () {
        for (const queues of [1, 6]) {
          const formula = expected(cell(queues, runner))
          // Where the measuring begins and ends may make a request of each more.
          const edge = queues / cell(queues, runner).seconds
          const { latency, refused, requests, started, waiting } = yield* run(cell(queues, runner))
          assert.strictEqual(refused, 0)
          assert.approximately(started, formula.done, 1)
          assert.approximately(requests.list ?? 0, formula.list, edge)
          assert.approximately(requests.reserve ?? 0, formula.reserve, edge)
          assert.approximately(requests.finish ?? 0, formula.finish, 1)
          assert.isAtMost(requests.states ?? 0, runner === "agents" ? 20 * queues : formula.states * 1.2 + edge)
          // Those of jobs that start together come in one.
          assert.isAtMost(requests.tokens ?? 0, (formula.done * 3) / 4)
          // No later than the poll after the job came, and what a tick of the simulation takes.
          assert.isAtMost(latency.p99, (formula.latency?.p99 ?? 0) + 50)
          assert.isAtMost(waiting, 15 * queues)
        }
      })
    )
  }
})
