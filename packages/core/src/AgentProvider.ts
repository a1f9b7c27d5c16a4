/**
 * Agents that run elsewhere and outlive the stack: in containers, pods, virtual machines or a batch system.
 *
 * **When to use**
 *
 * Implement the three functions of {@link Service} if your agents are not processes of the stack's own machine. {@link layerRunner}
 * makes a `JobRunner` of them. It creates an agent for each job, finds agents again after a restart, and deletes them at the end.
 *
 * **Details**
 *
 * Only {@link Service.list} decides whether an agent exists. The runner calls `create` again only if a listing that began after the
 * last call does not contain the agent, so a lost response does not cause a second agent. A job's agent has the same name on every
 * call: {@link nameOf}.
 *
 * A stack with this runner detaches when it closes: agents and jobs stay for the next process. Give the stacks a `JobStore` that
 * survives the process, so that the next one knows their jobs. {@link deleteAll} deletes all agents of a stack.
 *
 * **Example** (A provider over an API of machines)
 *
 * ```ts
 * import { AgentProvider } from "@stacksapi/core"
 * import { Effect, Layer } from "effect"
 *
 * declare const machines: {
 *   readonly start: (name: string, labels: object, env: object) => Effect.Effect<void, AgentProvider.ProviderError>
 *   readonly all: (label: string) => Effect.Effect<ReadonlyArray<AgentProvider.Agent>, AgentProvider.ProviderError>
 *   readonly stop: (name: string) => Effect.Effect<void, AgentProvider.ProviderError>
 * }
 *
 * const provider = Layer.succeed(AgentProvider.AgentProvider, {
 *   create: ({ env, labels, name }) => machines.start(name, labels, env),
 *   list: (stackKey) => machines.all(stackKey),
 *   delete: ({ name }) => machines.stop(name)
 * })
 *
 * export const runner = AgentProvider.layerRunner().pipe(Layer.provide(provider))
 * ```
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Stream from "effect/Stream"
import { agentName } from "./internal/agentProvider/agentName.ts"
import * as Runner from "./internal/agentProvider/runner.ts"
import { JobRunner } from "./JobRunner.ts"
import type { InvalidOptions, StacksError } from "./StacksError.ts"
import type { JobDetails, ScheduledJob } from "./StacksSchema.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A call of a provider failed:
 * - `Unavailable`: the provider does not respond, or fails temporarily. The call may have taken effect or not. The runner tries again.
 *   The stack reserves nothing until the next call of the same function succeeds or fails for another reason. A failure of `create`,
 *   `delete` or `refreshToken` counts for at most a minute. No job fails.
 * - `NoCapacity`: there is no room for this agent now. The job waits without a slot.
 * - `Refused`: the provider can never run this agent. The job fails with the message.
 *
 * @since 0.2.0
 * @category errors
 */
export class ProviderError extends Data.TaggedError("ProviderError")<{
  readonly reason: "Unavailable" | "NoCapacity" | "Refused"
  /** Shown on the job's page. It must not contain a secret. */
  readonly message: string
  readonly cause?: unknown
}> {
  get isRetryable(): boolean {
    return this.reason !== "Refused"
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A request to create an agent.
 *
 * @since 0.2.0
 * @category models
 */
export interface AgentRequest {
  /** The agent's name: at most 63 lower-case letters, digits and dashes. The same on every call for this job of this stack. */
  readonly name: string
  readonly job: ScheduledJob
  readonly stackKey: string
  readonly queueKey: string
  /** The job's environment and command. Requested at the first use. */
  readonly details: Effect.Effect<JobDetails, StacksError>
  /** The amounts that the job takes, by the stack's option `requests`. */
  readonly requests: Readonly<Record<string, number>>
  /** The token with which the agent acquires this job. Issued for this call. */
  readonly token: Redacted.Redacted
  /** The variables that `buildkite-agent start` needs to acquire the job. The token among them is `Redacted`. */
  readonly env: Readonly<Record<string, string | Redacted.Redacted>>
  /** Labels by which `list` finds the stack's agents: `stacksapi-stack`, `stacksapi-queue` and `stacksapi-job`. */
  readonly labels: Readonly<Record<string, string>>
  /** Texts to store with the agent, for people to read. */
  readonly annotations: Readonly<Record<string, string>>
  /** Shows a text of at most 256 characters on the job's page. Returns at once. */
  readonly notify: (text: string) => Effect.Effect<void>
}

/**
 * An agent, as the provider sees it:
 * - `Pending`: it does not run yet. `problem` says why, if there is a reason.
 * - `Running`: it runs. Only the service knows whether it has acquired its job.
 * - `Succeeded`, `Failed`: it has ended.
 *
 * @since 0.2.0
 * @category models
 */
export interface Agent {
  readonly jobUuid: string
  readonly name: string
  readonly phase: "Pending" | "Running" | "Succeeded" | "Failed"
  /** Why it is in this phase, in one sentence. Shown on the job's page. */
  readonly message?: string | undefined
  /**
   * Why it makes no progress, for example no capacity. If a `Failed` agent has a problem, its `message` is shown on the job's page even
   * if the job passed.
   */
  readonly problem?: ProviderError | undefined
  readonly exitStatus?: number | undefined
  readonly createdAt?: DateTime.Utc | undefined
  /** The annotations of its {@link AgentRequest}. */
  readonly annotations?: Readonly<Record<string, string>> | undefined
}

/**
 * The agent that a call is about.
 *
 * @since 0.2.0
 * @category models
 */
export interface AgentRef {
  readonly stackKey: string
  readonly jobUuid: string
  readonly name: string
}

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * A place where agents run. Calls may be interrupted at any moment, and may come from several processes.
 *
 * @since 0.2.0
 * @category models
 */
export interface Service {
  /** Creates an agent. Succeeds if an agent of this name exists. */
  readonly create: (request: AgentRequest) => Effect.Effect<void, ProviderError>
  /** All agents of a stack, including those that have ended and those that another process created. */
  readonly list: (stackKey: string) => Effect.Effect<ReadonlyArray<Agent>, ProviderError>
  /** Deletes an agent in any state. Succeeds if no agent of this name exists. `reason` is for logs. */
  readonly delete: (agent: AgentRef, reason: string) => Effect.Effect<void, ProviderError>
  /** Gives a new token to an agent that has not acquired its job yet. Without this function the agent keeps its first token. */
  readonly refreshToken?: ((agent: Agent, token: Redacted.Redacted) => Effect.Effect<void, ProviderError>) | undefined
  /** The agent's output, from its start. */
  readonly logs?: ((agent: AgentRef) => Stream.Stream<Uint8Array, ProviderError>) | undefined
  /**
   * Agents whose phase changes. Between two listings, the runner uses the agent's phase from this stream. It still lists all
   * agents every `listInterval`, and calls `create` only after a listing.
   */
  readonly changes?: ((stackKey: string) => Stream.Stream<Agent, ProviderError>) | undefined
}

/**
 * A place where agents run.
 *
 * @since 0.2.0
 * @category services
 */
export class AgentProvider extends Context.Service<AgentProvider, Service>()("@stacksapi/core/AgentProvider") {}

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

/**
 * Settings of {@link layerRunner}.
 *
 * @since 0.2.0
 * @category options
 */
export interface RunnerOptions {
  /**
   * How long after its creation an agent may take to acquire its job. Default 15 minutes.
   *
   * Then the agent is deleted, and created once more. After a second failure the job is released.
   */
  readonly startDeadline?: Duration.Input | undefined
  /** How long an agent may live before it is deleted. Default: no limit. */
  readonly maxLifetime?: Duration.Input | undefined
  /** How long the agent of a canceled job may take to end it, at most the stack's `cancelGrace`. Default: the stack's. */
  readonly cancelGrace?: Duration.Input | undefined
  /** How long a job may wait for capacity before it is released. Default 5 minutes. */
  readonly capacityTimeout?: Duration.Input | undefined
  /** How often the agents of a stack are listed. Default 1 second. Must be at least 100 milliseconds. */
  readonly listInterval?: Duration.Input | undefined
  /** How many `create` calls run at the same time. Default 8. Must be a whole number of 1 or more. */
  readonly createConcurrency?: number | undefined
  /** The endpoint that agents connect to. Default `https://agent.buildkite.com/v3/`. */
  readonly endpoint?: string | undefined
  /** Tags of the agents, each `key=value`; the queue is added. Default: none. */
  readonly tags?: ReadonlyArray<string> | undefined
}

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * A `JobRunner` that creates an agent for each job with the {@link AgentProvider}.
 *
 * **Details**
 *
 * - Each `create` gets a newly issued token. If the provider has `refreshToken`, an agent that has not acquired its job gets another
 *   token before its token expires.
 * - An agent that ends before it has acquired its job, or does not acquire it by `startDeadline`, is deleted and created once more.
 *   After a second failure the job is released.
 * - When a job ends, the runner deletes its agent, and repeats the delete until a listing no longer contains it. The job's slot and
 *   amounts are released only after that.
 * - An agent that does not end by itself is deleted one to two minutes after its job. An agent that works is not deleted because one
 *   listing lacks it.
 * - Agents that belong to no job of the stack are deleted if their jobs' states are final. An unknown state does not count as final,
 *   and is read again every minute. The stack reserves nothing until the agents that are to be deleted are gone.
 * - While a job waits for capacity, no job with equal `requests` and rules is reserved.
 *
 * @see {@link deleteAll} to remove the agents that a detached stack leaves
 * @since 0.2.0
 * @category layers
 */
export const layerRunner = (options: RunnerOptions = {}): Layer.Layer<JobRunner, InvalidOptions, AgentProvider> =>
  Layer.effect(
    JobRunner,
    Effect.flatMap(AgentProvider, (provider) => Runner.make(provider, options))
  )

// -----------------------------------------------------------------------------
// Functions
// -----------------------------------------------------------------------------

/**
 * The name of a job's agent: at most 63 lower-case letters, digits and dashes.
 *
 * @since 0.2.0
 * @category accessors
 */
export const nameOf = (stackKey: string, jobUuid: string): string => agentName(stackKey, jobUuid)

/**
 * Deletes all agents of a stack, and waits until none is listed. Tries once a second, repeats that up to 300 times, and then fails with
 * the last failure. Fails at once if the provider refuses.
 *
 * **Gotchas**
 *
 * Agents that run jobs are deleted too. Stop the stack first, because it would create agents again.
 *
 * @since 0.2.0
 * @category running
 */
export const deleteAll = Effect.fnUntraced(function* (
  stackKey: string,
  reason: string
): Effect.fn.Return<void, ProviderError, AgentProvider> {
  const provider = yield* AgentProvider
  const deleteListed = Effect.gen(function* () {
    const agents = yield* provider.list(stackKey)
    // An agent that can't be deleted does not keep the others.
    const failures = yield* Effect.forEach(
      agents,
      ({ jobUuid, name }) => Effect.option(Effect.flip(provider.delete({ stackKey, jobUuid, name }, reason))),
      { concurrency: 8 }
    )
    const failure = failures.find(Option.isSome)
    if (failure !== undefined) return yield* failure.value
    if (agents.length === 0) return
    const message = `${agents.length} agents of ${stackKey} are not gone yet`
    return yield* new ProviderError({ reason: "Unavailable", message })
  })
  yield* Effect.retry(deleteListed, {
    while: (error) => error.reason !== "Refused",
    schedule: Schedule.spaced("1 second"),
    times: 300
  })
})
