/** What this process runs, and how what it ran has ended, until nobody can ask for that any more. */
import type { StopReason } from "@stacksapi/core/JobRunner"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import type * as Deferred from "effect/Deferred"
import type * as Fiber from "effect/Fiber"
import type { JobKey } from "./book.ts"
import type { Answer } from "./jobEntity.ts"

export interface Life {
  readonly key: JobKey
  readonly ticket: number
  readonly job: ScheduledJob
  readonly fiber: Fiber.Fiber<Answer>
  /** Done when the runner has to stop. */
  readonly stopRequested: Deferred.Deferred<StopReason>
  /** Since when the job is in the book as this process's. */
  claimedAt: number | undefined
  /** Whether the runner was ever asked to run it, in this life or in a former one that was ended from outside. */
  hasBegun: boolean
  /** Whether it holds a slot. */
  isRunning: boolean
  /** Whether an agent may have been started for it. */
  hasAgent: boolean
  endedAt: number | undefined
  /** When it was last looked at what an agent does with a job that is this process's no more. */
  checkedAt: number | undefined
}

export class Lives {
  readonly #lives = new Map<string, Life>()

  add(life: Life): void {
    this.#lives.set(idOf(life.key, life.ticket), life)
  }

  /** A life that goes on, or has ended by itself. */
  find(key: JobKey, ticket: number): Life | undefined {
    const life = this.#lives.get(idOf(key, ticket))
    const end = life?.fiber.pollUnsafe()
    return end === undefined || end._tag === "Success" ? life : undefined
  }

  hasBegun(key: JobKey, ticket: number): boolean {
    return this.#lives.get(idOf(key, ticket))?.hasBegun ?? false
  }

  /** Those that go on or have ended, but for those that nobody can ask for any more. */
  get all(): ReadonlyArray<Life> {
    return Array.from(this.#lives.values())
  }

  get living(): ReadonlyArray<Life> {
    return this.all.filter(({ endedAt }) => endedAt === undefined)
  }

  /** Others of the same job, sent here by other tickets, that run still. */
  others(life: Life): ReadonlyArray<Life> {
    const { jobUuid, stackKey } = life.key
    return this.living.filter(
      (other) => other !== life && other.isRunning && other.key.jobUuid === jobUuid && other.key.stackKey === stackKey
    )
  }

  /**
   * Compares with the jobs that the book said to be this process's, after it was asked at a time. What is not among them and had
   * ended then is forgotten; what is not and goes on is returned.
   */
  compare(owned: ReadonlyArray<JobKey & { readonly ticket: number }>, askedAt: number): ReadonlyArray<Life> {
    const ids = new Set(owned.map((job) => idOf(job, job.ticket)))
    const lost: Array<Life> = []
    for (const [id, life] of this.#lives) {
      if (ids.has(id)) continue
      if (life.endedAt !== undefined) {
        if (life.endedAt < askedAt) this.#lives.delete(id)
      } else if (life.claimedAt !== undefined && life.claimedAt < askedAt) {
        lost.push(life)
      }
    }
    return lost
  }
}

const idOf = ({ jobUuid, stackKey }: JobKey, ticket: number): string => `${stackKey}/${jobUuid}/${ticket}`
