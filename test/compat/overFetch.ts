/** The client over the platform's `fetch`. */
import { StacksClient } from "@stacksapi/core"
import { Layer } from "effect"
import { FetchHttpClient } from "effect/http"

export const layer = (options: StacksClient.Options): Layer.Layer<StacksClient.StacksClient> =>
  Layer.provide(StacksClient.layer(options), FetchHttpClient.layer)
