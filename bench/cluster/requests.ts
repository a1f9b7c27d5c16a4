/** All requests of an emulator, including those that it no longer keeps. */
import { StacksEmulator } from "@stacksapi/core/testing"
import { DateTime, Effect } from "effect"

const millisOf = ({ time }: StacksEmulator.LoggedRequest) => DateTime.toEpochMillis(time)

/** Reads the log repeatedly, and at the end. */
export const collect = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const all: Array<StacksEmulator.LoggedRequest> = []
  /** All requests before this time are read and complete. */
  let until = 0
  const read = (complete: number) =>
    Effect.map(emulator.requests, (requests) => {
      const now = Date.now() - complete
      all.push(...requests.filter((request) => millisOf(request) >= until && millisOf(request) < now))
      until = now
    })
  // Allow for late responses.
  yield* Effect.forkScoped(Effect.forever(Effect.delay(read(5000), "10 seconds")))
  return Effect.as(read(0), all)
})

/** Seconds from each of these times to the next matching request. */
export const waits = (
  requests: ReadonlyArray<StacksEmulator.LoggedRequest>,
  moments: ReadonlyArray<{
    readonly at: number
    readonly passes: (request: StacksEmulator.LoggedRequest) => boolean
  }>
): ReadonlyArray<number> =>
  moments.flatMap(({ at, passes }) => {
    const next = requests.find((request) => millisOf(request) >= at && passes(request))
    return next === undefined ? [] : [(millisOf(next) - at) / 1000]
  })

/** The longest time without a matching request, in seconds. */
export const longestGap = (times: ReadonlyArray<number>): number =>
  times.reduce((longest, time, index) => Math.max(longest, time - (times[index - 1] ?? time)), 0) / 1000

export const timesOf = (
  requests: ReadonlyArray<StacksEmulator.LoggedRequest>,
  passes: (request: StacksEmulator.LoggedRequest) => boolean
): ReadonlyArray<number> => requests.filter(passes).map(millisOf)
