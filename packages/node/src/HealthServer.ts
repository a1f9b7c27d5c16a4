/**
 * An HTTP server that tells monitoring how the stacks of this process are doing.
 *
 * **Details**
 *
 * - `GET /metrics`: all metrics of the process in Prometheus' text format. Counters get the suffix `_total` there.
 * - `GET /healthz`: whether the process should go on. 503 when a stack has failed and can't go on, or of the stacks of several
 *   queues none can; else 200.
 * - `GET /readyz`: whether it takes jobs. 200 when every stack is registered, runs, and has looked at its queue of late, and a
 *   process of a cluster has its place there; else 503 with the reason.
 *
 * The last two answer with a {@link Report} in JSON. There is no secret in any of them, and no access control: the server
 * listens on `127.0.0.1` unless told otherwise.
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
 *   const stack = yield* Stack.make({ key: "my-stack", queueKey: "default" })
 *   yield* health.watch(stack)
 *   return yield* stack.awaitFailure
 * }).pipe(Effect.scoped, Effect.provide(HealthServer.layer({ port: 9090 })))
 * ```
 *
 * @since 0.1.0
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type * as Stack from "@stacksapi/core/Stack"
import type * as Stacks from "@stacksapi/core/Stacks"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { constTrue } from "effect/Function"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type * as ClusterStack from "./ClusterStack.ts"
import { answer } from "./internal/health/answer.ts"
import { sharedExposition } from "./internal/health/exposition.ts"
import * as Watch from "./internal/health/watch.ts"
import { authority, listen } from "./internal/http/listen.ts"
import type { ListenError } from "./internal/http/listenError.ts"
import * as Check from "./internal/options.ts"

/**
 * Where the server listens, and what it takes for healthy.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The address to listen on. Default `127.0.0.1`: only this machine reaches it. In a container: `0.0.0.0`. */
  readonly host?: string | undefined
  /** The port to listen on. 0: a free one, which `url` then tells. */
  readonly port: number
  /**
   * How long ago a stack may have looked at its queue and still count as ready. Give it more than the stack's `pollInterval`.
   * Default 1 minute, at least 1 second.
   */
  readonly maxPollAge?: Duration.Input | undefined
  /**
   * How many connections it has at once. Beyond that the one that has been idle for longest is closed for each new one, and
   * where none is idle the new one is refused. Default 128.
   */
  readonly maxConnections?: number | undefined
}

export {
  /**
   * The server can't listen where it was told to: the port is in use, or the address is not this machine's.
   *
   * @since 0.1.0
   * @category errors
   */
  ListenError
} from "./internal/http/listenError.ts"

/**
 * What one stack looks like from outside.
 *
 * @since 0.1.0
 * @category models
 */
export interface StackReport {
  readonly key: string
  readonly queueKey: string
  readonly phase: Stack.Status["phase"]
  /** Whether the queue's dispatch is paused; the stack is ready all the same. */
  readonly isPaused: boolean
  readonly maxInFlight: number
  /** How many jobs hold a slot. */
  readonly inFlight: number
  /** How many jobs may start and wait for a slot. */
  readonly pending: number
  /** How many jobs are reserved and wait for another try. */
  readonly backingOff: number
  /** Jobs that have ended and wait until the service accepts their finish. */
  readonly finishing: number
  /** Whether starts of different jobs kept failing, so that nothing is reserved for now. */
  readonly startsSuspended: boolean
  /** How long ago the queue was last looked at; null before the first time. */
  readonly secondsSincePoll: number | null
  /** Why it can't go on; null while it can. */
  readonly failure: string | null
}

/**
 * What a process of a cluster looks like from outside.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClusterReport {
  readonly phase: ClusterStack.Status["phase"]
  readonly slots: number
  /** How many jobs hold a slot of this process. */
  readonly running: number
  /** The processes of the cluster, as this one knows them. */
  readonly processes: ClusterStack.Status["processes"]
}

/**
 * What `/healthz` and `/readyz` answer, as JSON.
 *
 * @since 0.1.0
 * @category models
 */
export interface Report {
  readonly status: "ok" | "unavailable"
  /** Why it is unavailable; null when it is ok. */
  readonly reason: string | null
  /** The stacks of the process; in a cluster those of the queues that it leads. */
  readonly stacks: ReadonlyArray<StackReport>
  /** Null where no process of a cluster is watched. */
  readonly cluster: ClusterReport | null
}

/**
 * What a server can tell of: a stack, the stacks of several queues, or a process of a cluster.
 *
 * @since 0.1.0
 * @category models
 */
export type Watched = Stack.Service | Stacks.Service | ClusterStack.Service

/**
 * A server that tells how stacks are doing.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** Where clients on this machine reach it, for example `http://127.0.0.1:9090`. */
  readonly url: string
  /**
   * Tells of this stack too, from now on; one with the key of an earlier one takes its place. `/readyz` leaves a stack out that
   * has stopped, as long as another one runs.
   */
  readonly watch: (stack: Watched) => Effect.Effect<void>
}

/**
 * A server that tells how stacks are doing.
 *
 * @since 0.1.0
 * @category services
 */
export class HealthServer extends Context.Service<HealthServer, Service>()("@stacksapi/node/HealthServer") {}

const limits = {
  maxHeldBytes: 16 * 1024 * 1024,
  headersMillis: 10_000,
  requestMillis: 10_000,
  answerMillis: 10_000
}

/**
 * Listens until the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (options: Options) => Effect.Effect<Service, InvalidOptions | ListenError, Scope.Scope> =
  Effect.fnUntraced(function* ({ host = "127.0.0.1", maxConnections = 128, maxPollAge = "1 minute", port }: Options) {
    yield* Check.text("host", host, "an address to listen on")
    yield* Check.port("port", port, 0)
    yield* Check.integer("maxConnections", maxConnections, 1)
    yield* Check.duration("maxPollAge", maxPollAge, { min: "1 second" })
    const { snapshot, watch } = yield* Watch.make
    const exposition = yield* sharedExposition
    // Requests end after the server, which cuts them off.
    const requests = yield* Scope.fork(yield* Effect.scope)
    const handler = yield* NodeHttpServer.makeHandler(answer({ snapshot, exposition, maxPollAge }), {
      scope: requests
    }).pipe(
      // Probes come every few seconds: their traces would hide the others.
      Effect.provideService(HttpMiddleware.TracerDisabledWhen, constTrue)
    )
    const server = yield* listen(handler, { host, port, limits: { ...limits, maxConnections } })
    return { url: `http://${authority(server)}`, watch }
  })

/**
 * A server that listens as long as the layer is in use.
 *
 * **Details**
 *
 * It needs no stack: it listens before one is registered, when `/readyz` answers 503, and goes on while one drains. So put it
 * around the stack, and hand the stack to `watch`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<HealthServer, InvalidOptions | ListenError> =>
  Layer.effect(HealthServer, make(options))
