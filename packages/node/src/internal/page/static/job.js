/** One job, with all that is known about it. */
import { get, post, refresher } from "./api.js"
import { addressed } from "./dialogAddress.js"
import { byId, el, say, setText, showFacts, showList } from "./dom.js"
import { duration, name, now, state, time } from "./format.js"

const dialog = byId("job-dialog")

let id

export const refreshJobIfOpen = () => {
  if (dialog.open) refreshJob()
}

const refreshJob = refresher(async () => {
  const job = await get("job", { id })
  if (job.id === id) show(job)
})

const show = (job) => {
  setText(byId("job-title"), name(job))
  byId("cancel-job").hidden = !job.canBeCanceled
  byId("retry-job").hidden = !job.canBeRetried
  const ran = job.startedAt === undefined ? undefined : (job.finishedAt ?? now()) - job.startedAt
  showFacts(byId("job-facts"), [
    ["State", state(job)],
    ["Waits for", job.waits?.text],
    ["Queue", job.queue],
    ["Pipeline", job.pipeline],
    ["Build", job.build],
    ["Branch", job.branch],
    ["Priority", job.priority],
    ["Agent query rules", job.agentQueryRules.join(", ")],
    ["Scheduled", time(job.scheduledAt)],
    ["Runnable", time(job.runnableAt)],
    ["Reserved", job.reservedAt && `${time(job.reservedAt)} by ${job.reservedBy}`],
    ["Reserved until", time(job.reservedUntil)],
    ["Started", time(job.startedAt)],
    ["Ended", time(job.finishedAt)],
    ["Ran for", job.finishedAt && duration(ran)],
    ["Exit status", job.exitStatus],
    ["Retries before", job.retryCount || undefined],
    ["Retried by", job.retriedBy],
    ["Signal", job.signal],
    ["Signal reason", job.signalReason],
    ["Detail", job.detail],
    ["Id", job.id]
  ])
  showList(byId("job-waits"), job.waits?.jobs ?? [], {
    key: ({ id, label }) => `${id} ${label}`,
    create: ({ id, label }) =>
      el("li", {}, el("button", { type: "button", class: "link", click: () => openJob(id) }, label || id)),
    update: () => {}
  })
  setText(byId("job-command"), job.command || "none")
  const env = Object.entries(job.env)
  showFacts(byId("job-env"), env.length > 0 ? env : [["none", " "]])
  showList(byId("job-notifications"), job.notifications, {
    key: ({ detail, time }) => `${time} ${detail}`,
    create: (notification) => el("li", {}, el("time", {}, time(notification.time)), " ", notification.detail),
    update: () => {}
  })
  setText(byId("job-log"), (job.isLogCut ? "…\n" : "") + readable(job.log) || "none")
}

/** A log without what only terminals and Buildkite understand: colors, cursor movements and time stamps. */
const readable = (log) =>
  log
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is sought
    .replace(/\x1b(?:\[[\d;?]*[A-Za-z]|[_\]][^\x07\x1b]*(?:\x07|\x1b\\))/g, "")
    .replaceAll("\r\n", "\n")

const act = (command, done) =>
  byId(command).addEventListener("click", async () => {
    try {
      await post(command, { id })
      say(`${done}.`)
      // The button may be gone, so the focus moves to the button that closes the dialog.
      dialog.querySelector("[data-close]").focus()
    } catch (error) {
      say(`Not ${done.toLowerCase()}: ${error.message}`, { isFailure: true })
    }
    refreshJob()
  })
act("cancel-job", "Canceled")
act("retry-job", "Retried")

/** Opens the dialog of a job, which has an address of its own. */
export const openJob = addressed("job", dialog, {
  load: (id) => get("job", { id }),
  show: (job) => {
    id = job.id
    byId("job-notice").textContent = ""
    show(job)
  }
})
