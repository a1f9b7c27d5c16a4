/** The frames of the live view at any size of the terminal. */
import { assert, describe, it } from "@effect/vitest"
import { lineWidth, painted } from "../../packages/node/src/internal/terminal/text.ts"
import { render, type ViewModel } from "../../packages/node/src/internal/view/frame.ts"

describe("a frame", () => {
  const texts = ["", "x", "web#42 test", "日本語テスト日本語テスト", "👨‍👩‍👧‍👦 👍🏽 é", "long ".repeat(100)]

  const modelOf = (n: number): ViewModel => {
    const text = (i: number) => texts[(n + i) % texts.length] ?? ""
    const some = (i: number) => (n * 7 + i * 3) % 11
    return {
      title: text(0),
      phase: "running",
      startedAt: -some(1) * 10_000_000,
      slots: some(2) === 0 ? undefined : { taken: some(2) ** 4, max: some(3) ** 4 },
      pending: some(4) ** 5,
      backingOff: some(5),
      outcomes:
        some(6) < 4
          ? []
          : [
              ["passed", some(7) ** 6],
              ["stack error", 1],
              ["canceled", 10],
              ["released", 2]
            ],
      throughput: some(8),
      traffic: {
        rate: some(0) ** 3,
        scopes:
          some(1) < 3
            ? []
            : [
                { name: "list", limit: 10, used: some(2) },
                { name: "finish", limit: 100, used: 0 }
              ],
        requests: 1,
        retries: some(3),
        waits: some(4)
      },
      running: {
        total: some(5) ** 3,
        jobs: Array.from({ length: Math.min(50, some(5) ** 3) }, (_, i) => ({
          name: text(i),
          startedAt: i % 3 === 0 ? undefined : 0,
          lastLine: i % 2 === 0 ? undefined : text(i + 1)
        }))
      },
      problems: {
        total: some(6),
        last: Array.from({ length: some(6) }, (_, i) => ({ at: 0, text: text(i), count: 1 + (i % 3) }))
      },
      logs: Array.from({ length: some(7) }, (_, i) => ({ at: 0, text: text(i) }))
    }
  }

  it("has at most as many lines as rows, each narrower than the terminal", () => {
    for (let n = 0; n < 22; n++) {
      for (const columns of [1, 2, 10, 20, 39, 40, 61, 80, 200]) {
        for (const rows of [1, 2, 3, 5, 8, 12, 19, 20, 24, 60]) {
          const lines = render(modelOf(n), { columns, rows }, 60_000)
          const isFine = lines.length <= rows && lines.every((line) => lineWidth(line) < Math.max(2, columns))
          if (!isFine) {
            assert.fail(`${n} at ${columns}x${rows}:\n${lines.map((line) => painted(line, false)).join("\n")}`)
          }
        }
      }
    }
  })

  it("shows all jobs or how many it leaves out, from 40x12 on", () => {
    for (let n = 0; n < 60; n++) {
      const { running, ...rest } = modelOf(n)
      for (const size of [
        { columns: 40, rows: 12 },
        { columns: 80, rows: 24 }
      ]) {
        const text = render({ ...rest, running }, size, 60_000).map((line) => painted(line, false))
        const more = text.map((line) => /^ {2}\+ (\d+) more$/.exec(line)?.[1]).find((count) => count !== undefined)
        const heading = text.findIndex((line) => /^(Running|No job is running)/.test(line))
        assert.isAtLeast(heading, 0)
        const shown = text.slice(heading + 1).filter((line) => /^ +(…|1m00s) /.test(line)).length
        assert.strictEqual(shown + Number(more ?? 0), running.total, text.join("\n"))
      }
    }
  })
})
