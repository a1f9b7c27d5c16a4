/** The address of what is shown: the filter, the place in the list, the open dialog. It can be shared, and a reload keeps it. */

const listeners = new Set()

const params = () => new URLSearchParams(location.search)

/** A part of the address; empty if it has none. */
export const read = (name) => params().get(name) ?? ""

/**
 * Changes parts of the address. A new view can be left with the browser's Back; `isSameView` is for what changes while somebody types or
 * moves.
 */
export const write = (changes, { isSameView = false } = {}) => {
  const next = params()
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined || value === "") next.delete(name)
    else next.set(name, value)
  }
  const search = next.toString()
  if (search === params().toString()) return
  const url = search === "" ? location.pathname : `?${search}`
  if (isSameView) history.replaceState(null, "", url)
  else history.pushState(null, "", url)
}

/** Shows the address now, and whenever the browser goes back or forward. */
export const onAddress = (show) => {
  listeners.add(show)
  show()
}

addEventListener("popstate", () => {
  for (const show of listeners) show()
})
