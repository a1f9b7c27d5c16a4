/** A cluster whose database is far away, slow, or down. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, References } from "effect"
import * as Simulated from "../../support/simulatedCluster.ts"

const { during, simulated, until } = Simulated

/** A test that sees the warnings. */
const withWarnings = (test: (warnings: ReadonlyArray<string>) => Parameters<typeof simulated>[0]) =>
  Effect.suspend(() => {
    const warnings: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void (logLevel === "Warn" && warnings.push(String(message))))
    return Effect.provide(simulated(test(warnings)), Logger.layer([logger]))
  }).pipe(Effect.provideService(References.MinimumLogLevel, "Warn"))

describe("A cluster whose database is far away", () => {
  for (const millis of [50, 150, 300]) {
    it.effect(`finishes all jobs, also those of a leader that is killed, with ${millis} ms for each statement`, () =>
      withWarnings((warnings) =>
        Effect.gen(function* () {
          const cluster = yield* Simulated.make
          const faults = { next: () => undefined, latency: () => millis / 2 }
          const members = [
            yield* cluster.start({ faults }),
            yield* cluster.start({ faults }),
            yield* cluster.start({ faults })
          ]
          yield* cluster.addJobs(60)
          yield* until(cluster.areOver(20), 1)
          const [leader] = yield* Simulated.byLeading(cluster, members)
          leader?.kill()
          yield* until(cluster.allOver, 1)
          assert.isEmpty(yield* cluster.violations)
          assert.isEmpty(warnings.filter((warning) => warning.includes("lockExpiration")))
        })
      )
    )
  }

  it.effect("says once which lockExpiration to set when its heartbeats take a sixth of the present one", () =>
    withWarnings((warnings) =>
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        yield* cluster.start({ faults: { next: () => undefined, latency: () => 500 } })
        yield* during(Effect.sleep("30 seconds"))
        assert.deepStrictEqual(warnings, [
          "A heartbeat took 1s, and the lease is 5s. If the database is that slow, raise lockExpiration to 6 seconds or more"
        ])
        // It works all the same.
        yield* cluster.addJobs(5)
        yield* until(cluster.allOver, 1)
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )
})

describe("A cluster whose database is down", () => {
  it.effect("says that its statements fail, and not that lockExpiration is too short", () =>
    withWarnings((warnings) =>
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const member = yield* cluster.start()
        yield* during(Effect.sleep("3 seconds"))
        member.cut(true)
        yield* during(Effect.sleep("20 seconds"))
        member.cut(false)
        yield* during(Effect.sleep("10 seconds"))
        assert.isEmpty(warnings.filter((warning) => warning.includes("lockExpiration")))
        assert.lengthOf(
          warnings.filter((warning) => warning.startsWith("A statement of the cluster failed: no answer within")),
          1
        )
        assert.strictEqual((yield* member.status).phase, "running")
      })
    )
  )
})
