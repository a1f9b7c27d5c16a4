/** The dialogs that add jobs and inject faults. */
import { post } from "./api.js"
import { byId, el, say } from "./dom.js"
import { count } from "./format.js"

const setUp = (action, { prepare, read, done }) => {
  const dialog = byId(`${action}-dialog`)
  const form = dialog.querySelector("form")
  const error = form.querySelector(".error")
  byId(action).addEventListener("click", () => {
    error.textContent = ""
    prepare()
    dialog.showModal()
  })
  form.addEventListener("submit", async (event) => {
    event.preventDefault()
    error.textContent = ""
    try {
      const body = read(Object.fromEntries(new FormData(form)))
      await post(action, body)
      dialog.close()
      say(done(body))
    } catch (failure) {
      error.textContent = failure.message
    }
  })
  return form
}

const readEnv = (text) => {
  const lines = text.split("\n").filter((line) => line.trim() !== "")
  const wrong = lines.find((line) => !/^[^=\s]+=/.test(line))
  if (wrong !== undefined) throw new Error(`Not NAME=value: ${wrong}`)
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]))
}

let queues = []
let operations = []

/** What can be chosen in the forms. */
export const setChoices = (choices) => {
  queues = choices.queues
  operations = choices.operations
}

const jobsForm = setUp("add-jobs", {
  prepare: () => {
    byId("queue-keys").replaceChildren(...queues.map((key) => el("option", { value: key })))
    const { queueKey } = jobsForm.elements
    // A queue that is there, until somebody names another.
    if (queueKey.value === queueKey.defaultValue) queueKey.value = queueKey.defaultValue = queues[0] ?? "_default"
  },
  read: ({ command, count, env, priority, queueKey }) => ({
    queueKey,
    command,
    count: Number(count),
    priority: Number(priority),
    env: readEnv(env)
  }),
  done: ({ count: number, queueKey }) => `${count(number)} ${number === 1 ? "job" : "jobs"} added to queue ${queueKey}.`
})

const faultForm = setUp("inject-fault", {
  prepare: () => {
    const { operation } = faultForm.elements
    const chosen = operation.value
    operation.replaceChildren(
      el("option", { value: "" }, "every request"),
      ...operations.map((name) => el("option", { value: name }, name))
    )
    operation.value = chosen
  },
  read: ({ kind, operation, percent, seconds, status, times }) => ({
    kind,
    rate: Number(percent) / 100,
    ...(operation && { operation }),
    ...(status && { status: Number(status) }),
    ...(seconds && { seconds: Number(seconds) }),
    ...(times && { times: Number(times) })
  }),
  done: ({ kind }) => `Fault ${kind} is in force.`
})

/** Only what the chosen fault knows. */
const showFields = () => {
  const kind = faultForm.elements.kind.value
  for (const label of faultForm.querySelectorAll("[data-for]")) {
    const isKnown = label.dataset.for.split(" ").includes(kind)
    label.hidden = !isKnown
    label.querySelector("input").disabled = !isKnown
  }
  byId("seconds-label").textContent = kind === "Stall" ? "For how many seconds" : "Retry-After in seconds"
}
faultForm.elements.kind.addEventListener("change", showFields)
showFields()
