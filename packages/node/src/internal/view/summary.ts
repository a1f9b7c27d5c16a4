/** What is left to read when a view ends. */
import { outcomes, type Tally } from "./tally.ts"
import { flow, type Line } from "./text.ts"
import { age, duration, iso, perSecond } from "./times.ts"
import type { Traffic } from "./traffic.ts"

export interface Ended {
  readonly tally: Tally
  readonly traffic: Traffic
  readonly title: string
  readonly startedAt: number
  readonly now: number
}

/** At least a tenth of a second: what was quicker has no rate. */
const throughput = ({ now, startedAt, tally }: Ended): number =>
  (tally.endedCount * 1000) / Math.max(100, now - startedAt)

export const toLines = (ended: Ended, width: number): ReadonlyArray<Line> => {
  const { now, startedAt, tally, title, traffic } = ended
  const times = percentiles(tally)
  const section = (label: string, phrases: ReadonlyArray<string>) =>
    flow(
      { text: label, style: "bold" },
      phrases.map((text) => [{ text }]),
      { width, maxLines: 4 }
    )
  const jobs = `${tally.endedCount} ${tally.endedCount === 1 ? "job" : "jobs"} in ${age(now - startedAt)}`
  return [
    ...section("Stack", [title === "" ? "never registered" : title]),
    ...section("Jobs", [
      jobs,
      perSecond(throughput(ended)),
      ...counts(tally).map(([outcome, count]) => `${count} ${outcome}`),
      ...(tally.running.size > 0 ? [`${tally.running.size} still here`] : [])
    ]),
    ...(times === undefined ? [] : section("Waited", [`p50 ${duration(times.p50)}`, `p99 ${duration(times.p99)}`])),
    ...section("Requests", [
      `${traffic.requests}`,
      `${traffic.retries} retried`,
      `${traffic.waits} had to wait for a rate limit`
    ]),
    ...section(
      "Troubles",
      tally.kinds.size === 0 ? ["none"] : kinds(tally).map(([kind, count]) => `${count} × ${kind}`)
    )
  ]
}

export const toJson = (ended: Ended) => {
  const { now, startedAt, tally, traffic } = ended
  const times = percentiles(tally)
  return {
    event: "Summary",
    time: iso(now),
    durationMillis: now - startedAt,
    jobs: tally.endedCount,
    jobsPerSecond: Number(throughput(ended).toFixed(3)),
    outcomes: Object.fromEntries(counts(tally)),
    queueToStartMillis: times === undefined ? null : { p50: Math.round(times.p50), p99: Math.round(times.p99) },
    requests: { sent: traffic.requests, retried: traffic.retries, waited: traffic.waits },
    troubles: Object.fromEntries(kinds(tally))
  }
}

const counts = (tally: Tally) =>
  outcomes.flatMap((outcome) => {
    const count = tally.ended.get(outcome)
    return count === undefined ? [] : [[outcome, count] as const]
  })

/** The most frequent ones first. */
const kinds = (tally: Tally) => Array.from(tally.kinds).sort(([, a], [, b]) => b - a)

const percentiles = ({ queueToStart }: Tally) => {
  const p50 = queueToStart.at(0.5)
  const p99 = queueToStart.at(0.99)
  return p50 === undefined || p99 === undefined ? undefined : { p50, p99 }
}
