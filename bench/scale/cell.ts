/** One simulation, in a process of its own; sends the figures to its parent. */
import { Effect } from "effect"
import { type Cell, simulate } from "./simulation.ts"

// Whoever waits for the figures may be gone.
process.once("disconnect", () => process.exit())

const cell: Cell = JSON.parse(process.argv[2] ?? "{}")
process.send?.(await Effect.runPromise(simulate(cell)))
