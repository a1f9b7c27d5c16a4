/**
 * Hints: notifications of the database that say who should look for what. A lost one costs time only, because everything that it
 * tells is polled as well. All members hear all hints, on one channel.
 *
 * A connection that is cut without a word looks like one on which nothing happens. So a listener that has heard nothing for a while
 * sends a probe, which it has to hear itself. Behind a pooler that shares sessions no listener hears anything: then it tries again
 * now and then.
 */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import type { Storage } from "./storage.ts"

export type Hint = Data.TaggedEnum<{
  /** Jobs are ready: how many each of these members should claim. */
  Claim: { readonly counts: ReadonlyMap<number, number> }
  /** Jobs ended in a queue that this member leads. */
  Ended: { readonly memberId: number }
  /** Something has changed for this member; for all without an id. */
  Look: { readonly memberId: number | undefined }
  Probe: {}
}>

export const Hint = Data.taggedEnum<Hint>()

export const encode = (hint: Hint): string => {
  switch (hint._tag) {
    case "Claim":
      return `claim ${Array.from(hint.counts, ([id, count]) => `${id}:${count}`).join(",")}`
    case "Ended":
      return `ended ${hint.memberId}`
    case "Look":
      return `look ${hint.memberId ?? "*"}`
    case "Probe":
      return "probe"
  }
}

/** Reads an unknown text, for example of a later version, as a probe: it only shows that the connection is alive. */
export const decode = (text: string): Hint => {
  const [kind, rest = ""] = text.split(" ")
  switch (kind) {
    case "claim":
      return Hint.Claim({
        counts: new Map(
          rest.split(",").map((part) => {
            const [id, count] = part.split(":").map(Number)
            return [id ?? 0, count ?? 0] as const
          })
        )
      })
    case "ended":
      return Hint.Ended({ memberId: Number(rest) })
    case "look":
      return Hint.Look({ memberId: rest === "*" ? undefined : Number(rest) })
    default:
      return Hint.Probe()
  }
}

/** After how much silence a listener sends a probe. */
const silence = Duration.seconds(3)
/** How long its own probe may take. */
const probeTimeout = Duration.seconds(2)
const retryInterval = "1 second"
/** How long to wait after this many listeners in a row have heard nothing. */
const longRetryInterval = "1 minute"
const maxSilent = 3

/** Listens for ever. `hint` is called for each hint; after a new connection, since some may be lost, with `Look`. */
export const listenForever = (
  { listen, notify }: Pick<Storage, "listen" | "notify">,
  onHint: (hint: Hint) => void
): Effect.Effect<never> =>
  Effect.gen(function* () {
    let silentListeners = 0
    let isReported = false
    while (true) {
      const scope = yield* Scope.make()
      const hasHeard = yield* listenOnce({ listen, notify }, onHint).pipe(
        Scope.provide(scope),
        // A connection that is cut does not end at once.
        Effect.ensuring(Effect.forkDetach(Scope.close(scope, Exit.void)))
      )
      silentListeners = hasHeard ? 0 : silentListeners + 1
      if (silentListeners >= maxSilent && !isReported) {
        isReported = true
        yield* Effect.logWarning(
          "Notifications of the cluster's database do not arrive, as behind a pooler that shares sessions: jobs start and end up to a " +
            "second later"
        )
      }
      if (hasHeard) isReported = false
      yield* Effect.sleep(silentListeners >= maxSilent ? longRetryInterval : retryInterval)
    }
  })

/** Listens until the connection ends or hears nothing. Whether it has heard anything. */
const listenOnce = Effect.fnUntraced(function* (
  { listen, notify }: Pick<Storage, "listen" | "notify">,
  onHint: (hint: Hint) => void
): Effect.fn.Return<boolean, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const isLost = yield* Deferred.make<void>()
  let hasHeard = false
  let heardAt = clock.monotonicTimeNanosUnsafe()
  const silentMillis = () => Duration.nanos(clock.monotonicTimeNanosUnsafe() - heardAt)
  const probe = Effect.gen(function* () {
    // All listeners hear a probe. The delay is random, so that most of them need not send their own.
    const pause = Duration.sum(silence, Duration.millis(1000 * (yield* Random.next)))
    yield* Effect.sleep(Duration.max(Duration.subtract(pause, silentMillis()), Duration.millis(100)))
    if (Duration.isLessThan(silentMillis(), silence)) return
    yield* Effect.ignore(Effect.timeout(notify(Hint.Probe()), probeTimeout))
    yield* Effect.sleep(probeTimeout)
    if (Duration.isGreaterThanOrEqualTo(silentMillis(), silence)) yield* Deferred.succeed(isLost, undefined)
  })
  onHint(Hint.Look({ memberId: undefined }))
  yield* listen((hint) => {
    hasHeard = true
    heardAt = clock.monotonicTimeNanosUnsafe()
    onHint(hint)
  }).pipe(
    Effect.catch((error) => Effect.logDebug(`Could not listen to the cluster's database: ${error.message}`)),
    Effect.raceFirst(Deferred.await(isLost)),
    Effect.raceFirst(Effect.forever(probe))
  )
  return hasHeard
})
