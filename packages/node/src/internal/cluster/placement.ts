/** The placement of queues: on which shard each queue's leader runs. */
import * as EntityId from "effect/cluster/EntityId"
import { Sharding } from "effect/cluster/Sharding"
import * as Effect from "effect/Effect"
import { queueGroup } from "./jobEntity.ts"

/** The shards of each group. The cluster spreads so few of them evenly. */
export const shardsPerGroup = 24

/**
 * Chooses names for the singletons of stacks, so that every shard has the same number of them, or one more. With names by chance, one
 * process may lead several times as many queues as another.
 */
export const singletonNames = Effect.fnUntraced(function* (
  stackKeys: ReadonlyArray<string>
): Effect.fn.Return<ReadonlyMap<string, string>, never, Sharding> {
  const sharding = yield* Sharding
  const shardOf = (name: string) => sharding.getShardId(EntityId.make(name), queueGroup).id - 1
  const most = Math.ceil(stackKeys.length / shardsPerGroup)
  const counts = new Array<number>(shardsPerGroup).fill(0)
  const names = new Map<string, string>()
  for (const stackKey of stackKeys.toSorted()) {
    const nameOf = (attempt: number) => `StacksapiQueue/${stackKey}/${attempt}`
    let attempt = 0
    while ((counts[shardOf(nameOf(attempt))] ?? 0) >= most) attempt++
    const shard = shardOf(nameOf(attempt))
    counts[shard] = (counts[shard] ?? 0) + 1
    names.set(stackKey, nameOf(attempt))
  }
  return names
})
