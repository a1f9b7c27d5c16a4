/** The steps that are blocked, and the dialog that unblocks them. */
import { post } from "./api.js"
import { byId, el, say, setAttribute, setText, showList } from "./dom.js"
import { count } from "./format.js"

export const showHeld = ({ shown, total }) => {
  byId("held-section").hidden = total === 0
  setText(byId("held-count"), total > shown.length ? `${count(shown.length)} of ${count(total)}` : "")
  showList(byId("held"), shown, {
    key: ({ id, hold }) => `${id} ${hold}`,
    create: (step) => {
      const state = el("span", { class: "badge" })
      const button = el("button", { type: "button", "aria-label": `Unblock ${step.name}`, click: () => open(step) })
      button.textContent = "Unblock"
      const about = el("p", { class: "muted" }, `${step.pipeline} #${step.build}: ${step.hold}`)
      const item = el("li", { class: "entry" }, el("strong", {}, step.name), state, button, about)
      return Object.assign(item, { parts: { state } })
    },
    update: ({ parts }, { state }) => {
      setText(parts.state, state === "blocked" ? "now" : "later")
      setAttribute(parts.state, "class", `badge ${state === "blocked" ? "scheduled" : "waiting"}`)
    }
  })
}

const dialog = byId("unblock-dialog")
const form = dialog.querySelector("form")
const error = form.querySelector(".error")

let current

/** Asks for the step's fields, if it has any. */
const open = (step) => {
  current = step
  error.textContent = ""
  if (step.fields.length === 0) return send({})
  setText(byId("unblock-title"), `Unblock ${step.name}`)
  setText(byId("unblock-prompt"), step.prompt ?? "")
  byId("unblock-fields").replaceChildren(
    ...step.fields.map((field) => el("label", {}, `${field.label} `, control(field)))
  )
  return dialog.showModal()
}

const control = ({ defaultValue, format, hint, isMultiple, isRequired, key, options }) => {
  const attributes = { name: key, required: isRequired ? "" : undefined, title: hint }
  if (options === undefined) {
    return el("input", { ...attributes, autocomplete: "off", pattern: format, value: defaultValue })
  }
  const chosen = isMultiple ? (defaultValue ?? "").split("\n") : [defaultValue]
  const choices = options.map((value) =>
    el("option", { value, selected: chosen.includes(value) ? "" : undefined }, value)
  )
  if (isMultiple) return el("select", { ...attributes, multiple: "" }, ...choices)
  return el("select", attributes, ...(isRequired ? [] : [el("option", { value: "" }, "none")]), ...choices)
}

const send = async (values) => {
  try {
    await post("unblock", { step: current.id, values })
    dialog.close()
    say(`${current.name} is unblocked.`)
  } catch (failure) {
    if (dialog.open) error.textContent = failure.message
    else say(`Not unblocked: ${failure.message}`, { isFailure: true })
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault()
  const data = new FormData(form)
  // Several chosen options are lines of the value.
  send(Object.fromEntries(current.fields.map(({ key }) => [key, data.getAll(key).join("\n")])))
})
