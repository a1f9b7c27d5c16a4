/** Records the requests to the emulator in order. Replaying them to another emulator shows the emulator's part of the costs. */
import type { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, Effect, Option } from "effect"
import { HttpClient, HttpClientRequest, UrlParams } from "effect/http"

interface Entry {
  readonly at: number
  readonly act: Effect.Effect<unknown, unknown, HttpClient.HttpClient | StacksEmulator.StacksEmulator>
}

export class Recording {
  #entries: Array<Entry> = []
  readonly isOn: boolean

  constructor(isOn: boolean) {
    this.isOn = isOn
  }

  add(at: number, act: Entry["act"]): void {
    if (this.isOn) this.#entries.push({ at, act })
  }

  addRequest(at: number, { body, headers, method, url }: HttpClientRequest.HttpClientRequest): void {
    if (!this.isOn) return
    // Keep only what the response depends on, because the rest belongs to the stack's memory.
    const request = HttpClientRequest.makeWith(method, url, UrlParams.empty, Option.none(), headers, body)
    this.add(
      at,
      Effect.flatMap(HttpClient.execute(request), (response) => response.text)
    )
  }

  /** Replays the requests to an emulator in the initial state. The measurement starts at `beginAt`. */
  replay(from: number, onFrom: () => void) {
    const entries = this.#entries
    const clock = new ManualClock()
    return Effect.gen(function* () {
      let hasBegun = false
      for (const { act, at } of entries) {
        if (!hasBegun && at >= from) {
          hasBegun = true
          onFrom()
        }
        clock.now = at
        yield* Effect.exit(act)
      }
    }).pipe(Effect.provideService(Clock.Clock, clock))
  }
}

/** A clock whose time is set. It has no sleeps. */
class ManualClock implements Clock.Clock {
  now = 0
  readonly currentTimeMillisUnsafe = () => this.now
  readonly currentTimeNanosUnsafe = () => BigInt(this.now) * 1_000_000n
  readonly monotonicTimeNanosUnsafe = () => BigInt(this.now) * 1_000_000n
  readonly currentTimeMillis = Effect.sync(this.currentTimeMillisUnsafe)
  readonly currentTimeNanos = Effect.sync(this.currentTimeNanosUnsafe)
  readonly monotonicTimeNanos = Effect.sync(this.monotonicTimeNanosUnsafe)
  readonly sleep = () => Effect.never
}
