/** Makes a plan that violates an invariant smaller, as long as it still violates the same one. */
import type { Action, JobPlan, Plan, StackPlan, Step } from "./plan.ts"
import type { ProviderPlan } from "./providerPlan.ts"
import { type Result, run } from "./run.ts"

export interface Minimized {
  readonly plan: Plan
  readonly result: Result
  /** How many plans were run for it. */
  readonly tries: number
}

/** Tries at most so many smaller plans. */
export const minimize = async (plan: Plan, result: Result, maxTries = 300): Promise<Minimized> => {
  const search = new Search(plan, result, maxTries)
  let before: Plan
  do {
    before = search.plan
    await search.cutAfterViolation()
    await search.removeSteps()
    await search.removeJobs()
    await search.simplifySteps()
    await search.simplifySettings()
  } while (search.plan !== before && search.hasTriesLeft)
  return { plan: search.plan, result: search.result, tries: search.tries }
}

class Search {
  plan: Plan
  result: Result
  tries = 0
  readonly #maxTries: number
  readonly #invariant: string | undefined

  constructor(plan: Plan, result: Result, maxTries: number) {
    this.plan = plan
    this.result = result
    this.#maxTries = maxTries
    this.#invariant = result.violation?.invariant
  }

  get hasTriesLeft(): boolean {
    return this.tries < this.#maxTries
  }

  /** Takes a plan if it violates the same invariant. */
  async try(plan: Plan): Promise<boolean> {
    if (!this.hasTriesLeft) return false
    this.tries++
    const result = await run(plan)
    if (result.violation?.invariant !== this.#invariant) return false
    this.plan = plan
    this.result = result
    return true
  }

  /** What comes after the violation has no part in it. */
  async cutAfterViolation(): Promise<void> {
    let time = 0
    const steps: Array<Step> = []
    for (const step of this.plan.steps) {
      steps.push(step)
      time += step.seconds
      if (time > (this.result.violation?.at ?? Number.POSITIVE_INFINITY)) break
    }
    if (steps.length < this.plan.steps.length) await this.try({ ...this.plan, steps })
  }

  /** Removes halves, quarters … of the steps, at last single ones; first with the time that passes after them, then without. */
  async removeSteps(): Promise<void> {
    for (let size = Math.ceil(this.plan.steps.length / 2); size >= 1; size = Math.floor(size / 2)) {
      for (let at = this.plan.steps.length - size; at >= 0; at = Math.min(at, this.plan.steps.length) - size) {
        const { steps } = this.plan
        const removed = steps.slice(at, at + size)
        if (removed.length === 0) continue
        const rest = (middle: ReadonlyArray<Step>) => [...steps.slice(0, at), ...middle, ...steps.slice(at + size)]
        if (await this.try({ ...this.plan, steps: rest([]) })) continue
        const seconds = removed.reduce((sum, step) => sum + step.seconds, 0)
        if (removed.length === 1 && removed[0]?.action.do === "wait") continue
        await this.try({ ...this.plan, steps: rest([{ action: { do: "wait" }, seconds }]) })
      }
    }
  }

  async removeJobs(): Promise<void> {
    for (const [index, { action, seconds }] of this.plan.steps.entries()) {
      if (action.do !== "addJobs") continue
      for (const { id } of action.jobs) {
        const now = this.plan.steps[index]?.action
        if (now?.do !== "addJobs" || now.jobs.length < 2) break
        const jobs = now.jobs.filter((job) => job.id !== id)
        await this.#replace(index, { action: { do: "addJobs", jobs }, seconds })
      }
    }
  }

  async simplifySteps(): Promise<void> {
    for (let index = 0; index < this.plan.steps.length; index++) {
      const step = this.plan.steps[index]
      if (step === undefined) continue
      for (const seconds of [0, 1, Math.floor(step.seconds / 4), Math.floor(step.seconds / 2)]) {
        if (seconds < step.seconds && (await this.#replace(index, { ...step, seconds }))) break
      }
      for (const action of simpler(this.plan.steps[index]?.action ?? step.action)) {
        await this.#replace(index, { action, seconds: this.plan.steps[index]?.seconds ?? step.seconds })
      }
    }
  }

  async simplifySettings(): Promise<void> {
    if (this.plan.rateLimits) await this.try({ ...this.plan, rateLimits: false })
    if (this.plan.pool !== undefined) await this.try({ ...this.plan, pool: undefined })
    const last = this.plan.stacks.length - 1
    const isUsed = this.plan.steps.some(({ action }) => "stack" in action && action.stack === last)
    if (last > 0 && !isUsed) await this.try({ ...this.plan, stacks: this.plan.stacks.slice(0, last) })
    for (const [index, stack] of this.plan.stacks.entries()) {
      const plain = [
        { provider: undefined },
        { tags: undefined },
        { weight: 1 },
        { outlivesStack: stack.provider !== undefined },
        { hasStore: true }
      ]
      for (const change of plain) await this.#change(index, change)
      for (const [key, value] of Object.entries(plainProvider)) {
        const { provider } = this.plan.stacks[index] ?? {}
        if (provider === undefined || provider[key as keyof ProviderPlan] === value) continue
        await this.#change(index, { provider: { ...provider, [key]: value } })
      }
    }
  }

  /** Tries a stack with another setting. */
  async #change(index: number, change: Partial<StackPlan>): Promise<void> {
    const [key, value] = Object.entries(change)[0] ?? []
    if (this.plan.stacks[index]?.[key as keyof StackPlan] === value) return
    const stacks = this.plan.stacks.map((other, at) => (at === index ? { ...other, ...change } : other))
    await this.try({ ...this.plan, stacks })
  }

  #replace(index: number, step: Step): Promise<boolean> {
    return this.try({ ...this.plan, steps: this.plan.steps.map((other, at) => (at === index ? step : other)) })
  }
}

/** The settings of a provider in whose way nothing is. */
const plainProvider: Partial<ProviderPlan> = {
  maxLifetime: undefined,
  cancelGrace: undefined,
  cpus: undefined,
  callMillis: 0,
  listedAfter: 0,
  pends: false,
  hasChanges: false,
  refreshesTokens: false
}

/** Actions that do less. */
const simpler = (action: Action): ReadonlyArray<Action> => {
  switch (action.do) {
    case "addJobs":
      return action.jobs.every(isPlain)
        ? []
        : [
            { do: "addJobs", jobs: action.jobs.map((job) => ({ ...job, priority: 0, runnableIn: 0, rules: [] })) },
            { do: "addJobs", jobs: action.jobs.map(({ agent: _, ...job }) => job) }
          ]
    case "faults":
      return action.faults.length < 2 ? [] : action.faults.map((fault) => ({ do: "faults", faults: [fault] }))
    case "providerFaults":
      return action.faults.length < 2 ? [] : action.faults.map((fault) => ({ do: "providerFaults", faults: [fault] }))
    case "odd":
      return action.odd.length < 2 ? [] : action.odd.map((odd) => ({ do: "odd", odd: [odd] }))
    default:
      return []
  }
}

const isPlain = ({ agent, priority, rules, runnableIn }: JobPlan): boolean =>
  agent === undefined && priority === 0 && runnableIn === 0 && rules.length === 0
