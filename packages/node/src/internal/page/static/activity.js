/** The newest requests and notifications. */
import { get, refresher } from "./api.js"
import { copies } from "./clipboard.js"
import { curl } from "./curl.js"
import { addressed } from "./dialogAddress.js"
import { byId, el, setAttribute, setText, showFacts, showList } from "./dom.js"
import { shortId, time } from "./format.js"
import { openJob } from "./job.js"

export const refreshNotifications = refresher(async () => {
  showList(byId("notifications"), await get("notifications"), {
    key: ({ detail, jobUuid, time }) => `${time} ${jobUuid} ${detail}`,
    create: (notification) =>
      el(
        "li",
        {},
        el("time", {}, time(notification.time)),
        " ",
        el("span", {}, notification.detail),
        " ",
        el(
          "button",
          { type: "button", class: "link", click: () => openJob(notification.jobUuid) },
          el("span", { class: "hidden" }, "Job "),
          shortId(notification.jobUuid)
        )
      ),
    update: () => {}
  })
})

export const refreshRequests = refresher(async () => {
  const requests = await get("requests", { only: byId("only-problems").checked ? "problems" : "" })
  showList(byId("requests"), requests, {
    key: ({ id }) => id,
    create: (request) => {
      const status = el("span")
      const name = request.operation ?? `${request.method} ${request.path}`
      const button = el(
        "button",
        { type: "button", class: "link", click: () => openRequest(request.id) },
        // A long name breaks between its words.
        ...name.split(/(?=[A-Z/])/).flatMap((word) => [word, el("wbr")])
      )
      const row = el(
        "tr",
        {},
        el("td", {}, el("time", {}, time(request.time))),
        el("td", {}, button),
        el("td", {}, status, " ", el("span", { class: "fault" }, request.fault ?? ""))
      )
      return Object.assign(row, { status })
    },
    update: ({ status }, request) => {
      setText(status, request.status ?? "–")
      setAttribute(status, "class", request.status === undefined || request.status < 400 ? "" : "bad")
    }
  })
})

byId("only-problems").addEventListener("change", refreshRequests)

const textOf = (body) => (typeof body === "string" ? body : (JSON.stringify(body, null, 2) ?? "none"))

const showRequest = (request) => {
  const { body, fault, headers, method, operation, path, query, response, status, time: at } = request
  setText(byId("request-title"), operation ?? "Request")
  showFacts(byId("request-facts"), [
    ["Time", time(at)],
    ["Request", `${method} ${path}`],
    ["Query", new URLSearchParams(query).toString()],
    ["Status", status],
    ["Fault", fault]
  ])
  showFacts(byId("request-headers"), Object.entries(headers))
  setText(byId("request-body"), textOf(body))
  setText(byId("request-response"), textOf(response))
  byId("request-curl").textContent = curl(request)
}

const openRequest = addressed("request", byId("request-dialog"), {
  load: (id) => get("request", { id }),
  show: showRequest
})

copies(byId("copy-curl"), byId("request-curl"))
