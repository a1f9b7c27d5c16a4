/** The suite on Node, Bun and Deno, with the settings that are its one argument. */
import { load } from "./load.ts"
import type { Platform } from "./support/platform.ts"

/** How the suite is run, by `scripts/compat.ts`. */
export interface Settings {
  readonly host: string
  readonly run: string
  /** The client of @stacksapi/node, or the one over fetch. */
  readonly client: "node" | "fetch"
  readonly platform: Pick<Platform, "resends" | "tellsRefusal" | "generatesCode">
}

const { client, host, platform, run }: Settings = JSON.parse(process.argv[2] ?? "{}")

const { generated, report } = await load()
const { layer } = await (client === "node" ? import("@stacksapi/node/NodeStacksClient") : import("./overFetch.ts"))
await report(run, { ...platform, host, client: layer, isBrowser: false, generated })
