/** The part of time that the timeline shows. Without a choice it is as long as the jobs in the list lived. */
import { onAddress, read, write } from "./address.js"
import { byId } from "./dom.js"
import { now } from "./format.js"

/** The shortest part of time that can be chosen, in milliseconds. */
const shortest = 100

let chosen
let whole
let onZoom = () => {}

/** The axis to draw, for the axis on which all jobs in the list fit. */
export const zoomed = (axis) => {
  whole = axis
  return chosen ?? axis
}

/** Calls back when somebody has zoomed. */
export const whenZoomed = (show) => {
  onZoom = show
}

const choose = (axis) => {
  const isWhole = axis === undefined || (axis.start <= whole.start && axis.end >= whole.end)
  write(isWhole ? { from: "", to: "" } : { from: Math.round(axis.start), to: Math.round(axis.end) }, {
    isSameView: true
  })
  show()
}

/** Changes the length about a point of the axis, from 0 to 1. */
const zoom = (factor, at = 0.5) => {
  if (whole === undefined) return
  const { end, start } = chosen ?? whole
  const length = Math.max(shortest, (end - start) * factor)
  const center = start + (end - start) * at
  const from = Math.max(whole.start, center - length * at)
  choose({ start: from, end: Math.min(Math.max(whole.end, now()), from + length) })
}

/** Moves by a part of the length. */
const move = (part) => {
  if (chosen === undefined) return
  const length = chosen.end - chosen.start
  const start = Math.min(Math.max(whole.start, chosen.start + part * length), Math.max(whole.start, whole.end - length))
  choose({ start, end: start + length })
}

const show = () => {
  const from = Number(read("from"))
  const to = Number(read("to"))
  chosen = from > 0 && to > from ? { start: from, end: to } : undefined
  for (const id of ["zoom-earlier", "zoom-later", "zoom-fit", "zoom-out"]) {
    byId(id).setAttribute("aria-disabled", chosen === undefined)
  }
  onZoom()
}

byId("zoom-in").addEventListener("click", () => zoom(0.5))
byId("zoom-out").addEventListener("click", () => chosen !== undefined && zoom(2))
byId("zoom-fit").addEventListener("click", () => chosen !== undefined && choose(undefined))
byId("zoom-earlier").addEventListener("click", () => move(-0.5))
byId("zoom-later").addEventListener("click", () => move(0.5))

// With the mouse: over the bars, and with a key, because the page scrolls without one.
byId("jobs").addEventListener(
  "wheel",
  (event) => {
    const bar = event.target.closest?.(".jobs li")?.querySelector(".bar")
    if (!event.ctrlKey || bar === undefined || bar === null) return
    event.preventDefault()
    const { left, width } = bar.getBoundingClientRect()
    zoom(event.deltaY < 0 ? 0.7 : 1 / 0.7, Math.min(1, Math.max(0, (event.clientX - left) / width)))
  },
  { passive: false }
)

onAddress(show)
