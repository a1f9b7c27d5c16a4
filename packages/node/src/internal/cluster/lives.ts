/**
 * What this process has run, and how it ended: where a job comes back after its place in the cluster was lost for a while, as
 * when the database was away, it need not be run again.
 */
import type * as Fiber from "effect/Fiber"
import type { JobKey } from "./book.ts"
import type { Answer } from "./jobEntity.ts"

/** How long an end is remembered at least. */
const memoryMillis = 10 * 60_000

export class Lives {
  readonly #lives = new Map<string, { readonly fiber: Fiber.Fiber<Answer>; readonly startedAt: number }>()

  add(key: JobKey, attempt: number, fiber: Fiber.Fiber<Answer>, now: number): void {
    for (const [oldest, { fiber, startedAt }] of this.#lives) {
      if (startedAt + memoryMillis > now || fiber.pollUnsafe() === undefined) break
      this.#lives.delete(oldest)
    }
    this.#lives.set(idOf(key, attempt), { fiber, startedAt: now })
  }

  /** A life that goes on, or has ended by itself. */
  find(key: JobKey, attempt: number): Fiber.Fiber<Answer> | undefined {
    const fiber = this.#lives.get(idOf(key, attempt))?.fiber
    const end = fiber?.pollUnsafe()
    return end === undefined || end._tag === "Success" ? fiber : undefined
  }
}

const idOf = ({ jobUuid, stackKey }: JobKey, attempt: number): string => `${stackKey}/${jobUuid}/${attempt}`
