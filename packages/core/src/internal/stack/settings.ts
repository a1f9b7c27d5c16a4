/** A stack's options with their defaults filled in. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as AgentQueryRules from "../../AgentQueryRules.ts"
import type { SlotPool } from "../../SlotPool.ts"
import type { Options } from "../../Stack.ts"
import type { StackLedger } from "../../StackLedger.ts"
import type { StackType } from "../../StacksSchema.ts"

export interface Settings {
  readonly key: string
  readonly queueKey: string
  readonly type: StackType
  readonly metadata: Readonly<Record<string, string>>
  readonly tags: AgentQueryRules.Tags | undefined
  readonly maxInFlight: number
  readonly pool: SlotPool | undefined
  readonly weight: number
  readonly pollInterval: Duration.Duration
  readonly stateInterval: Duration.Duration
  readonly reservationExpiry: Duration.Duration
  readonly shutdownGrace: Duration.Duration
  readonly onEvent: Options["onEvent"]
  readonly ledger: StackLedger
  readonly onClose: NonNullable<Options["onClose"]>
}

/** Writes nothing down. */
const noLedger: StackLedger = {
  entries: Effect.succeed([]),
  enter: () => Effect.succeed(true),
  strike: () => Effect.void
}

/** A whole number of slots, never negative. */
export const slots = (count: number): number => (Number.isNaN(count) ? 0 : Math.max(0, Math.floor(count)))

export const resolve = (options: Options): Settings => ({
  key: options.key,
  queueKey: options.queueKey,
  type: options.type ?? "custom",
  metadata: options.metadata ?? {},
  tags: options.tags,
  maxInFlight: slots(options.maxInFlight ?? (options.pool === undefined ? 25 : Number.POSITIVE_INFINITY)),
  pool: options.pool,
  // A share of nothing would be no share, and a stack without one would never start a job.
  weight: Math.max(1e-6, options.weight ?? 1),
  pollInterval: Duration.fromInputUnsafe(options.pollInterval ?? "1 second"),
  stateInterval: Duration.fromInputUnsafe(options.stateInterval ?? "5 seconds"),
  reservationExpiry: Duration.fromInputUnsafe(options.reservationExpiry ?? "15 minutes"),
  shutdownGrace: Duration.fromInputUnsafe(options.shutdownGrace ?? "30 seconds"),
  onEvent: options.onEvent,
  ledger: options.ledger ?? noLedger,
  onClose: options.onClose ?? "drain"
})
