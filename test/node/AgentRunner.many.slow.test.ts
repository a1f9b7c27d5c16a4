/** Two hundred jobs, eight slots, and agents that end in every way. */
import { assert, describe, it } from "@effect/vitest"
import { Stack, type StackEvent } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import { processesWith } from "../support/processes.ts"
import type { Plan } from "../support/standInAgent.ts"
import { standIn } from "../support/standInAgentSetup.ts"
import { runner, service, stackOptions } from "../support/standInAgentStack.ts"

/** What agents do, how the job is then, and what the stack says of it. */
const kinds: ReadonlyArray<readonly [plan: Plan, job: string, event: StackEvent.StackEvent["_tag"]]> = [
  [{}, "finished 0", "AgentOwned"],
  [{ prints: ["hello", "world"] }, "finished 0", "AgentOwned"],
  [{ jobExits: 3 }, "finished 3", "AgentOwned"],
  [{ jobExits: 27 }, "finished 27", "AgentOwned"],
  [{ shouts: 200 }, "finished 0", "AgentOwned"],
  [{ millis: 100 }, "finished 0", "AgentOwned"],
  [{ quits: 27, prints: ["no way"] }, "finished -1 stack_error", "Failed"],
  [{ breaks: 255 }, "running", "AgentOwned"],
  [{ breaks: 1 }, "running", "AgentOwned"],
  [{ breaks: "SIGSEGV" }, "running", "AgentOwned"]
]

describe("Two hundred jobs", () => {
  it.live("on eight slots end with their agents' outcomes, each once, and leave nothing behind", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const agents = yield* standIn
      const added = yield* emulator.addJobs(Array.from({ length: 200 }, () => ({ queueKey: "q" })))
      const kindOf = new Map(added.map(({ id }, index) => [id, kinds[index % kinds.length] ?? assert.fail()]))
      yield* agents.setPlans(Object.fromEntries(Array.from(kindOf, ([id, [plan]]) => [id, plan])))
      const ends = new Map<string, Array<string>>()
      let running = 0
      let most = 0

      yield* Stack.runUntilIdle({
        ...stackOptions,
        onEvent: (event) =>
          Effect.sync(() => {
            if (event._tag === "Started") most = Math.max(most, ++running)
            if (event._tag !== "AgentOwned" && event._tag !== "Failed" && event._tag !== "Finished") return
            running--
            ends.set(event.job.id, [...(ends.get(event.job.id) ?? []), event._tag])
          })
      }).pipe(Effect.provide(runner(agents, { reflectExitStatus: true })))

      for (const { exitStatus, id, signalReason, state } of yield* emulator.jobs) {
        const [plan, job, event] = kindOf.get(id) ?? assert.fail()
        const seen = [state, exitStatus, signalReason].filter((part) => part !== undefined).join(" ")
        assert.deepStrictEqual([seen, ends.get(id)], [job, [event]], JSON.stringify(plan))
      }
      assert.strictEqual(most, 8)
      assert.isEmpty(processesWith(agents.agentPath.replace(/buildkite-agent$/, "")))
    }).pipe(Effect.scoped, Effect.provide(service))
  )
})
