/** Random worlds of a cluster: `node test/model/clusterMain.ts FROM..TO` runs more of them. */
import { assert, it } from "@effect/vitest"
import { Effect, References } from "effect"
import { runWorld } from "./clusterWorld.ts"

for (const seed of [4, 11, 23, 42]) {
  it.effect(`A cluster loses no job, and runs none at two places, in world ${seed}`, () =>
    Effect.gen(function* () {
      assert.isEmpty(yield* runWorld(seed))
    }).pipe(Effect.provideService(References.MinimumLogLevel, "Fatal"))
  )
}
