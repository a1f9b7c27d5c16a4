/** Records the runs of jobs by the processes of a cluster, and finds runs that must not overlap. */
import type { StacksEmulator } from "@stacksapi/core/testing"
import { DateTime } from "effect"
import type { Message } from "./clusterProcess.ts"

type Report = Extract<Message, { readonly at: number }> & { readonly name: string }

/** One run of a job by one process. */
interface Run {
  readonly name: string
  readonly from: number
  to: number
  steps: Array<number>
}

export class RunRecorder {
  readonly #reports: Array<Report> = []
  readonly #deaths = new Map<string, number>()
  /** When each process was suspended and when it continued. */
  readonly #pauses = new Map<string, Array<{ readonly from: number; to: number }>>()

  saw(name: string, message: Extract<Message, { readonly at: number }>): void {
    this.#reports.push({ ...message, name })
  }

  signaled(name: string, signal: NodeJS.Signals): void {
    const now = Date.now()
    const pauses = this.#pauses.get(name) ?? []
    if (signal === "SIGKILL") this.#deaths.set(name, Math.min(now, this.#deaths.get(name) ?? now))
    if (signal === "SIGSTOP") this.#pauses.set(name, [...pauses, { from: now, to: Number.POSITIVE_INFINITY }])
    if (signal === "SIGCONT") for (const pause of pauses) pause.to = Math.min(now, pause.to)
  }

  died(name: string): void {
    if (!this.#deaths.has(name)) this.#deaths.set(name, Date.now())
  }

  /** The starts of jobs. */
  get starts(): ReadonlyArray<Report> {
    return this.#reports.filter(({ type }) => type === "began")
  }

  /** How often each job started. */
  get begun(): ReadonlyMap<string, number> {
    const begun = new Map<string, number>()
    for (const { jobUuid, type } of this.#reports) {
      if (type === "began") begun.set(jobUuid, (begun.get(jobUuid) ?? 0) + 1)
    }
    return begun
  }

  /** Jobs that two processes ran at the same time. */
  get overlaps(): ReadonlyArray<string> {
    return Array.from(this.#runs()).flatMap(([jobUuid, runs]) =>
      runs.flatMap((run, index) => {
        const next = runs[index + 1]
        if (next === undefined || run.to <= next.from) return []
        const text = `${jobUuid} lives twice: at ${run.name}, and since then at ${next.name}`
        if (!this.#isPaused(run.name, next.from)) return [text]
        // A suspended process checks its lease once per step, so it may complete one step and start another one.
        return run.steps.filter((at) => at > next.from).length > 2 ? [text] : []
      })
    )
  }

  #isPaused(name: string, at: number): boolean {
    return (this.#pauses.get(name) ?? []).some(({ from, to }) => from <= at && at <= to)
  }

  #runs(): ReadonlyMap<string, ReadonlyArray<Run>> {
    const runs = new Map<string, Array<Run>>()
    for (const { at, jobUuid, name, type } of this.#reports.toSorted((a, b) => a.at - b.at)) {
      const ofJob = runs.get(jobUuid) ?? []
      const run = ofJob.findLast((run) => run.name === name)
      if (type === "began") {
        ofJob.push({ name, from: at, to: this.#deaths.get(name) ?? Number.POSITIVE_INFINITY, steps: [] })
        runs.set(jobUuid, ofJob)
      } else if (type === "continues") run?.steps.push(at)
      else if (run !== undefined) run.to = Math.min(run.to, at)
    }
    return runs
  }
}

/** The operations that only the leader of a queue may use. A leader registers its stack first. */
const leaders = new Set(["listScheduledJobs", "batchReserveJobs", "finishJob"])

/** Requests for a queue by processes that do not lead it. */
export const requestsOfNonLeaders = (requests: ReadonlyArray<StacksEmulator.LoggedRequest>): ReadonlyArray<string> => {
  const leading = new Map<string, string>()
  return requests.flatMap((request) => {
    const { operation = "" } = request
    const name = nameOf(request)
    if (operation === "registerStack") leading.set(stackKeyOf(request), name)
    const leader = leading.get(stackKeyOf(request))
    return leaders.has(operation) && leader !== name
      ? [`${operation} by ${name} at ${DateTime.formatIso(request.time)} while ${leader} leads`]
      : []
  })
}

export const nameOf = ({ headers }: StacksEmulator.LoggedRequest): string => headers["user-agent"]?.split(" ")[0] ?? ""

export const stackKeyOf = ({ body, operation, path }: StacksEmulator.LoggedRequest): string => {
  if (operation !== "registerStack") return path.split("/stacks/")[1]?.split("/")[0] ?? ""
  return typeof body === "object" && body !== null && "key" in body ? String(body.key) : ""
}
