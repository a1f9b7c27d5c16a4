/** The summary that a view prints at its end. */

import { flow, type Line } from "../terminal/text.ts"
import { age, duration, iso, perSecond } from "../terminal/times.ts"
import { outcomes, type Stats } from "./stats.ts"
import type { Traffic } from "./traffic.ts"

export interface SummaryInput {
  readonly stats: Stats
  readonly traffic: Traffic
  readonly title: string
  readonly startedAt: number
  readonly now: number
}

/** Jobs per second. The divisor is at least 0.1 s, so that a very short run has no absurd rate. */
const throughput = ({ now, startedAt, stats }: SummaryInput): number =>
  (stats.endedCount * 1000) / Math.max(100, now - startedAt)

export const toLines = (input: SummaryInput, width: number): ReadonlyArray<Line> => {
  const { now, startedAt, stats, title, traffic } = input
  const times = percentiles(stats)
  const section = (label: string, phrases: ReadonlyArray<string>) =>
    flow(
      { text: label, style: "bold" },
      phrases.map((text) => [{ text }]),
      { width, maxLines: 4 }
    )
  const jobs = `${stats.endedCount} ${stats.endedCount === 1 ? "job" : "jobs"} in ${age(now - startedAt)}`
  return [
    ...section("Stack", [title === "" ? "never registered" : title]),
    ...section("Jobs", [
      jobs,
      perSecond(throughput(input)),
      ...counts(stats).map(([outcome, count]) => `${count} ${outcome}`),
      ...(stats.running.size > 0 ? [`${stats.running.size} still here`] : [])
    ]),
    ...(times === undefined ? [] : section("Waited", [`p50 ${duration(times.p50)}`, `p99 ${duration(times.p99)}`])),
    ...section("Requests", [
      `${traffic.requests}`,
      `${traffic.retries} retried`,
      `${traffic.waits} had to wait for a rate limit`
    ]),
    ...section(
      "Problems",
      stats.problemCounts.size === 0 ? ["none"] : problems(stats).map(([kind, count]) => `${count} × ${kind}`)
    )
  ]
}

export const toJson = (input: SummaryInput) => {
  const { now, startedAt, stats, traffic } = input
  const times = percentiles(stats)
  return {
    event: "Summary",
    time: iso(now),
    durationMillis: now - startedAt,
    jobs: stats.endedCount,
    jobsPerSecond: Number(throughput(input).toFixed(3)),
    outcomes: Object.fromEntries(counts(stats)),
    scheduleToStartMillis: times === undefined ? null : { p50: Math.round(times.p50), p99: Math.round(times.p99) },
    requests: { sent: traffic.requests, retried: traffic.retries, waited: traffic.waits },
    problems: Object.fromEntries(problems(stats))
  }
}

const counts = (stats: Stats) =>
  outcomes.flatMap((outcome) => {
    const count = stats.ended.get(outcome)
    return count === undefined ? [] : [[outcome, count] as const]
  })

/** The most frequent ones first. */
const problems = (stats: Stats) => Array.from(stats.problemCounts).sort(([, a], [, b]) => b - a)

const percentiles = ({ scheduleToStart }: Stats) => {
  const p50 = scheduleToStart.at(0.5)
  const p99 = scheduleToStart.at(0.99)
  return p50 === undefined || p99 === undefined ? undefined : { p50, p99 }
}
