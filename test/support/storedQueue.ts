/** What tests of a cluster's database begin with: a member that leads a queue with jobs. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { Hint } from "../../packages/node/src/internal/cluster/hints.ts"
import type { Outcome } from "../../packages/node/src/internal/cluster/outcome.ts"
import type { NewMember, Storage, Term } from "../../packages/node/src/internal/cluster/storage.ts"
import { jobOf } from "./clusterStorage.ts"

export const stackKey = "s--q"
export const newMember: NewMember = { clusterKey: "s", name: "one", slots: 4, stackKeys: [stackKey, "s--r"] }
export const open = { free: 3, phase: "open", demands: { [stackKey]: 7 } } as const
export const nobody = Hint.Claim({ counts: new Map() })
export const finished: Outcome = { _tag: "Finished", exitStatus: 3, detail: "it's \"done\" 'so'\n" }

export const join = (storage: Storage) =>
  Effect.map(storage.join(newMember), (joined) => ("memberId" in joined ? joined.memberId : assert.fail()))
export const lead = Effect.fnUntraced(function* (storage: Storage, memberId: number) {
  const [taken] = yield* storage.take(memberId, [stackKey])
  return { memberId, stackKey, fence: taken?.fence ?? assert.fail() } satisfies Term
})
/** A member that leads, with these jobs saved. */
export const leading = Effect.fnUntraced(function* (storage: Storage, ...ids: ReadonlyArray<string>) {
  const memberId = yield* join(storage)
  const term = yield* lead(storage, memberId)
  const rows = yield* storage.save(
    term,
    ids.map((id) => ({ job: jobOf(id) }))
  )
  return { memberId, term, idOf: (id: string) => rows?.get(id) }
})
export const offer = (storage: Storage, term: Term, jobUuid: string, after = 0) =>
  Effect.map(storage.offer(term, [{ jobUuid, after }], nobody), (found) => found.get(jobUuid)?.isNew)
export const claim = (storage: Storage, memberId: number) => storage.claim(memberId, [stackKey], 10, 1)
