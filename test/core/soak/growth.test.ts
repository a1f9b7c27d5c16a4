/** How soaks tell growth from what comes and goes. */
import { assert, describe, it } from "@effect/vitest"
import { growth, type Sample } from "../../support/growth.ts"

const MiB = 1024 * 1024

/** Twelve samples, a hundred jobs from one to the next. */
const samples = (
  of: (index: number) => Partial<Sample["resourceUsage"]> & { readonly fibers?: number }
): Array<Sample> =>
  Array.from({ length: 12 }, (_, index) => {
    const { fibers = 8, ...resourceUsage } = of(index)
    return {
      jobs: index * 100,
      fibers,
      resourceUsage: { heap: 20 * MiB, buffers: 0, rss: 100 * MiB, resources: {}, ...resourceUsage }
    }
  })

describe("growth", () => {
  it("is not reported for constant, temporary or suddenly released memory", () => {
    assert.isEmpty(growth(samples(() => ({}))))
    assert.isEmpty(growth(samples((index) => ({ heap: 20 * MiB + (index % 2) * 2000, fibers: 8 + (index % 3) }))))
    assert.isEmpty(growth(samples((index) => ({ heap: (index < 9 ? 25 : 21) * MiB + index * 1000 }))))
  })

  it("is reported for memory that is kept per job, on the heap or outside of it", () => {
    assert.lengthOf(growth(samples((index) => ({ heap: 20 * MiB + index * 100 * 80 }))), 1)
    assert.lengthOf(growth(samples((index) => ({ buffers: index * 100 * 80 }))), 1)
    // Though V8 forgets more than that at once.
    assert.lengthOf(growth(samples((index) => ({ heap: (index < 9 ? 25 : 21) * MiB + index * 100 * 80 }))), 1)
  })

  it("is reported for fibers, sockets and timers", () => {
    assert.lengthOf(growth(samples((index) => ({ fibers: 8 + index }))), 1)
    for (const kind of ["TCPSocketWrap", "Timeout"]) {
      assert.lengthOf(growth(samples((index) => ({ resources: { [kind]: index } }))), 1)
    }
  })
})
