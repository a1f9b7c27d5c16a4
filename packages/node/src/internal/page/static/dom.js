/** Building and updating the document. Data becomes text and attributes here, never markup. */

/** @param {string} id */
export const byId = (id) => document.getElementById(id)

/** More marks on one character than any language has would cover what is around it. */
const manyMarks = /(\p{M}{8})\p{M}+/gu

/** A text whose characters have few enough marks to be read. */
export const shortened = (text) => String(text).replace(manyMarks, "$1…")

/** An element with attributes and children; a function as an attribute listens to the event of its name. */
export const el = (name, attributes = {}, ...children) => {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value)
    else if (value !== undefined) element.setAttribute(key, value)
  }
  element.append(...children.map((child) => (typeof child === "string" ? shortened(child) : child)))
  return element
}

/** Sets a text where it is another one: a text that is set again would lose what somebody has selected. */
export const setText = (element, text) => {
  const shown = shortened(text)
  if (element.textContent !== shown) element.textContent = shown
}

export const setAttribute = (element, name, value) => {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value)
}

/**
 * Makes the children of a list those of the items, keeping the elements of items that stay, and with them focus and selection.
 *
 * @param {{ key: (item: any) => string, create: (item: any) => Element, update: (element: any, item: any) => void }} how
 */
export const showList = (list, items, { create, key, update }) => {
  const kept = new Map(Array.from(list.children, (child) => [child.key, child]))
  const wanted = items.map((item) => {
    const id = key(item)
    let element = kept.get(id)
    if (element === undefined) {
      element = create(item)
      element.key = id
    }
    kept.delete(id)
    update(element, item)
    return element
  })
  for (const element of kept.values()) {
    // The focus moves to the list's title. Otherwise it would move to the top of the page.
    if (element.contains(document.activeElement)) list.closest("section")?.querySelector("h2")?.focus()
    element.remove()
  }
  for (const [index, element] of wanted.entries()) {
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null)
  }
  const empty = byId(`no-${list.id}`)
  if (empty !== null) empty.hidden = items.length > 0
}

/** Shows names and values. */
export const showFacts = (list, facts) => {
  const present = facts.filter(([, value]) => value !== undefined && value !== null && value !== "")
  const text = JSON.stringify(present)
  if (list.shown === text) return
  list.shown = text
  list.replaceChildren(
    ...present.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))))
  )
}

let noticeTimer

/** Tells how something went. */
export const say = (text, { isFailure = false } = {}) => {
  clearTimeout(noticeTimer)
  const notice = document.querySelector("dialog[open] [role=status]") ?? byId("notice")
  notice.dataset.failure = isFailure
  setText(notice, text)
  noticeTimer = setTimeout(() => {
    notice.textContent = ""
  }, 8000)
}

// Every dialog is closed by its own buttons, by Escape, and by a click beside it.
for (const dialog of document.querySelectorAll("dialog")) {
  for (const button of dialog.querySelectorAll("[data-close]")) button.addEventListener("click", () => dialog.close())
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close()
  })
}
