/**
 * A provider of agents in memory and on `Clock`, for tests of stacks with `AgentProvider.layerRunner`.
 *
 * **Details**
 *
 * An agent boots, acquires its job from the `StacksEmulator` with its token, works, completes the job and ends. Agents continue when the
 * stack ends, until they are deleted. Deleting an agent leaves its job running, as if the agent had been killed.
 *
 * **Example** (A test)
 *
 * ```ts
 * import { AgentProvider, Stack } from "@stacksapi/core"
 * import { AgentProviderEmulator, StacksEmulator } from "@stacksapi/core/testing"
 * import { Effect, Layer } from "effect"
 *
 * const services = AgentProvider.layerRunner().pipe(
 *   Layer.provideMerge(AgentProviderEmulator.layer({ bootTime: "10 seconds" })),
 *   Layer.provideMerge(StacksEmulator.layerTest())
 * )
 *
 * export const program = Stack.runUntilIdle({ key: "ci", queueKey: "_default" }).pipe(Effect.provide(services))
 * ```
 *
 * @since 0.2.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AgentProvider from "./AgentProvider.ts"
import * as Amounts from "./internal/amounts.ts"
import * as Check from "./internal/options.ts"
import { StacksEmulator } from "./StacksEmulator.ts"
import type { InvalidOptions } from "./StacksError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What an agent does after its creation:
 * - `works`: it boots, acquires its job and completes it.
 * - `failsToBoot`: it ends after its boot time without acquiring its job.
 * - `hangs`: it makes no progress.
 *
 * @since 0.2.0
 * @category models
 */
export type Behavior = "works" | "failsToBoot" | "hangs"

/**
 * A fault of a call:
 * - `Unavailable`, `NoCapacity`, `Refused`: the call fails with this reason, and has no effect.
 * - `LostResponse`: the call takes effect, and fails with `Unavailable`.
 * - `Stall`: the call never ends, and has no effect.
 *
 * @since 0.2.0
 * @category models
 */
export interface Fault {
  readonly kind: AgentProvider.ProviderError["reason"] | "LostResponse" | "Stall"
  /** The calls that it applies to. Default: all. */
  readonly operations?: ReadonlyArray<"create" | "list" | "delete" | "refreshToken"> | undefined
  /** Its probability, from 0 to 1. Default 1. */
  readonly rate?: number | undefined
  /** How often it applies at most. Default: no limit. */
  readonly times?: number | undefined
}

/**
 * An agent with its state in the emulator.
 *
 * @since 0.2.0
 * @category models
 */
export interface EmulatedAgent extends AgentProvider.Agent {
  readonly stackKey: string
  readonly requests: Readonly<Record<string, number>>
  /** How many new tokens it has got. */
  readonly refreshes: number
}

/**
 * Counts of calls and agents.
 *
 * @since 0.2.0
 * @category models
 */
export interface Calls {
  readonly create: number
  readonly list: number
  readonly delete: number
  readonly refreshToken: number
  /** Agents that were created. */
  readonly created: number
  /** The largest number of agents, and of concurrent `create` calls, so far. */
  readonly mostAgents: number
  readonly mostCreates: number
}

/**
 * An emulated provider.
 *
 * @since 0.2.0
 * @category models
 */
export interface Service {
  readonly agents: Effect.Effect<ReadonlyArray<EmulatedAgent>>
  readonly calls: Effect.Effect<Calls>
  /** Replaces the active faults. */
  readonly setFaults: (faults: ReadonlyArray<Fault>) => Effect.Effect<void>
  /** Sets the largest number of agents and of each amount. Amounts that are missing are unlimited. */
  readonly setCapacity: (capacity: Capacity) => Effect.Effect<void>
  /** Ends an agent like a crash of its machine: its phase becomes `Failed`. */
  readonly crashAgent: (name: string) => Effect.Effect<void>
}

/**
 * The capacity of the provider.
 *
 * @since 0.2.0
 * @category models
 */
export interface Capacity {
  /** The largest number of agents. Default: no limit. */
  readonly agents?: number | undefined
  /** The capacity of each amount in the agents' `requests`, by name. Default: unlimited. */
  readonly amounts?: Readonly<Record<string, number>> | undefined
}

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * An emulated provider.
 *
 * @since 0.2.0
 * @category services
 */
export class AgentProviderEmulator extends Context.Service<AgentProviderEmulator, Service>()(
  "@stacksapi/core/AgentProviderEmulator"
) {}

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

/**
 * Settings of the emulator.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** How long an agent takes to boot. Default 1 second. */
  readonly bootTime?: Duration.Input | undefined
  /** How long an agent works on a job. Default 1 second. */
  readonly runTime?: ((request: AgentProvider.AgentRequest) => Duration.Input) | undefined
  /** What an agent does. Default `works`. */
  readonly behavior?: ((request: AgentProvider.AgentRequest) => Behavior) | undefined
  /** The exit status with which an agent completes its job. Default 0. */
  readonly exitStatus?: ((request: AgentProvider.AgentRequest) => number) | undefined
  /** How long each call takes. Default 100 milliseconds. */
  readonly callTime?: Duration.Input | undefined
  /** How long a deleted agent stays listed. Default 0. */
  readonly deleteTime?: Duration.Input | undefined
  /** The capacity. Default: unlimited. */
  readonly capacity?: Capacity | undefined
  /** What happens above the capacity: `create` fails, or the agent stays `Pending` with the problem. Default `fails`. */
  readonly beyondCapacity?: "fails" | "pends" | undefined
  /** Whether the provider reports changes as they happen. Default false: `list` is polled. */
  readonly hasChanges?: boolean | undefined
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

interface Machine {
  readonly request: AgentProvider.AgentRequest
  token: Redacted.Redacted
  agent: AgentProvider.Agent
  refreshes: number
  fiber: Fiber.Fiber<unknown> | undefined
}

/**
 * Makes an emulator and its provider. The agents end with the scope.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<
  { readonly emulator: Service; readonly provider: AgentProvider.Service },
  InvalidOptions,
  StacksEmulator | Scope.Scope
> {
  const service = yield* StacksEmulator
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const bootTime = yield* Check.duration("bootTime", options.bootTime ?? "1 second")
  const callTime = yield* Check.duration("callTime", options.callTime ?? "100 millis")
  const deleteTime = yield* Check.duration("deleteTime", options.deleteTime ?? 0)
  const changes = yield* PubSub.unbounded<{ readonly stackKey: string; readonly agent: AgentProvider.Agent }>()
  const machines = new Map<string, Machine>()
  const counts = {
    create: 0,
    list: 0,
    delete: 0,
    refreshToken: 0,
    created: 0,
    mostAgents: 0,
    mostCreates: 0
  }
  let creating = 0
  let capacity = options.capacity ?? {}
  let faults: Array<{ readonly fault: Fault; left: number }> = []

  const unavailable = (message: string) => new AgentProvider.ProviderError({ reason: "Unavailable", message })

  /** Delays a call, and applies a fault to it. */
  const call = <A>(
    operation: "create" | "list" | "delete" | "refreshToken",
    work: Effect.Effect<A, AgentProvider.ProviderError>
  ) =>
    Effect.gen(function* () {
      counts[operation]++
      yield* Effect.sleep(callTime)
      for (const entry of faults) {
        const { kind, operations, rate = 1 } = entry.fault
        if (entry.left <= 0 || (operations !== undefined && !operations.includes(operation))) continue
        if (rate < 1 && (yield* Random.next) >= rate) continue
        entry.left--
        if (kind === "Stall") return yield* Effect.never
        if (kind === "LostResponse")
          return yield* Effect.andThen(work, Effect.fail(unavailable("The response was lost")))
        return yield* new AgentProvider.ProviderError({ reason: kind, message: `An emulated fault: ${kind}` })
      }
      return yield* work
    })

  const update = (machine: Machine, change: Partial<AgentProvider.Agent>) =>
    Effect.suspend(() => {
      machine.agent = { ...machine.agent, ...change }
      return PubSub.publish(changes, { stackKey: machine.request.stackKey, agent: machine.agent })
    })

  /** Why there is no room for another agent; undefined if there is room. */
  const shortage = (requests: Readonly<Record<string, number>>, others: ReadonlyArray<Machine>): string | undefined => {
    if (others.length >= (capacity.agents ?? Number.POSITIVE_INFINITY))
      return `${others.length} agents are there already`
    const held = Amounts.sum(others.map(({ request }) => request.requests))
    for (const [name, amount] of Object.entries(requests)) {
      const size = capacity.amounts?.[name] ?? Number.POSITIVE_INFINITY
      if ((held[name] ?? 0) + amount > size)
        return `${amount} of ${name} are needed, and ${size - (held[name] ?? 0)} are free`
    }
    return undefined
  }

  const isPlaced = ({ agent }: Machine) => agent.problem === undefined

  /** An agent's behavior from its creation to its end. */
  const live = Effect.fnUntraced(function* (machine: Machine): Effect.fn.Return<unknown> {
    const { request } = machine
    while (!isPlaced(machine)) {
      yield* Effect.sleep("1 second")
      const others = Array.from(machines.values()).filter((other) => other !== machine && isPlaced(other))
      const message = shortage(request.requests, others)
      if (message === undefined) yield* update(machine, { problem: undefined, message: undefined })
    }
    const behavior = options.behavior?.(request) ?? "works"
    if (behavior === "hangs") return yield* Effect.never
    yield* Effect.sleep(bootTime)
    if (behavior === "failsToBoot")
      return yield* update(machine, { phase: "Failed", message: "The machine did not boot" })
    yield* update(machine, { phase: "Running" })
    const acquired = yield* Effect.exit(service.acquireJob(machine.token))
    if (acquired._tag === "Failure") {
      return yield* update(machine, { phase: "Failed", message: "The agent could not acquire its job", exitStatus: 27 })
    }
    const status = options.exitStatus?.(request) ?? 0
    const isCanceled = Effect.map(service.jobs, (jobs) =>
      jobs.some(({ id, state }) => id === request.job.id && (state === "canceling" || state === "timing_out"))
    )
    const canceled = Effect.repeat(Effect.delay(isCanceled, "1 second"), { until: (is) => is })
    yield* Effect.raceFirst(Effect.sleep(Duration.fromInputUnsafe(options.runTime?.(request) ?? "1 second")), canceled)
    yield* Effect.ignoreCause(service.completeJob(request.job.id, status))
    return yield* update(machine, { phase: "Succeeded", exitStatus: 0 })
  })

  const create = (request: AgentProvider.AgentRequest) =>
    Effect.suspend(() => {
      if (machines.has(request.name)) return Effect.void
      const others = Array.from(machines.values()).filter(isPlaced)
      const message = shortage(request.requests, others)
      const noCapacity = (message: string) => new AgentProvider.ProviderError({ reason: "NoCapacity", message })
      if (message !== undefined && options.beyondCapacity !== "pends") return Effect.fail(noCapacity(message))
      const machine: Machine = {
        request,
        token: request.token,
        refreshes: 0,
        fiber: undefined,
        agent: {
          jobUuid: request.job.id,
          name: request.name,
          phase: "Pending",
          createdAt: DateTime.makeUnsafe(clock.currentTimeMillisUnsafe()),
          annotations: request.annotations,
          problem: message === undefined ? undefined : noCapacity(message)
        }
      }
      machines.set(request.name, machine)
      counts.created++
      counts.mostAgents = Math.max(counts.mostAgents, machines.size)
      return Effect.map(Effect.forkIn(live(machine), scope), (fiber) => {
        machine.fiber = fiber
      })
    })

  const stop = (name: string) =>
    Effect.suspend(() => {
      const fiber = machines.get(name)?.fiber
      return fiber === undefined ? Effect.void : Fiber.interrupt(fiber)
    })

  const provider: AgentProvider.Service = {
    create: (request) =>
      Effect.suspend(() => {
        creating++
        counts.mostCreates = Math.max(counts.mostCreates, creating)
        return Effect.ensuring(
          call("create", create(request)),
          Effect.sync(() => {
            creating--
          })
        )
      }),
    list: (stackKey) =>
      call(
        "list",
        Effect.sync(() =>
          Array.from(machines.values())
            .filter(({ request }) => request.stackKey === stackKey)
            .map(({ agent }) => agent)
        )
      ),
    delete: ({ name }) =>
      call(
        "delete",
        Effect.andThen(
          stop(name),
          Duration.isZero(deleteTime)
            ? Effect.sync(() => {
                machines.delete(name)
              })
            : Effect.sync(() => {
                machines.delete(name)
              }).pipe(Effect.delay(deleteTime), Effect.forkIn(scope), Effect.asVoid)
        )
      ),
    refreshToken: ({ name }, token) =>
      call(
        "refreshToken",
        Effect.sync(() => {
          const machine = machines.get(name)
          if (machine === undefined) return
          machine.token = token
          machine.refreshes++
        })
      ),
    ...(options.hasChanges === true && {
      changes: (stackKey) =>
        Stream.fromPubSub(changes).pipe(
          Stream.filter((change) => change.stackKey === stackKey),
          Stream.map(({ agent }) => agent)
        )
    })
  }

  return {
    provider,
    emulator: {
      agents: Effect.sync(() =>
        Array.from(machines.values(), ({ agent, refreshes, request }) => ({
          ...agent,
          stackKey: request.stackKey,
          requests: request.requests,
          refreshes
        }))
      ),
      calls: Effect.sync(() => ({ ...counts })),
      setFaults: (list) =>
        Effect.sync(() => {
          faults = list.map((fault) => ({ fault, left: fault.times ?? Number.POSITIVE_INFINITY }))
        }),
      setCapacity: (changed) =>
        Effect.sync(() => {
          capacity = changed
        }),
      crashAgent: (name) =>
        Effect.suspend(() => {
          const machine = machines.get(name)
          return machine === undefined
            ? Effect.void
            : Effect.andThen(
                stop(name),
                Effect.asVoid(update(machine, { phase: "Failed", message: "The machine crashed" }))
              )
        })
    }
  }
})

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * The emulator and its `AgentProvider`.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (
  options?: Options
): Layer.Layer<AgentProviderEmulator | AgentProvider.AgentProvider, InvalidOptions, StacksEmulator> =>
  Layer.effectContext(
    Effect.map(make(options), ({ emulator, provider }) =>
      Context.make(AgentProviderEmulator, emulator).pipe(Context.add(AgentProvider.AgentProvider, provider))
    )
  )
