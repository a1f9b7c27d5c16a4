/** Runs seeds for `main.ts`, in a thread of its own. */
import { parentPort } from "node:worker_threads"
import { minimize } from "./minimize.ts"
import type { Plan } from "./plan.ts"
import { generate } from "./providerPlan.ts"
import { type Result, run } from "./run.ts"

export interface Question {
  readonly seed: number
  /** How many smaller plans to try where it fails. */
  readonly maxTries: number
}

export interface Answer extends Result {
  readonly plan: Plan
}

parentPort?.on("message", async ({ maxTries, seed }: Question) => {
  const plan = generate(seed)
  const result = await run(plan)
  const smaller = maxTries > 0 && result.violation !== undefined ? await minimize(plan, result, maxTries) : undefined
  const answer: Answer = { ...(smaller?.result ?? result), plan: smaller?.plan ?? plan }
  parentPort?.postMessage(answer)
})
