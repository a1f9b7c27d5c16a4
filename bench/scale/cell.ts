/** Runs one simulation in a process of its own, and sends the figures to its parent. */
import { Effect } from "effect"
import { type Cell, simulate } from "./simulation.ts"

// The parent may have exited.
process.once("disconnect", () => process.exit())

const cell: Cell = JSON.parse(process.argv[2] ?? "{}")
process.send?.(await Effect.runPromise(simulate(cell)))
