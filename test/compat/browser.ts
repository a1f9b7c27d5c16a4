/** The suite in a browser: on a page, or in a worker. */
import { load } from "./load.ts"

const settings = new URLSearchParams(location.search)

const { generated, report } = await load()
const { layer } = await import("./overFetch.ts")
await report(settings.get("run") ?? "", {
  host: `${location.origin}/`,
  client: layer,
  isBrowser: true,
  resends: "everything",
  tellsRefusal: false,
  generatesCode: settings.has("generatesCode"),
  generated
})
