/** Queues, stacks, agents and faults. */
import { post } from "./api.js"
import { byId, el, say, setAttribute, setText, showList } from "./dom.js"
import { count, duration, now, shortId } from "./format.js"
import { openJob } from "./job.js"
import { createShares, updateShares } from "./timeline.js"

/** Does what a button says, and tells how it went. */
const attempt = async (name, body, done) => {
  try {
    await post(name, body)
    say(done)
  } catch (error) {
    say(`That failed: ${error.message}`, { isFailure: true })
  }
}

export const showQueues = (queues) =>
  showList(byId("queues"), queues, {
    key: ({ key }) => key,
    create: ({ key }) => {
      const item = el("li")
      const button = el("button", {
        type: "button",
        click: () => {
          const paused = item.getAttribute("data-paused") !== "true"
          attempt("pause-queue", { key, paused }, `Queue ${key} is ${paused ? "paused" : "resumed"}.`)
        }
      })
      const status = el("span", { class: "badge waiting" }, "paused")
      const numbers = el("p", { class: "muted" })
      const shares = createShares()
      item.append(el("h3", {}, key), status, button, shares, numbers)
      return Object.assign(item, { parts: { button, numbers, shares, status } })
    },
    update: (item, { key, paused, phases }) => {
      const { button, numbers, shares, status } = item.parts
      setAttribute(item, "data-paused", paused)
      status.hidden = !paused
      setText(button, paused ? "Resume" : "Pause")
      setAttribute(button, "aria-label", `${paused ? "Resume" : "Pause"} queue ${key}`)
      updateShares(shares, phases)
      const present = Object.entries(phases).filter(([, number]) => number > 0)
      setText(numbers, present.map(([phase, number]) => `${count(number)} ${phase}`).join(", ") || "no jobs")
    }
  })

export const showStacks = ({ shown, total }) => {
  setText(byId("stacks-count"), total > shown.length ? `${count(shown.length)} of ${count(total)}` : "")
  showList(byId("stacks"), shown, {
    key: ({ key }) => key,
    create: ({ key }) => {
      const about = el("p", { class: "muted" })
      const state = el("span", { class: "badge" })
      const forget = el("button", {
        type: "button",
        "aria-label": `Forget stack ${key}`,
        click: () => attempt("forget-stack", { key }, `Stack ${key} is forgotten.`)
      })
      forget.textContent = "Forget"
      const item = el("li", { class: "entry" }, el("strong", {}, key), state, forget, about)
      return Object.assign(item, { parts: { about, state } })
    },
    update: ({ parts }, { lastConnectedOn, queue, state, type }) => {
      setText(parts.state, state)
      setAttribute(parts.state, "class", `badge ${state === "connected" ? "passed" : "canceled"}`)
      const polled = lastConnectedOn === undefined ? "never polled" : `polled ${duration(now() - lastConnectedOn)} ago`
      setText(parts.about, `${type}, queue ${queue}, ${polled}`)
    }
  })
}

export const showAgents = ({ shown, total }) => {
  setText(byId("agents-count"), total > shown.length ? `${count(shown.length)} of ${count(total)}` : "")
  showList(byId("agents"), shown, {
    key: ({ id }) => id,
    create: ({ name }) => {
      const about = el("p", { class: "muted" })
      const state = el("span", { class: "badge" })
      const job = el("button", { type: "button", class: "link", click: () => openJob(job.jobUuid) })
      const item = el("li", { class: "entry" }, el("strong", {}, name), state, job, about)
      return Object.assign(item, { parts: { about, job, state } })
    },
    update: ({ parts }, { jobUuid, lastSeen, state, tags, version }) => {
      setText(parts.state, state)
      setAttribute(parts.state, "class", `badge ${badgeOf[state] ?? "canceled"}`)
      parts.job.hidden = jobUuid === undefined
      parts.job.jobUuid = jobUuid
      setText(parts.job, jobUuid === undefined ? "" : `job ${shortId(jobUuid)}`)
      setText(parts.about, [version, ...tags, `seen ${duration(now() - lastSeen)} ago`].filter(Boolean).join(", "))
    }
  })
}

/** The color of a state. */
const badgeOf = { connected: "passed", registered: "scheduled", lost: "failed" }

const faultText = ({ kind, operations, rate, skip, status, seconds, times }) =>
  [
    operations === undefined ? "every request" : operations.join(", "),
    status !== undefined && `status ${status}`,
    seconds !== undefined && `${seconds} s${kind === "Stall" ? "" : " Retry-After"}`,
    skip && `after the first ${skip}`,
    times !== undefined && `at most ${times} times`,
    rate !== undefined && rate !== 1 && `probability ${Math.round(rate * 1000) / 10} %`
  ]
    .filter(Boolean)
    .join(", ")

export const showFaults = (faults) => {
  showList(byId("faults"), faults, {
    key: ({ id }) => id,
    create: (fault) => {
      const remove = el("button", {
        type: "button",
        "aria-label": `Remove fault ${fault.kind}, ${faultText(fault)}`,
        click: () => attempt("remove-fault", { id: fault.id }, `Fault ${fault.kind} is removed.`)
      })
      remove.textContent = "Remove"
      return el(
        "li",
        { class: "entry" },
        el("strong", {}, fault.kind),
        el("span", { class: "muted" }, faultText(fault)),
        remove
      )
    },
    update: () => {}
  })
  byId("clear-faults").setAttribute("aria-disabled", faults.length === 0)
}

byId("clear-faults").addEventListener("click", (event) => {
  if (event.target.getAttribute("aria-disabled") !== "true")
    attempt("clear-faults", {}, "There are no faults any more.")
})
