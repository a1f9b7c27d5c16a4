/**
 * The rules of an `AgentProvider`, as cases that any test runner can run against your own provider.
 *
 * **Details**
 *
 * - {@link cases} gives an Effect for each rule. It needs the `AgentProvider`, and fails with a {@link ContractViolation} if the
 *   provider breaks the rule.
 * - Each case uses its own stack keys, so cases can run concurrently, and the provider may have other agents. A case deletes what it has
 *   created.
 * - The agents get jobs that do not exist, and a token that no service knows. So they end soon after their start.
 * - A call that fails with `Unavailable` is repeated for `listedWithin`, because temporary failures break no rule.
 * - A case creates at most nine agents. They need capacity, and cost money if agents do.
 *
 * **Example** (The tests of a provider)
 *
 * ```ts
 * import { it } from "@effect/vitest"
 * import { AgentProviderContract, AgentProviderEmulator, StacksEmulator } from "@stacksapi/core/testing"
 * import { Effect, Layer } from "effect"
 *
 * // Your provider.
 * const provider = AgentProviderEmulator.layer().pipe(Layer.provide(StacksEmulator.layer()))
 *
 * for (const [rule, check] of Object.entries(AgentProviderContract.cases({ listedWithin: "2 minutes" }))) {
 *   it.live(rule, () => Effect.provide(check, provider))
 * }
 * ```
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Record from "effect/Record"
import { AgentProvider, type AgentRequest } from "./AgentProvider.ts"
import * as Rules from "./internal/agentProviderContract/rules.ts"
import { Broken, type Settings, withSubject } from "./internal/agentProviderContract/subject.ts"
import * as Check from "./internal/options.ts"
import type { InvalidOptions } from "./StacksError.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A provider breaks a rule.
 *
 * @since 0.2.0
 * @category errors
 */
export class ContractViolation extends Data.TaggedError("ContractViolation")<{
  /** The rule: the name of its case. */
  readonly rule: string
  /** How the provider breaks it. */
  readonly how: string
  readonly message: string
  readonly cause?: unknown
}> {}

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

/**
 * The time limits of the provider, and what its agents need.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** How long a created agent may take to be listed. Default 30 seconds. */
  readonly listedWithin?: Duration.Input | undefined
  /** How long a deleted agent may stay in the listing. Default 30 seconds. */
  readonly goneWithin?: Duration.Input | undefined
  /**
   * How long an agent with an invalid token may take to end. This option adds a case for agents that have ended. Default: no such
   * case.
   */
  readonly endedWithin?: Duration.Input | undefined
  /** How long a call may take. Default 1 minute. */
  readonly callTimeout?: Duration.Input | undefined
  /** How often the agents are listed. Default 1 second, minimum 10 milliseconds. */
  readonly pollInterval?: Duration.Input | undefined
  /** Changes the agents' requests, for example their `requests` or the job's rules. Must keep the name and the job's id. Default: nothing. */
  readonly adapt?: ((request: AgentRequest) => AgentRequest) | undefined
  /**
   * The provider as another process has it: a layer that shares no memory with the one under test. This option adds a case for agents
   * of other processes. Default: no such case.
   */
  readonly otherProcess?: Layer.Layer<AgentProvider, unknown> | undefined
}

// -----------------------------------------------------------------------------
// Cases
// -----------------------------------------------------------------------------

/**
 * A case for each rule, by the rule's name. With an invalid option all of them fail.
 *
 * @since 0.2.0
 * @category constructors
 */
export const cases = (
  options: Options = {}
): Readonly<Record<string, Effect.Effect<void, ContractViolation | InvalidOptions, AgentProvider>>> =>
  Record.map(
    {
      ...Rules.rules,
      ...(options.endedWithin !== undefined && Rules.endRules(Duration.fromInputUnsafe(options.endedWithin))),
      ...(options.otherProcess !== undefined && Rules.otherProcessRules(otherProcess(options.otherProcess))),
      ...Rules.optionalRules
    },
    (check, rule) =>
      Effect.gen(function* () {
        const settings = yield* resolve(options)
        yield* withSubject(yield* AgentProvider, settings, check)
      }).pipe(
        Effect.catchTag("Broken", ({ cause, how }) =>
          Effect.fail(new ContractViolation({ rule, how, message: `${rule}: ${how}`, cause }))
        )
      )
  )

const resolve = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<Settings, InvalidOptions> {
  return {
    listedWithin: yield* Check.duration("listedWithin", options.listedWithin ?? "30 seconds"),
    goneWithin: yield* Check.duration("goneWithin", options.goneWithin ?? "30 seconds"),
    endedWithin:
      options.endedWithin === undefined ? undefined : yield* Check.duration("endedWithin", options.endedWithin),
    callTimeout: yield* Check.duration("callTimeout", options.callTimeout ?? "1 minute"),
    pollInterval: yield* Check.duration("pollInterval", options.pollInterval ?? "1 second", {
      min: [10, "10 milliseconds"]
    }),
    adapt: options.adapt ?? ((request) => request)
  }
})

/** Has the lifetime of the case. */
const otherProcess = (layer: Layer.Layer<AgentProvider, unknown>) =>
  Layer.build(layer).pipe(
    Effect.map((context) => Context.get(context, AgentProvider)),
    Effect.mapError((cause) => new Broken({ how: "the provider of another process can't be built", cause }))
  )
