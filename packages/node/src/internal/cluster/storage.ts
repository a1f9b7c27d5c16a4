/** Effect's storage of processes and locks, for which those are alive that the roster says are. */
import { PersistenceError } from "effect/cluster/ClusterError"
import * as Runner from "effect/cluster/Runner"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import type { RunnerStorage } from "effect/cluster/RunnerStorage"
import * as Effect from "effect/Effect"
import { queueGroup, seatGroup } from "./jobEntity.ts"
import type { Process, Roster } from "./roster.ts"

/** All alike: jobs are shared by slots, but in another way. */
const weight = 1

export const make = (storage: RunnerStorage["Service"], roster: Roster): RunnerStorage["Service"] => ({
  ...storage,
  // Whoever leaves does not wait for a database that is gone.
  unregister: (address) =>
    Effect.andThen(roster.leave, Effect.timeoutOption(storage.unregister(address), "5 seconds")).pipe(Effect.asVoid),
  getRunners: roster.living.pipe(
    Effect.map((living) => living.filter(({ phase }) => phase !== "leaving")),
    // Who does not find itself asks again at once.
    Effect.tap((members) =>
      members.some(({ seat }) => seat === roster.seat) ? Effect.void : Effect.sleep("250 millis")
    ),
    Effect.map((members) => members.map((process) => [runnerOf(process), true] as const)),
    PersistenceError.refail
  )
})

const runnerOf = ({ host, port, seat }: Process): Runner.Runner =>
  Runner.make({ address: RunnerAddress.make(host, port), groups: [queueGroup, seatGroup(seat)], weight })
