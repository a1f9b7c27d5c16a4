/** The processes of a cluster: how many slots each has, and which jobs the cluster sends to it. */

import * as EntityId from "effect/cluster/EntityId"
import type { RunnerAddress } from "effect/cluster/RunnerAddress"
import type { RunnerStorage } from "effect/cluster/RunnerStorage"
import type { Sharding } from "effect/cluster/Sharding"
import * as Effect from "effect/Effect"
import * as HashRing from "effect/HashRing"

export const shardGroup = "default"

interface Process {
  readonly address: string
  readonly slots: number
}

export interface Processes {
  /** Looks who is there. */
  readonly refresh: Effect.Effect<void>
  /** The slots of all processes. */
  readonly slots: () => number
  readonly all: () => ReadonlyArray<Process>
  /** An entity id for a job that the cluster sends to the process with the largest share of free slots. */
  readonly entityIdFor: (jobUuid: string) => string
  /** Counts a job as one of the process to which its entity id leads, until it is released. */
  readonly occupy: (entityId: string) => () => void
}

/** Enough that all processes are among so many entity ids of a job, whatever its id. */
const maxTries = 64

export const make = (
  sharding: Sharding["Service"],
  storage: RunnerStorage["Service"],
  shardsPerGroup: number
): Processes => {
  let processes: ReadonlyArray<Process> = []
  let owners: ReadonlyArray<string> = []
  const occupied = new Map<string, number>()

  const ownerOf = (entityId: string): string | undefined =>
    owners[sharding.getShardId(EntityId.make(entityId), shardGroup).id - 1]

  const load = ({ address, slots }: Process) => ((occupied.get(address) ?? 0) + 1) / slots

  return {
    refresh: Effect.gen(function* () {
      const healthy = (yield* storage.getRunners).flatMap(([runner, isHealthy]) => (isHealthy ? [runner] : []))
      const ring = HashRing.make<RunnerAddress>()
      for (const runner of healthy) HashRing.add(ring, runner.address, { weight: runner.weight })
      owners = (HashRing.getShards(ring, shardsPerGroup) ?? []).map(String)
      processes = healthy.map((runner) => ({ address: String(runner.address), slots: runner.weight }))
    }).pipe(Effect.catch((error) => Effect.logDebug(`The processes of the cluster are not known: ${error.message}`))),
    slots: () => processes.reduce((sum, { slots }) => sum + slots, 0),
    all: () => processes,
    entityIdFor: (jobUuid) => {
      const best = processes.toSorted((a, b) => load(a) - load(b))[0]
      if (best !== undefined) {
        for (let i = 0; i < maxTries; i++) {
          if (ownerOf(`${jobUuid}/${i}`) === best.address) return `${jobUuid}/${i}`
        }
      }
      return `${jobUuid}/0`
    },
    occupy: (entityId) => {
      const owner = ownerOf(entityId)
      if (owner === undefined) return () => {}
      occupied.set(owner, (occupied.get(owner) ?? 0) + 1)
      return () => void occupied.set(owner, (occupied.get(owner) ?? 0) - 1)
    }
  }
}
