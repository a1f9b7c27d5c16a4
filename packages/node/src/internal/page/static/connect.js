/** How to connect, while there is nothing to show. */
import { copies } from "./clipboard.js"
import { byId, setText } from "./dom.js"

const endpoint = `${location.origin}/v3/`

setText(
  byId("connect-settings"),
  `export BUILDKITE_AGENT_ENDPOINT=${endpoint}\nexport BUILDKITE_CLUSTER_TOKEN=bkct_emulator`
)
// The queue to which the page adds jobs.
const queue = document.querySelector("#add-jobs-dialog [name=queueKey]").defaultValue
setText(byId("connect-run"), `stacksapi run --key try --runner command --queue ${queue}`)

for (const id of ["connect-settings", "connect-run"]) copies(byId(`copy-${id}`), byId(id))

/** Shows the section until a stack or a job is there. */
export const showConnect = ({ phases, stacks }) => {
  const jobs = Object.values(phases).reduce((sum, number) => sum + number, 0)
  byId("connect").hidden = jobs > 0 || stacks.total > 0
}
