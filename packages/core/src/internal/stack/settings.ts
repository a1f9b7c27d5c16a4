/** A stack's options, checked and with defaults. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { SlotPool } from "../../SlotPool.ts"
import type { Options } from "../../Stack.ts"
import type { InvalidOptions } from "../../StacksError.ts"
import { StackKey, StackMetadata, StackType } from "../../StacksSchema.ts"
import type { Amounts } from "../amounts.ts"
import * as Check from "../options.ts"

export interface Settings {
  readonly key: string
  readonly queueKey: string
  readonly type: StackType
  readonly metadata: Readonly<Record<string, string>>
  /** The tags of the stack's agents; undefined if it takes every job. */
  readonly tags: Options["tags"]
  readonly maxInFlight: number
  readonly pool: SlotPool | undefined
  readonly weight: number
  readonly pollInterval: Duration.Duration
  readonly stateInterval: Duration.Duration
  readonly reservationExpiry: Duration.Duration
  readonly startTimeout: Duration.Duration
  readonly authGrace: Duration.Duration
  readonly cancelGrace: Duration.Duration
  readonly shutdownGrace: Duration.Duration
  readonly admit: Options["admit"]
  readonly requests: Options["requests"]
  readonly capacity: Amounts
  readonly agingMillis: number
  readonly onEvent: Options["onEvent"]
  readonly onClose: "drain" | "detach"
}

/** A number of slots. */
export const slots = (count: number): Effect.Effect<number, InvalidOptions> => Check.count("maxInFlight", count, 0)

export const resolve = Effect.fnUntraced(function* (
  options: Options,
  outlivesStack: boolean
): Effect.fn.Return<Settings, InvalidOptions> {
  const { onClose = outlivesStack ? "detach" : "drain", pool, tags } = options
  if (onClose !== "drain" && onClose !== "detach") {
    return yield* Check.invalid("onClose", `must be "drain" or "detach", not ${JSON.stringify(onClose)}`)
  }
  if (pool !== undefined && options.capacity !== undefined) {
    return yield* Check.invalid(
      "capacity",
      "must be left out where there is a pool: it is the pool's, SlotPool.make(n, { capacity })"
    )
  }
  yield* Check.tags("tags", tags)
  const atLeastASecond = { min: Check.second }
  return {
    key: yield* Check.described("key", StackKey, options.key),
    queueKey: yield* Check.described("queueKey", Schema.NonEmptyString, options.queueKey),
    type: yield* Check.described("type", StackType, options.type ?? "custom"),
    metadata: yield* Check.described("metadata", StackMetadata, options.metadata ?? {}),
    tags,
    maxInFlight: yield* slots(options.maxInFlight ?? (pool === undefined ? 25 : Number.POSITIVE_INFINITY)),
    pool,
    weight: yield* Check.number("weight", options.weight ?? 1, 1e-6, 1e6),
    pollInterval: yield* Check.duration("pollInterval", options.pollInterval ?? "1 second", atLeastASecond),
    stateInterval: yield* Check.duration("stateInterval", options.stateInterval ?? "5 seconds", atLeastASecond),
    reservationExpiry: yield* Check.duration("reservationExpiry", options.reservationExpiry ?? "15 minutes", {
      min: Check.second,
      max: Check.hour
    }),
    startTimeout: yield* Check.duration("startTimeout", options.startTimeout ?? "5 minutes"),
    authGrace: yield* Check.duration("authGrace", options.authGrace ?? "5 minutes"),
    cancelGrace: yield* Check.duration("cancelGrace", options.cancelGrace ?? "30 seconds"),
    shutdownGrace: yield* Check.duration("shutdownGrace", options.shutdownGrace ?? "30 seconds"),
    admit: options.admit,
    requests: options.requests,
    capacity: yield* Check.amounts("capacity", options.capacity ?? {}),
    agingMillis: Duration.toMillis(yield* Check.duration("agingTime", options.agingTime ?? "60 seconds")),
    onEvent: options.onEvent,
    onClose
  }
})
