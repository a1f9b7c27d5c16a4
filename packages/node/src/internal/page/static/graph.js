/** A build as a graph: its jobs, and its steps without jobs, in columns after those that they depend on. */
import { read, write } from "./address.js"
import { get, refresher } from "./api.js"
import { byId, el, setText, shortened, showList } from "./dom.js"
import { state } from "./format.js"
import { openJob } from "./job.js"

const svg = (name, attributes = {}, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  element.append(...children)
  return element
}

/** In pixels. */
const node = { width: 170, height: 34, gapX: 48, gapY: 12, margin: 2 }

/** How much of a name a node shows. */
const maxNameLength = 22

/** The column of each job: one more than the last of those that it depends on. */
const columnsOf = (nodes) => {
  const byKey = new Map(nodes.map((each) => [each.id, each]))
  const columns = new Map()
  const columnOf = (id, path) => {
    if (columns.has(id)) return columns.get(id)
    // Nothing depends on itself, but a drawing must not hang.
    if (path.has(id)) return 0
    const needs = byKey.get(id).dependsOn.filter((need) => byKey.has(need))
    const inPath = new Set(path).add(id)
    const column = needs.reduce((most, need) => Math.max(most, columnOf(need, inPath) + 1), 0)
    columns.set(id, column)
    return column
  }
  for (const { id } of nodes) columnOf(id, new Set())
  return columns
}

/** Where each job is drawn. Within a column, jobs are beside what they depend on. */
const placesOf = (nodes) => {
  const columns = columnsOf(nodes)
  const places = new Map()
  const width = Math.max(...columns.values()) + 1
  for (let column = 0; column < width; column++) {
    const inColumn = nodes.filter(({ id }) => columns.get(id) === column)
    const wish = ({ dependsOn }) => {
      const rows = dependsOn.flatMap((id) => places.get(id)?.row ?? [])
      return rows.length === 0 ? 0 : rows.reduce((sum, row) => sum + row, 0) / rows.length
    }
    const sorted = inColumn.map((each, index) => ({ each, index, wish: wish(each) }))
    sorted.sort((a, b) => a.wish - b.wish || a.index - b.index)
    for (const [row, { each }] of sorted.entries()) {
      places.set(each.id, {
        row,
        x: node.margin + column * (node.width + node.gapX),
        y: node.margin + row * (node.height + node.gapY)
      })
    }
  }
  return places
}

const drawEdge = (from, to) => {
  const x1 = from.x + node.width
  const y1 = from.y + node.height / 2
  const y2 = to.y + node.height / 2
  const bend = (to.x - x1) / 2
  return svg("path", { class: "edge", d: `M${x1} ${y1} C${x1 + bend} ${y1} ${to.x - bend} ${y2} ${to.x} ${y2}` })
}

const drawNode = ({ dependsOn, hasSoftFailed, id, kind, label, phase, state: stateName }, { x, y }, names) => {
  const name = shortened(label || id)
  const short = name.length > maxNameLength ? `${name.slice(0, maxNameLength - 1)}…` : name
  const after = dependsOn.flatMap((need) => names.get(need) ?? [])
  const words = [
    name,
    kind === "job" ? state({ phase, hasSoftFailed, state: phase }) : stateName,
    after.length > 0 && `after ${after.join(", ")}`
  ]
  const description = words.filter(Boolean).join(", ")
  const role = kind === "job" ? { role: "button", tabindex: "0" } : { role: "img" }
  const group = svg(
    "g",
    { class: `node ${phase} ${kind}`, ...role, "aria-label": description },
    svg("title", {}, description),
    svg("rect", { x, y, width: node.width, height: node.height, rx: 6 }),
    svg("rect", { class: `side${hasSoftFailed ? " soft" : ""}`, x, y, width: 6, height: node.height, rx: 3 }),
    svg("text", { x: x + 14, y: y + node.height / 2 + 4 }, short)
  )
  if (kind !== "job") return group
  const open = () => openJob(id)
  group.addEventListener("click", open)
  group.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return
    event.preventDefault()
    open()
  })
  return Object.assign(group, { jobId: id })
}

const drawing = svg("svg", { id: "graph" })
byId("graph-box").append(drawing)

let drawn = ""

const draw = ({ nodes, total }) => {
  const text = JSON.stringify(nodes)
  if (text === drawn) return
  drawn = text
  const focused = document.activeElement?.jobId
  const places = placesOf(nodes)
  const names = new Map(nodes.map(({ id, label }) => [id, shortened(label || id)]))
  const right = Math.max(...Array.from(places.values(), ({ x }) => x)) + node.width + node.margin
  const bottom = Math.max(...Array.from(places.values(), ({ y }) => y)) + node.height + node.margin
  drawing.setAttribute("width", right)
  drawing.setAttribute("height", bottom)
  drawing.replaceChildren(
    ...nodes.flatMap(({ dependsOn, id }) =>
      dependsOn.flatMap((need) => (places.has(need) ? drawEdge(places.get(need), places.get(id)) : []))
    ),
    ...nodes.map((each) => drawNode(each, places.get(each.id), names))
  )
  Array.from(drawing.children)
    .find(({ jobId }) => jobId !== undefined && jobId === focused)
    ?.focus()
  setText(byId("graph-count"), total > nodes.length ? `the first ${nodes.length} of ${total} jobs and steps` : "")
}

const chooser = byId("graph-build")

export const refreshGraph = refresher(async () => {
  const builds = await get("builds")
  byId("graph-section").hidden = builds.length === 0
  if (builds.length === 0) return
  showList(chooser, builds, {
    key: ({ id }) => id,
    create: ({ id, number, pipeline }) => el("option", { value: id }, `${pipeline ?? "?"} #${number ?? "?"}`),
    update: () => {}
  })
  const wanted = read("build")
  const build = builds.some(({ id }) => id === wanted) ? wanted : builds[0].id
  if (chooser.value !== build) chooser.value = build
  draw(await get("graph", { build }))
})

chooser.addEventListener("change", () => {
  write({ build: chooser.value })
  refreshGraph()
})
