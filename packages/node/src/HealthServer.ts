/**
 * An HTTP server with metrics and health checks for the stacks of this process.
 *
 * **When to use**
 *
 * Use it for Prometheus, and for the liveness and readiness probes of Kubernetes or a load balancer.
 *
 * **Details**
 *
 * - `GET /metrics`: all metrics of the process in Prometheus' text format. Counters get the suffix `_total` there.
 * - `GET /healthz`: liveness. 503 if a stack has failed, or all stacks of several queues have; else 200.
 * - `GET /readyz`: readiness. 200 if every stack is registered, runs and has polled its queue recently, and a process of a cluster is a
 *   member of it, and no runner is unavailable; else 503 with the reason.
 *
 * `/healthz` and `/readyz` respond with a {@link Report} in JSON. No response contains a secret. There is no access control: by default
 * the server listens on `127.0.0.1`.
 *
 * **Example** (A stack with its monitoring)
 *
 * ```ts
 * import { Stack } from "@stacksapi/core"
 * import { HealthServer } from "@stacksapi/node"
 * import { Effect } from "effect"
 *
 * export const program = Effect.gen(function* () {
 *   const health = yield* HealthServer.HealthServer
 *   const stack = yield* Stack.make({ key: "my-stack", queueKey: "_default" })
 *   yield* health.watch(stack)
 *   return yield* stack.awaitFailure
 * }).pipe(Effect.scoped, Effect.provide(HealthServer.layer({ port: 9090 })))
 * ```
 *
 * @since 0.1.0
 */
import type * as Stack from "@stacksapi/core/Stack"
import type * as Stacks from "@stacksapi/core/Stacks"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as ClusterStack from "./ClusterStack.ts"
import type { ListenError } from "./internal/http/listenError.ts"

const implementation = Effect.promise(() => import("./internal/health/server.ts"))

/**
 * The options of a health server.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The address to listen on. Default `127.0.0.1`, which only this machine reaches. In a container use `0.0.0.0`. */
  readonly host?: string | undefined
  /** The port to listen on. 0 takes a free port: see `url`. */
  readonly port: number
  /**
   * The maximum age of a stack's last poll for it to be ready. Set it longer than the stack's `pollInterval`. Default 1 minute, at least 1
   * second.
   */
  readonly maxPollAge?: Duration.Input | undefined
  /**
   * The maximum number of connections. Beyond it, each new connection closes the one that has been idle for longest; if none is idle, the
   * new one is refused. Default 128.
   */
  readonly maxConnections?: number | undefined
}

export {
  /**
   * The server can't listen on its address: the port is in use, or the address does not belong to this machine.
   *
   * @since 0.1.0
   * @category errors
   */
  ListenError
} from "./internal/http/listenError.ts"

/**
 * The state of a stack in a report.
 *
 * @since 0.1.0
 * @category models
 */
export interface StackReport {
  readonly key: string
  readonly queueKey: string
  readonly phase: Stack.Status["phase"]
  /** Whether the queue's dispatch is paused. A stack of a paused queue is ready. */
  readonly isPaused: boolean
  readonly maxInFlight: number
  /** How many jobs hold a slot. */
  readonly inFlight: number
  /** How many jobs may start, and wait for a slot. */
  readonly pending: number
  /** How many jobs are in backoff. */
  readonly backingOff: number
  /** How many jobs have ended, and wait until the service accepts their finish. */
  readonly finishing: number
  /** Whether the stack reserves nothing because starts of different jobs kept failing. */
  readonly startsSuspended: boolean
  /** Why the runner can take no job now, for example because Docker does not respond; null if it can. */
  readonly runnerUnavailable: string | null
  /** The age of the last poll; null before the first poll. */
  readonly secondsSincePoll: number | null
  /** Why it has failed; null if it has not. */
  readonly failure: string | null
}

/**
 * The state of a process of a cluster in a report.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClusterReport {
  readonly phase: ClusterStack.Status["phase"]
  readonly slots: number
  /** How many jobs hold a slot of this process. */
  readonly running: number
  /** The processes of the cluster that are alive, as this process last saw them. */
  readonly processes: ClusterStack.Status["processes"]
}

/**
 * The response of `/healthz` and `/readyz`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Report {
  readonly status: "ok" | "unavailable"
  /** Why it is unavailable; null when it is ok. */
  readonly reason: string | null
  /** The stacks of the process; in a cluster, the stacks that it leads. */
  readonly stacks: ReadonlyArray<StackReport>
  /** Null if no process of a cluster is watched. */
  readonly cluster: ClusterReport | null
}

/**
 * What a server can watch: a stack, the stacks of several queues, or a process of a cluster.
 *
 * @since 0.1.0
 * @category models
 */
export type Watched = Stack.Service | Stacks.Service | ClusterStack.Service

/**
 * A running health server.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** The URL at which clients on this machine reach it, for example `http://127.0.0.1:9090`. */
  readonly url: string
  /**
   * Adds a stack to the reports. It replaces an earlier stack with the same key. `/readyz` ignores stopped stacks while another stack
   * runs.
   */
  readonly watch: (stack: Watched) => Effect.Effect<void>
  /** Says why no stack is registered yet, for the reason of `/readyz` until the first stack is watched. */
  readonly explain: (reason: string) => Effect.Effect<void>
}

/**
 * A running health server.
 *
 * @since 0.1.0
 * @category services
 */
export class HealthServer extends Context.Service<HealthServer, Service>()("@stacksapi/node/HealthServer") {}

/**
 * Serves until the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (options: Options) => Effect.Effect<Service, InvalidOptions | ListenError, Scope.Scope> = (
  options
) => Effect.flatMap(implementation, ({ make }) => make(options))

/**
 * Serves for as long as the layer is in use.
 *
 * **Details**
 *
 * The server needs no stack. Provide the layer around the stack, and pass the stack to `watch`: then the server responds before the stack
 * is registered, with 503 for `/readyz`, and while it drains.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<HealthServer, InvalidOptions | ListenError> =>
  Layer.effect(HealthServer, make(options))
