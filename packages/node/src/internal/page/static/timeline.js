/** A job's life as a bar: how long it was scheduled, reserved and running, on the same axis as the jobs around it. */
import { duration, now, time } from "./format.js"

const svg = (name) => document.createElementNS("http://www.w3.org/2000/svg", name)

/** A bar of so many parts. */
const create = (parts, attributes) => {
  const bar = svg("svg")
  for (const [name, value] of Object.entries({ class: "bar", ...attributes })) bar.setAttribute(name, value)
  bar.append(...Array.from({ length: parts }, () => svg("rect")))
  return bar
}

/** Places a part of a bar: a line before the job has begun, a block afterwards. */
const place = (rect, phase, x, width) => {
  const isLine = phase === "waiting"
  const all = { class: phase, x: `${x}%`, width: `${width}%`, y: isLine ? "40%" : 0, height: isLine ? "20%" : "100%" }
  for (const [name, value] of Object.entries(all)) rect.setAttribute(name, value)
}

export const createBar = () => create(4, { role: "img" })

/** How many jobs are in which phase, those that have ended first. The numbers are written beside it. */
export const createShares = () => create(phases.length, { class: "bar shares", "aria-hidden": "true" })

const phases = ["passed", "failed", "canceled", "running", "reserved", "scheduled", "waiting"]

export const updateShares = (bar, numbers) => {
  const total = phases.reduce((sum, phase) => sum + numbers[phase], 0)
  let x = 0
  for (const [index, phase] of phases.entries()) {
    const width = total === 0 ? 0 : (100 * numbers[phase]) / total
    place(bar.children[index], phase, x, width)
    x += width
  }
}

/** From when to when the jobs of a list lived. */
export const axisOf = (jobs) => {
  const start = Math.min(...jobs.map(({ scheduledAt }) => scheduledAt))
  const end = Math.max(start + 1000, ...jobs.map(({ finishedAt }) => finishedAt ?? now()))
  return { start, end }
}

/** When a job might start: others have passed, and its time has come. */
const runnableSince = ({ runnableAt, scheduledAt }) => Math.max(scheduledAt, runnableAt ?? scheduledAt)

/** The parts of a job's life, each with its state, beginning and end. */
const partsOf = (job) => {
  const { finishedAt, phase, reservedAt, scheduledAt, startedAt, state } = job
  const end = finishedAt ?? now()
  const taken = reservedAt ?? startedAt ?? end
  const runnable = state.startsWith("waiting") ? end : Math.min(runnableSince(job), taken)
  return [
    ["waiting", scheduledAt, runnable],
    ["scheduled", runnable, taken],
    ["reserved", reservedAt, startedAt ?? end],
    // A job that its stack finished was never started; how it ended still has to be seen.
    [finishedAt === undefined ? "running" : phase, startedAt ?? finishedAt, end]
  ]
}

export const updateBar = (bar, job, axis) => {
  const percent = (time) => Math.min(100, Math.max(0, (100 * (time - axis.start)) / (axis.end - axis.start)))
  for (const [index, [part, start, end]] of partsOf(job).entries()) {
    // A part outside of the axis is not drawn.
    const isThere = start !== undefined && start <= axis.end && end >= axis.start
    const isLast = index === bar.children.length - 1
    place(
      bar.children[index],
      part,
      isThere ? Math.min(percent(start), 99) : 0,
      isThere ? Math.max(percent(end) - percent(start), isLast ? 1 : 0) : 0
    )
  }
  bar.setAttribute("aria-label", describe(job))
}

/** The timeline in words. */
const describe = (job) =>
  [
    `scheduled ${time(job.scheduledAt)}`,
    job.runnableAt && `runnable ${time(job.runnableAt)}`,
    job.reservedAt && `reserved ${time(job.reservedAt)}`,
    job.startedAt && `started ${time(job.startedAt)}`,
    job.finishedAt && `ended ${time(job.finishedAt)}`
  ]
    .filter(Boolean)
    .join(", ")

/** How long a job has been in its state, or was in the last one before its end; without an agent, a stack runs it reserved. */
export const durationsOf = (job) => {
  const { finishedAt, reservedAt, scheduledAt, startedAt, state } = job
  const isOver = finishedAt !== undefined
  const lasted = (since) => duration((finishedAt ?? now()) - since)
  if (startedAt !== undefined) return `${isOver ? "ran" : "runs"} ${lasted(startedAt)}`
  if (reservedAt !== undefined) return `reserved ${lasted(reservedAt)}`
  return `${isOver ? "waited" : "waits"} ${lasted(state.startsWith("waiting") ? scheduledAt : runnableSince(job))}`
}
