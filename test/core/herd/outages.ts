/** Ways in which a service is away, as its clients see it. */
import { StacksEmulator } from "@stacksapi/core/testing"
import { Data, Effect } from "effect"

const { Fault } = StacksEmulator

class Broken extends Data.Error<{ readonly code: string }> {}

export interface Outage {
  /** What the service answers until a time, in milliseconds; by default it is well. */
  readonly faults?: (until: number) => ReadonlyArray<StacksEmulator.Fault>
  /** What becomes of requests on their way; it may wait until the outage is over. */
  readonly connection?: (over: Effect.Effect<void>) => Effect.Effect<Broken>
}

/** A `Retry-After` with a date names the same moment to everybody. */
const dated = (until: number) =>
  Fault.Status({ status: 503, headers: { "retry-after": new Date(Math.ceil(until / 1000) * 1000).toUTCString() } })

export const outages = {
  "503 without Retry-After": { faults: () => [Fault.Status({ status: 503 })] },
  "503, Retry-After: 45": { faults: () => [Fault.Status({ status: 503, retryAfter: "45 seconds" })] },
  "503, Retry-After: its end": { faults: (until) => [dated(until)] },
  "429 without Retry-After": { faults: () => [Fault.Status({ status: 429 })] },
  "connections refused": { connection: () => Effect.succeed(new Broken({ code: "ECONNREFUSED" })) },
  "answers after 50 s": { faults: () => [Fault.Stall({ duration: "50 seconds" })] },
  "silence, then all connections break": {
    connection: (over) => Effect.as(over, new Broken({ code: "ECONNRESET" }))
  }
} satisfies Record<string, Outage>
