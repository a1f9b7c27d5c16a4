/** Effect's storage of runners and locks, which counts as alive the processes that `Members` does. */
import { PersistenceError } from "effect/cluster/ClusterError"
import * as Runner from "effect/cluster/Runner"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import type { RunnerStorage } from "effect/cluster/RunnerStorage"
import * as Effect from "effect/Effect"
import { memberGroup, queueGroup } from "./jobEntity.ts"
import type { Member, Members } from "./members.ts"

/** The same for all: `MemberTable` distributes jobs by slots. */
const weight = 1

export const make = (storage: RunnerStorage["Service"], members: Members): RunnerStorage["Service"] => ({
  ...storage,
  // A process that leaves does not wait for an unavailable database.
  unregister: (address) =>
    Effect.andThen(members.leave, Effect.timeoutOption(storage.unregister(address), "5 seconds")).pipe(Effect.asVoid),
  getRunners: members.alive.pipe(
    Effect.map((alive) => alive.filter(({ phase }) => phase !== "leaving")),
    // A process that does not find itself asks again at once.
    Effect.tap((alive) =>
      alive.some(({ memberId }) => memberId === members.memberId) ? Effect.void : Effect.sleep("250 millis")
    ),
    Effect.map((alive) => alive.map((member) => [runnerOf(member), true] as const)),
    PersistenceError.refail
  )
})

const runnerOf = ({ host, memberId, port }: Member): Runner.Runner =>
  Runner.make({ address: RunnerAddress.make(host, port), groups: [queueGroup, memberGroup(memberId)], weight })
