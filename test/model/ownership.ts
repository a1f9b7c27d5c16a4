/**
 * Who has each job. The service decides; the model watches it, and judges each reservation that ends early: a stack that could
 * have renewed it has made a mistake, and one that was cut off for too long has not.
 */
import type { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import type { JobTrace, Life, World } from "./world.ts"

const agentStates: ReadonlySet<string> = new Set(["accepted", "assigned", "running", "canceling", "timing_out"])

export const isAgentOwned = (state: string): boolean => agentStates.has(state)
export const isOver = (state: string): boolean => state === "finished" || state === "canceled"

/** What a stack should have noticed and stopped for. */
export const isStopState = (state: string): boolean =>
  ["canceled", "canceling", "timing_out", "timed_out", "expired"].includes(state)

/** Looks at all jobs of the service, and at what has become of them since the last look. */
export const observe = (world: World): Effect.Effect<void> =>
  Effect.map(world.emulator.jobs, (views) => {
    for (const view of views) {
      const job = world.jobs.get(view.id)
      if (job === undefined) continue
      const before = job.view
      job.view = view
      if (before.state !== view.state) world.note(`service: ${view.id} ${before.state} -> ${view.state}${endOf(view)}`)
      if (view.state !== "scheduled") job.scheduledSince = undefined
      else job.scheduledSince ??= world.now
      if (job.goneAt === undefined && (isOver(view.state) || isAgentOwned(view.state))) job.goneAt = world.now
      if (isOver(view.state)) job.overAt ??= world.now
      if (before.state === "reserved") judge(world, job, before)
    }
  })

const endOf = ({ detail, exitStatus, reservedBy, signalReason }: StacksEmulator.Job): string =>
  [
    reservedBy === undefined ? "" : ` by ${reservedBy}`,
    exitStatus === undefined ? "" : ` with ${exitStatus}`,
    signalReason === undefined ? "" : ` ${signalReason}`,
    detail === undefined ? "" : ` "${detail.slice(0, 60)}"`
  ].join("")

const judge = (world: World, job: JobTrace, before: StacksEmulator.Job): void => {
  const { view } = job
  const hasLapsed =
    view.state === "scheduled" ||
    (view.state === "reserved" &&
      (view.reservedBy !== before.reservedBy ||
        view.reservedAt?.epochMilliseconds !== before.reservedAt?.epochMilliseconds))
  if (!hasLapsed) return
  const life = job.holder
  job.holder = undefined
  if (job.stolenAt !== undefined || life === undefined || !isItsTask(world, life, job)) {
    if (job.stolenAt === undefined && life !== undefined && isLeftToHeir(world, life, job)) {
      world.violate(
        "no job of a process that has died waits until its reservation lapses",
        `the reservation of ${view.id} by ${life.name} has lapsed, and ${life.process.life?.name} is there`
      )
    }
    job.lostAt = world.now
    return
  }
  const excuse = excuseOf(world, life)
  if (excuse === undefined) {
    world.violate(
      "reservations are renewed while jobs are here",
      `${life.name} let the reservation of ${view.id} lapse, though it could have renewed it`
    )
  } else {
    world.note(`model: the lapse of ${view.id} at ${life.name} is excused: ${excuse}`)
  }
  job.lostAt = world.now
}

/** Whether this life has to keep the job's reservation: it is neither gone nor on its way out, and does not give the job back. */
const isItsTask = (world: World, life: Life, job: JobTrace): boolean =>
  life.isPresent &&
  life.failure === undefined &&
  life.closingSince === undefined &&
  life.drainingSince === undefined &&
  !life.released.has(job.plan.id) &&
  !world.isPoisoned(job.plan.id) &&
  (life.open.has(job.plan.id) || life.active.has(job.plan.id))

/** Whether the next life had the time to find a job that a life has left when it died or detached. */
const isLeftToHeir = (world: World, life: Life, job: JobTrace): boolean => {
  const heir = life.process.life
  const hasLeft = !life.isAlive || (life.plan.onClose === "detach" && life.drainingSince === undefined)
  return (
    hasLeft &&
    life.plan.hasStore &&
    !life.released.has(job.plan.id) &&
    !world.isPoisoned(job.plan.id) &&
    heir !== undefined &&
    heir !== life &&
    heir.isUp &&
    calmFor(world, heir) > recoveryMillis + slackMillis
  )
}

// -----------------------------------------------------------------------------
// Excuses
// -----------------------------------------------------------------------------

/** What a renewal may be late for reasons of its own: a request's way, the wait for a rate limit. In milliseconds. */
const slackMillis = 10_000
/** How late a request may come after trouble has ended: the longest delay before a retry, and the longest `Retry-After`. */
const recoveryMillis = 55_000

/** How long it may take to find out which job spoils requests, in milliseconds. */
const isolationMillis = 120_000

/** Whether odd responses are in the way. A job that spoils requests is in its own way alone, once it is known. */
const isOdd = (world: World): boolean =>
  world.odd.some(({ odd }) => odd.kind !== "poison") ||
  (world.poisoned.size > 0 && world.now - world.poisonedSince < isolationMillis)

/** Whether something is in the way of a stack's requests now. */
export const isTroubled = (world: World, life: Life): boolean =>
  world.faults > 0 ||
  isOdd(world) ||
  world.now < world.troubledUntil ||
  life.process.link !== "up" ||
  life.service === undefined ||
  Array.from(life.pending).some(({ since }) => world.now - since > 2000)

/** Takes note of whether a stack was able to work. Called at every tick. */
export const noteTrouble = (world: World, life: Life): void => {
  if (isTroubled(world, life)) {
    life.calmSince = undefined
    return
  }
  life.calmSince ??= world.now
  const quarter = (life.plan.reservationExpiry * 1000) / 4
  if (world.now - life.calmSince >= quarter + recoveryMillis) life.solidAt = world.now
}

/** How long a stack has been able to work without anything in its way, in milliseconds. */
export const calmFor = (world: World, life: Life): number =>
  life.calmSince === undefined ? 0 : world.now - life.calmSince

/**
 * How much of a reservation is left at least, in milliseconds, where nobody has made a mistake: it is renewed each quarter of its
 * time, and where requests fail no less is left than their failures have taken.
 */
export const leastLeft = (world: World, life: Life): number => {
  const expiry = life.plan.reservationExpiry * 1000
  // Three renewals may fail, each a tenth of a quarter after the other, before the job that spoils them is looked for.
  const isolation = world.poisoned.size > 0 ? expiry * 0.1 + slackMillis : 0
  // One may fail because the service has forgotten the stack, which then registers again.
  const retry = expiry / 40
  return (expiry * 3) / 4 - retry - slackMillis - isolation - (world.now - life.solidAt)
}

const excuseOf = (world: World, life: Life): string | undefined =>
  leastLeft(world, life) > 0
    ? undefined
    : `nothing was certain for the last ${Math.round((world.now - life.solidAt) / 1000)} s`
