/** What a process remembers of the jobs that it has run. */
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { type Execution, Executions } from "../../../packages/node/src/internal/cluster/executions.ts"
import type { Outcome } from "../../../packages/node/src/internal/cluster/outcome.ts"
import { jobOf } from "../../support/clusterStorage.ts"

const execution = (
  fiber: Fiber.Fiber<Outcome>,
  dispatch: number,
  state: Pick<Execution, "hasEnded" | "writtenAtSnapshot">
): Execution => ({
  stackKey: "s--q",
  dispatch,
  job: jobOf(String(dispatch)),
  memberId: 1,
  fiber,
  stopRequested: Deferred.makeUnsafe(),
  stopReason: undefined,
  claimedAtSnapshot: 1,
  isOwned: true,
  isRunning: false,
  hasAgent: false,
  checkedAt: undefined,
  ...state
})

it.effect("A process that lost its membership forgets the jobs whose ends were written, and no others", () =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(Effect.never)
    const executions = new Executions()
    executions.add(execution(fiber, 7, { hasEnded: true, writtenAtSnapshot: 5 }))
    executions.add(execution(fiber, 8, { hasEnded: true, writtenAtSnapshot: undefined }))
    executions.add(execution(fiber, 9, { hasEnded: false, writtenAtSnapshot: undefined }))
    assert.deepStrictEqual(
      executions.onMemberRemoved(1).map(({ dispatch }) => dispatch),
      [9]
    )
    assert.deepStrictEqual(
      [7, 8, 9].map((dispatch) => executions.has(dispatch)),
      [false, true, true]
    )
    yield* Fiber.interrupt(fiber)
  })
)
