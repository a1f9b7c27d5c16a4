/** A job's life as a bar: how long it was scheduled, reserved and running, on the same axis as the jobs around it. */
import { duration, now, time } from "./format.js"

const svg = (name) => document.createElementNS("http://www.w3.org/2000/svg", name)

export const createBar = () => {
  const bar = svg("svg")
  bar.setAttribute("class", "bar")
  bar.setAttribute("role", "img")
  bar.append(svg("rect"), svg("rect"), svg("rect"))
  return bar
}

/** From when to when the jobs of a list lived. */
export const axisOf = (jobs) => {
  const start = Math.min(...jobs.map(({ scheduledAt }) => scheduledAt))
  const end = Math.max(start + 1000, ...jobs.map(({ finishedAt }) => finishedAt ?? now()))
  return { start, end }
}

/** The parts of a job's life, each with its state, beginning and end. */
const partsOf = ({ finishedAt, phase, reservedAt, scheduledAt, startedAt }) => {
  const end = finishedAt ?? now()
  return [
    ["scheduled", scheduledAt, reservedAt ?? startedAt ?? end],
    ["reserved", reservedAt, startedAt ?? end],
    // A job that its stack finished was never started; how it ended still has to be seen.
    [finishedAt === undefined ? "running" : phase, startedAt ?? finishedAt, end]
  ]
}

export const updateBar = (bar, job, axis) => {
  const percent = (time) => (100 * (time - axis.start)) / (axis.end - axis.start)
  for (const [index, [part, start, end]] of partsOf(job).entries()) {
    const rect = bar.children[index]
    const isThere = start !== undefined
    rect.setAttribute("class", part)
    rect.setAttribute("x", `${isThere ? Math.min(percent(start), 99) : 0}%`)
    rect.setAttribute("width", `${isThere ? Math.max(percent(end) - percent(start), index === 2 ? 1 : 0) : 0}%`)
    rect.setAttribute("height", "100%")
  }
  bar.setAttribute("aria-label", describe(job))
}

/** The timeline in words. */
const describe = (job) =>
  [
    `scheduled ${time(job.scheduledAt)}`,
    job.reservedAt && `reserved ${time(job.reservedAt)}`,
    job.startedAt && `started ${time(job.startedAt)}`,
    job.finishedAt && `ended ${time(job.finishedAt)}`
  ]
    .filter(Boolean)
    .join(", ")

/** How long a job waited for an agent, and how long it ran. */
export const durationsOf = ({ finishedAt, phase, scheduledAt, startedAt }) => {
  const waited = duration((startedAt ?? finishedAt ?? now()) - scheduledAt)
  if (startedAt === undefined)
    return `${phase === "waiting" || finishedAt === undefined ? "waits" : "waited"} ${waited}`
  return `${finishedAt === undefined ? "runs" : "ran"} ${duration((finishedAt ?? now()) - startedAt)}`
}
