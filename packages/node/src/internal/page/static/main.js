/** Shows what the emulator tells, as it tells it. */
import { refreshNotifications, refreshRequests } from "./activity.js"
import { watch } from "./api.js"
import { showConnect } from "./connect.js"
import { byId, setText } from "./dom.js"
import { setNow } from "./format.js"
import { setChoices } from "./forms.js"
import { refreshGraph } from "./graph.js"
import { showHeld } from "./held.js"
import { refreshJobIfOpen } from "./job.js"
import { refreshJobs, showPhases, showQueueFilter } from "./jobs.js"
import { showAgents, showFaults, showQueues, showStacks } from "./overview.js"

setText(byId("endpoint"), `${location.origin}/v3/`)

const setConnection = (state, text) => {
  document.body.dataset.connection = state
  byId("connection").dataset.state = state
  setText(byId("connection"), text)
}

/** What is shown of each list. */
let shown = {}

let shownAt = 0

const onOverview = ({ now, overview }) => {
  // A button has loaded a newer overview while this one was on its way.
  if (now < shownAt && document.body.dataset.connection === "live") return
  shownAt = now
  // After a lost connection it may be another emulator.
  if (document.body.dataset.connection !== "live") shown = {}
  setConnection("live", "Live")
  setNow(now)
  const { agents, faults, held, operations, phases, queues, stacks, versions } = overview
  const keys = queues.map(({ key }) => key)
  setChoices({ queues: keys, operations })
  showQueues(queues)
  showPhases(phases)
  showQueueFilter(keys)
  showHeld(held)
  showStacks(stacks)
  showAgents(agents)
  showFaults(faults)
  showConnect(overview)

  const isNew = (name) => shown[name] !== versions[name]
  if (isNew("jobs")) {
    refreshJobs()
    refreshGraph()
  }
  if (isNew("notifications")) refreshNotifications()
  if (isNew("requests")) refreshRequests()
  if (isNew("jobs") || isNew("notifications") || isNew("requests")) refreshJobIfOpen()
  shown = versions
}

watch({
  onOverview,
  onLost: () => setConnection("lost", "Connection lost. Trying again…")
})
