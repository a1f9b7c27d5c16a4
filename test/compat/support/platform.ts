/** What the suite runs on. */
import type { StacksClient } from "@stacksapi/core"
import { Context, type Layer } from "effect"

export interface Platform {
  /** Where the host listens. */
  readonly host: string
  /** A client, over what sends requests here. */
  readonly client: (options: StacksClient.Options) => Layer.Layer<StacksClient.StacksClient>
  /** A browser reaches the servers through the host, hides redirects, and has a user agent of its own. */
  readonly isBrowser: boolean
  /** What it sends again by itself, unasked, when a connection breaks that was used before. */
  readonly resends: "nothing" | "reads" | "everything"
  /** Whether one is told a connection that could not be made from one that broke. */
  readonly tellsRefusal: boolean
  /** Whether code may be generated, which decides how responses are decoded. */
  readonly generatesCode: boolean
  /** How many functions were generated while the client was loaded. */
  readonly generated: number
}

export class CurrentPlatform extends Context.Service<CurrentPlatform, Platform>()("test/compat/Platform") {}
