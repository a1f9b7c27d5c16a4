/** The layers of `NodeStacksClient`, which loads this module when it builds one: most programs start in half the time without it. */
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ConfigOptions, Options } from "../../NodeStacksClient.ts"
import * as UndiciHttpClient from "./undici.ts"

export const layer = (options: Options): Layer.Layer<StacksClient.StacksClient> =>
  Layer.provide(StacksClient.layer(options), UndiciHttpClient.layerProxied(options.proxy))

export const layerConfigWith = ({
  proxy,
  ...options
}: ConfigOptions): Layer.Layer<StacksClient.StacksClient, Config.ConfigError> =>
  Layer.provide(
    StacksClient.layerConfigWith(options),
    Config.isConfig(proxy)
      ? Layer.unwrap(Effect.map(proxy, UndiciHttpClient.layerProxied))
      : UndiciHttpClient.layerProxied(proxy)
  )
