/**
 * The emulator of the Stacks API over real HTTP, for clients in other processes and other languages.
 *
 * @since 0.1.0
 */

import type * as StacksClient from "@stacksapi/core/StacksClient"
import type * as StacksEmulator from "@stacksapi/core/StacksEmulator"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { ListenError } from "./internal/http/listenError.ts"

const implementation = Effect.promise(() => import("./internal/emulator/emulator.ts"))

/**
 * The options of the emulator and its server.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends StacksEmulator.Options {
  /** The address to listen on. Default `127.0.0.1`, which only this machine reaches. */
  readonly host?: string | undefined
  /** The port to listen on. Default 0, which takes a free port: see `baseUrl`. */
  readonly port?: number | undefined
  /** Whether to enforce the documented rate limits. Default true. */
  readonly rateLimits?: boolean | undefined
  /** Whether to serve a web page at `/` that shows jobs and requests, and has buttons to change them. Default true. */
  readonly page?: boolean | undefined
  /**
   * More names at which clients reach the emulator, for example `host.docker.internal` from containers. API and page respond only at these
   * names, `localhost`, loopback addresses and `host`; other names get 421. Default none.
   */
  readonly allowedHosts?: ReadonlyArray<string> | undefined
  /**
   * The maximum number of connections. Beyond it, each new connection closes the one that has been idle for longest; if none is idle, the
   * new one is refused. Default 1024.
   */
  readonly maxConnections?: number | undefined
}

export {
  /**
   * The emulator can't listen on its address: the port is in use, or the address does not belong to this machine.
   *
   * @since 0.1.0
   * @category errors
   */
  ListenError
} from "./internal/http/listenError.ts"

/**
 * Makes an emulator, and serves it over HTTP until the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options?: Options
) => Effect.Effect<StacksEmulator.Service, InvalidOptions | ListenError, Scope.Scope> = (options) =>
  Effect.flatMap(implementation, ({ make }) => make(options))

/**
 * Serves the emulator over HTTP under the base path `/v3`, and provides the `StacksEmulator` behind it, whose `baseUrl` is its URL.
 *
 * **Details**
 *
 * By default it listens on a free port of `127.0.0.1`, enforces the rate limits, and accepts the token `bkct_emulator`. Faults break real
 * connections. Closing the scope closes open connections and interrupts requests.
 *
 * `/` is a web page for people. It shows queues, jobs, stacks, notifications and requests as they change, and has buttons that add and
 * cancel jobs, pause queues and inject faults.
 *
 * The page needs no login, and the API's default token is public. Therefore both respond only to requests whose `Host` is `localhost`, a
 * loopback address, the option `host` or one of `allowedHosts`. They reject requests of other web pages, by `Origin` and
 * `Sec-Fetch-Site`.
 *
 * **Example** (An emulator for another program)
 *
 * ```ts
 * import * as StacksEmulator from "@stacksapi/core/StacksEmulator"
 * import * as NodeStacksEmulator from "@stacksapi/node/NodeStacksEmulator"
 * import * as Console from "effect/Console"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function* () {
 *   const emulator = yield* StacksEmulator.StacksEmulator
 *   yield* emulator.addJobs([{ queueKey: "linux", command: "make test" }])
 *   yield* Console.log(`BUILDKITE_AGENT_ENDPOINT=${emulator.baseUrl}`)
 *   return yield* Effect.never
 * }).pipe(Effect.provide(NodeStacksEmulator.layer({ port: 4567 })))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<StacksEmulator.StacksEmulator, InvalidOptions | ListenError> =>
  Layer.unwrap(Effect.map(implementation, ({ layer }) => layer(options)))

/**
 * A `StacksClient` for the emulator, over real HTTP.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient: Layer.Layer<StacksClient.StacksClient, never, StacksEmulator.StacksEmulator> = Layer.unwrap(
  Effect.map(implementation, ({ layerClient }) => layerClient)
)
