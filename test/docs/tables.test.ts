import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, SlotPool, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Layer, Metric } from "effect"
import { TestClock } from "effect/testing"
import { pages, root } from "./snippets.ts"
import { namesIn, tables, update } from "./tables.ts"

const texts = new Map(pages.map((page) => [page, readFileSync(join(root, page), "utf8")]))

const cellsOf = (row: string): ReadonlyArray<string> =>
  row
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim())

describe("The generated tables of the documentation", () => {
  it.live("are what `pnpm docs:tables` writes", () =>
    Effect.gen(function* () {
      const current = yield* tables
      for (const [page, text] of texts) assert.strictEqual(text, update(text, current), page)
    })
  )

  it.live("are all in a page", () =>
    Effect.gen(function* () {
      const used = Array.from(texts.values()).flatMap(namesIn)
      assert.sameMembers(Array.from(new Set(used)), Object.keys(yield* tables))
    })
  )

  it.live("have no row without a meaning", () =>
    Effect.gen(function* () {
      for (const [name, text] of Object.entries(yield* tables)) {
        const [head, , ...rows] = text.split("\n").map(cellsOf)
        const meaning = head?.findIndex((cell) => ["meaning", "what it does"].includes(cell)) ?? -1
        assert.isAtLeast(meaning, 0, name)
        for (const row of rows) assert.isNotEmpty(row[meaning] ?? "", `${name}: ${row[0]}`)
      }
    })
  )

  it.effect("have all labels of the metrics of a stack that runs a job", () =>
    Effect.gen(function* () {
      const rows = (yield* tables)["metrics"]?.split("\n").map(cellsOf) ?? []
      const labels = new Map(rows.map(([name, , cell]) => [name, cell?.match(/\w+/g) ?? []]))
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([{ queueKey: "default" }])
      const pool = yield* SlotPool.make(1, { capacity: { cpus: 1 } })
      yield* Stack.make({ key: "my-stack", queueKey: "default", pool, requests: () => ({ cpus: 1 }) })
      yield* TestClock.adjust("10 seconds")
      const snapshot = yield* Metric.snapshot
      assert.isAbove(snapshot.length, 20)
      for (const { attributes = {}, id } of snapshot) {
        assert.includeMembers([...(labels.get(`\`${id}\``) ?? [])], Object.keys(attributes), id)
      }
    }).pipe(
      Effect.scoped,
      Effect.provideService(Metric.MetricRegistry, new Map()),
      Effect.provide([
        JobRunner.layer(() => Effect.succeed(JobRunner.Finished({ exitStatus: 0, detail: "" }))),
        Layer.provideMerge(StacksEmulator.layerClient, StacksEmulator.layer())
      ])
    )
  )
})
