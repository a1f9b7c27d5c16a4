/** Decides which pending jobs may be reserved: by the option `admit`, by the runner, and by their amounts. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { StackEvent } from "../../StackEvent.ts"
import type { ScheduledJob } from "../../StacksSchema.ts"
import { type Amounts, issueOf, none } from "../amounts.ts"
import { messageOf } from "../messageOf.ts"
import { Backoff, type BackoffOptions } from "./jobBackoff.ts"
import type { Selection } from "./pendingJobs.ts"
import { requestTimeout, within } from "./requestTimeout.ts"
import type { StackState } from "./stackState.ts"

/** For how many jobs `admit` runs at the same time. */
const maxAsking = 16
/** How long `admit` may take for a job. */
const askTimeout = "1 minute"
/** When `admit` is called again for a job that it has not admitted. */
const askAgain: BackoffOptions = { firstMillis: 60_000, maxMillis: 30 * 60_000 }
/** A waiting job that no poll has listed for this long is forgotten. */
const forgetAfterMillis = 30_000

interface Waiting {
  readonly requests: Amounts
  readonly since: number
  seenAt: number
}

export class Admission {
  readonly #state: () => StackState
  /** The jobs whose `admit` is being called, with the fibers of the calls once they have started. */
  readonly #asking = new Map<string, Fiber.Fiber<void> | undefined>()
  readonly #admitted = new Set<string>()
  /** The jobs that are not admitted, with their reasons. */
  readonly #notAdmitted = new Map<string, string>()
  readonly #backoff = new Backoff()
  /** Jobs without room for their amounts, or that were overtaken. The first one has waited longest. */
  readonly #waiting = new Map<string, Waiting>()
  #signature = ""
  /** The calls of `admit` and the reports that a selection has caused. */
  #todo: Array<Effect.Effect<void>> = []

  constructor(state: () => StackState) {
    this.#state = state
  }

  /** Whether the stack does not admit the job now. */
  isNotAdmitted(jobUuid: string): boolean {
    return this.#notAdmitted.has(jobUuid)
  }

  /** Whether jobs wait for amounts. */
  get isWaiting(): boolean {
    return this.#state().pending.waiting > 0
  }

  /** The job that has waited longest, if it has waited for `agingTime` and the stack may start it. */
  aged(): ({ readonly jobUuid: string } & Waiting) | undefined {
    const state = this.#state()
    const [first] = this.#waiting
    if (first === undefined || !state.mayStart() || state.reserveBackoffUntil > state.now()) return undefined
    const [jobUuid, waiting] = first
    return waiting.since + state.dependencies.settings.agingMillis <= state.now() ? { jobUuid, ...waiting } : undefined
  }

  /** The amounts that a job takes. Empty if they are invalid, because such a job is not reserved. */
  amountsOf(job: ScheduledJob): Amounts {
    return Result.getOrElse(this.#requestsOf(job), () => none)
  }

  /** The amounts that a job takes, or why they are invalid. */
  #requestsOf(job: ScheduledJob): Result.Result<Amounts, string> {
    const { requests } = this.#state().dependencies.settings
    if (requests === undefined) return Result.succeed(none)
    return Result.try({ try: () => requests(job), catch: messageOf }).pipe(
      Result.mapError((message) => `requests failed: ${message}`),
      Result.flatMap((amounts) => {
        const issue = issueOf(amounts)
        return issue === undefined ? Result.succeed(amounts) : Result.fail(`its requests ${issue}`)
      })
    )
  }

  /** Makes jobs that wait for amounts selectable again, if the free amounts have changed. */
  resumeIfFreed(): void {
    const state = this.#state()
    if (state.pending.waiting === 0) return
    const { signature } = state.poolMembership.room()
    if (signature === this.#signature) return
    this.#signature = signature
    state.pending.resume()
  }

  /** Returns a function that decides about each pending job, in the order of urgency, for a number of free slots. */
  selector(slots: number): (job: ScheduledJob, taken: number) => Selection {
    const state = this.#state()
    const { runner, settings } = state.dependencies
    const room = state.poolMembership.room()
    /** The jobs of this selection without room. */
    let passed: Array<readonly [jobUuid: string, requests: Amounts]> = []
    return (job, taken) => {
      const requests = this.#requestsOf(job)
      if (Result.isFailure(requests)) return this.#refuse(job, requests.failure)
      const exceeded = room.exceeded(requests.success)
      if (exceeded !== undefined) return this.#refuse(job, exceeded)
      if (runner.mayReserve?.(job, requests.success, settings.key) === false) {
        // No amounts are kept for a job that must not start.
        this.#waiting.delete(job.id)
        return "drop"
      }
      if (settings.admit !== undefined && !this.#admitted.has(job.id)) {
        if (this.#asking.has(job.id) || this.#backoff.has(job.id, state.now())) return "drop"
        if (this.#asking.size >= maxAsking || this.#asking.size + taken >= slots) return "stop"
        this.#ask(job, settings.admit)
        return "drop"
      }
      this.#notAdmitted.delete(job.id)
      if (!room.fits(job.id, requests.success)) {
        // The first job starts to wait now. The others start when a less urgent job overtakes them.
        if (passed.length === 0) this.#wait(job.id, requests.success)
        passed.push([job.id, requests.success])
        return "wait"
      }
      room.take(job.id, requests.success)
      state.reservingAmounts.set(job.id, requests.success)
      this.#waiting.delete(job.id)
      for (const [jobUuid, requests] of passed) this.#wait(jobUuid, requests)
      passed = passed.slice(0, 1)
      return "take"
    }
  }

  /** Starts the calls of `admit` and sends the reports of the last selection. */
  readonly flush: Effect.Effect<void> = Effect.suspend(() => {
    const todo = this.#todo
    this.#todo = []
    return Effect.all(todo, { discard: true })
  })

  /** Forgets jobs that are no longer listed. `isComplete`: the whole queue was read. */
  onPoll(listed: ReadonlyArray<ScheduledJob>, isComplete: boolean): void {
    const now = this.#state().now()
    for (const { id } of listed) {
      const waiting = this.#waiting.get(id)
      if (waiting !== undefined) waiting.seenAt = now
    }
    for (const [jobUuid, { seenAt }] of this.#waiting) {
      if (seenAt + forgetAfterMillis < now) this.#waiting.delete(jobUuid)
    }
    if (!isComplete || this.#admitted.size + this.#notAdmitted.size + this.#asking.size === 0) return
    const ids = new Set(listed.map(({ id }) => id))
    for (const [jobUuid, asking] of this.#asking) {
      if (ids.has(jobUuid)) continue
      this.#asking.delete(jobUuid)
      asking?.interruptUnsafe()
    }
    for (const jobUuid of this.#admitted) if (!ids.has(jobUuid)) this.#admitted.delete(jobUuid)
    for (const jobUuid of this.#notAdmitted.keys()) {
      if (ids.has(jobUuid)) continue
      this.#notAdmitted.delete(jobUuid)
      this.#backoff.clear(jobUuid)
    }
  }

  #wait(jobUuid: string, requests: Amounts): void {
    const now = this.#state().now()
    if (!this.#waiting.has(jobUuid)) this.#waiting.set(jobUuid, { requests, since: now, seenAt: now })
  }

  /** Reports a job that can't be reserved, once. */
  #refuse(job: ScheduledJob, reason: string): Selection {
    const state = this.#state()
    this.#waiting.delete(job.id)
    if (this.#notAdmitted.get(job.id) !== reason) {
      this.#notAdmitted.set(job.id, reason)
      this.#todo.push(state.dependencies.emit(StackEvent.NotAdmitted({ job, reason })))
    }
    return "drop"
  }

  #ask(job: ScheduledJob, admit: NonNullable<StackState["dependencies"]["settings"]["admit"]>): void {
    const state = this.#state()
    this.#asking.set(job.id, undefined)
    const ask = Effect.gen(function* () {
      // In a separate fiber, so that a call that interrupts itself, or can't be interrupted, ends only itself.
      const call = yield* Effect.forkChild(Effect.suspend(() => admit(job, detailsOf(state, job))))
      const exit = yield* Effect.timeoutOption(Fiber.await(call), askTimeout)
      call.interruptUnsafe()
      return exit
    })
    this.#todo.push(
      Effect.flatMap(ask, (exit) => this.#onVerdict(job, exit)).pipe(
        Effect.forkIn(state.dependencies.scope),
        Effect.flatMap((fiber) =>
          Effect.sync(() => {
            // The call may be over already.
            if (this.#asking.has(job.id)) this.#asking.set(job.id, fiber)
          })
        )
      )
    )
  }

  /** Handles the end of a call; none if the call takes too long. */
  #onVerdict(job: ScheduledJob, end: Option.Option<Exit.Exit<boolean, unknown>>): Effect.Effect<void> {
    const state = this.#state()
    this.#asking.delete(job.id)
    const reason = reasonOf(end)
    if (reason === undefined) {
      this.#admitted.add(job.id)
      this.#notAdmitted.delete(job.id)
      this.#backoff.clear(job.id)
      state.pending.addFirst(job)
      return Effect.sync(() => state.wake())
    }
    this.#backoff.add(job.id, state.now(), askAgain)
    this.#notAdmitted.set(job.id, reason)
    return Effect.andThen(
      state.dependencies.emit(StackEvent.NotAdmitted({ job, reason })),
      Effect.sync(() => state.wake())
    )
  }
}

/** Why a job is not admitted; undefined if it is. */
const reasonOf = (end: Option.Option<Exit.Exit<boolean, unknown>>): string | undefined => {
  if (Option.isNone(end)) return `admit failed: it took longer than ${askTimeout}`
  const exit = end.value
  if (Exit.isSuccess(exit)) return exit.value === true ? undefined : "admit said no"
  const why = Cause.hasInterruptsOnly(exit.cause) ? "it was interrupted" : messageOf(Cause.squash(exit.cause))
  return `admit failed: ${why}`
}

const detailsOf = (state: StackState, job: ScheduledJob) => {
  const { client, registration, settings } = state.dependencies
  return client
    .getJob({ stackKey: settings.key, jobUuid: job.id })
    .pipe(within(requestTimeout), registration.withReRegister)
}
