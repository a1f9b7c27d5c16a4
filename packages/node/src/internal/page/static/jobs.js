/** The list of jobs: a page of those that the filter leaves, newest first. */
import { onAddress, read, write } from "./address.js"
import { get, refresher } from "./api.js"
import { byId, el, setAttribute, setText, showList } from "./dom.js"
import { count, name, shortId, state, time } from "./format.js"
import { openJob } from "./job.js"
import { axisOf, createBar, durationsOf, updateBar } from "./timeline.js"
import { whenZoomed, zoomed } from "./zoom.js"

const list = byId("jobs")
const filter = byId("filter")

let offset = 0
let page = { total: 0, pageSize: 50, jobs: [] }

/** The filter is in the address. The controls show it. */
const query = () => ({ phase: read("phase"), queue: read("queue"), text: read("text") })

export const refreshJobs = refresher(async () => {
  page = await get("jobs", { ...query(), offset })
  if (page.jobs.length === 0 && page.total > 0) {
    offset = Math.floor((page.total - 1) / page.pageSize) * page.pageSize
    write({ offset }, { isSameView: true })
    page = await get("jobs", { ...query(), offset })
  }
  show()
})

const create = ({ id }) => {
  const button = el("button", { type: "button", class: "name", click: () => openJob(id) })
  const about = el("span", { class: "about muted" })
  const badge = el("span", { class: "badge" })
  const durations = el("span", { class: "durations" })
  const bar = createBar()
  const item = el("li", {}, el("div", { class: "what" }, button, about), badge, durations, bar)
  return Object.assign(item, { parts: { button, about, badge, bar, durations } })
}

const show = () => {
  const { jobs, pageSize, total } = page
  const axis = jobs.length > 0 ? zoomed(axisOf(jobs)) : undefined
  showList(list, jobs, {
    key: ({ id }) => id,
    create,
    update: ({ parts }, job) => {
      setText(parts.button, name(job))
      setText(
        parts.about,
        [job.queue, job.build === null ? job.pipeline : `${job.pipeline} #${job.build}`, shortId(job.id)].join(" · ")
      )
      setText(parts.badge, state(job))
      setAttribute(parts.badge, "class", `badge ${job.phase}${job.hasSoftFailed ? " soft" : ""}`)
      setText(parts.durations, durationsOf(job))
      updateBar(parts.bar, job, axis)
    }
  })
  setText(byId("no-jobs"), Object.values(query()).some(Boolean) ? "No job matches the filter." : "No jobs yet.")
  setText(byId("axis-start"), axis ? time(axis.start) : "")
  setText(byId("axis-end"), axis ? time(axis.end) : "")
  setText(byId("range"), total === 0 ? "" : `${count(offset + 1)}–${count(offset + jobs.length)} of ${count(total)}`)
  setEnabled(byId("newer"), offset > 0)
  setEnabled(byId("older"), offset + pageSize < total)
}

/** Not by `disabled`: the button that was pressed would lose the focus. */
const setEnabled = (button, isEnabled) => setAttribute(button, "aria-disabled", !isEnabled)

const move = (step) => (event) => {
  if (event.target.getAttribute("aria-disabled") === "true") return
  offset = Math.max(0, offset + step * page.pageSize)
  write({ offset: offset || "" })
  refreshJobs()
}
byId("newer").addEventListener("click", move(-1))
byId("older").addEventListener("click", move(1))

let typing
filter.addEventListener("input", (event) => {
  offset = 0
  const phase = new FormData(filter).get("phase") ?? ""
  const filtered = { phase, queue: byId("queue-filter").value, text: byId("text-filter").value, offset: "" }
  write(filtered, { isSameView: event.target.type === "search" })
  clearTimeout(typing)
  typing = setTimeout(refreshJobs, event.target.type === "search" ? 150 : 0)
})
filter.addEventListener("submit", (event) => event.preventDefault())

// What has not ended grows.
setInterval(() => {
  if (!document.hidden && page.jobs.some(({ finishedAt }) => finishedAt === undefined)) show()
}, 1000)

const showFilter = () => {
  offset = Number(read("offset")) || 0
  const { phase, queue, text } = query()
  for (const input of filter.querySelectorAll("input[name=phase]")) input.checked = input.value === phase
  byId("queue-filter").value = queue
  if (byId("text-filter").value !== text) byId("text-filter").value = text
  refreshJobs()
}
onAddress(showFilter)
whenZoomed(() => page.jobs.length > 0 && show())

/** The states to choose from, with how many jobs are in each. */
export const showPhases = (phases) => {
  const total = Object.values(phases).reduce((sum, number) => sum + number, 0)
  const items = [["", total], ...Object.entries(phases)]
  showList(byId("phases"), items, {
    key: ([phase]) => phase,
    create: ([phase]) => {
      const input = el("input", { type: "radio", name: "phase", value: phase })
      input.checked = phase === read("phase")
      const number = el("span", { class: "number" })
      const label = phase === "" ? "all" : phase
      return Object.assign(el("label", { class: `chip ${phase}` }, input, el("span", {}, label), " ", number), {
        number
      })
    },
    update: ({ number }, [, value]) => setText(number, count(value))
  })
}

/** The queues to choose from. */
export const showQueueFilter = (keys) => {
  showList(byId("queue-filter"), ["", ...keys], {
    key: (key) => key,
    create: (key) => el("option", { value: key }, key === "" ? "all" : key),
    update: () => {}
  })
  byId("queue-filter").value = read("queue")
}
