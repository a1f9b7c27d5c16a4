/** The events of a process, and a listener that does not keep up with them. */
import { assert, it } from "@effect/vitest"
import type { ClusterEvent } from "@stacksapi/node/ClusterStack"
import { Deferred, Effect, Logger } from "effect"
import * as Events from "../../../packages/node/src/internal/cluster/events.ts"
import { jobOf } from "../../support/clusterStorage.ts"

it.effect("Ten thousand events wait for a listener that hangs; further ones are dropped, with one warning", () =>
  Effect.gen(function* () {
    const warnings: Array<string> = []
    const mayGoOn = yield* Deferred.make<void>()
    const isBusy = yield* Deferred.make<void>()
    const heard: Array<string> = []
    const onEvent = (event: ClusterEvent) =>
      Effect.gen(function* () {
        heard.push(event._tag === "RunEnded" ? event.job.id : "")
        yield* Deferred.succeed(isBusy, undefined)
        yield* Deferred.await(mayGoOn)
      })
    yield* Effect.gen(function* () {
      const publish = yield* Events.make(onEvent)
      const end = (id: number) =>
        publish(
          { _tag: "RunEnded", job: jobOf(String(id)), outcome: "AgentOwned", exitStatus: undefined, detail: undefined },
          "q"
        )
      end(0)
      yield* Deferred.await(isBusy)
      for (let id = 1; id <= 10_500; id++) end(id)
      yield* Effect.yieldNow
      assert.deepStrictEqual(warnings, ["onEvent is too slow: 10000 events wait for it, and further ones are dropped"])
      yield* Deferred.succeed(mayGoOn, undefined)
    }).pipe(
      Effect.scoped,
      Effect.provide(Logger.layer([Logger.make(({ message }) => void warnings.push(String(message)))]))
    )
    assert.deepStrictEqual(
      heard,
      Array.from({ length: 10_001 }, (_, id) => String(id))
    )
  })
)
