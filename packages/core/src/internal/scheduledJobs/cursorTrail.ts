/** Detects cycles of cursors in constant memory. */

/**
 * The cursors of one pass. A cursor is compared with the previous one and with a mark, which moves on after 1, 2, 4, 8 … steps
 * (Brent's algorithm). So in every cycle a cursor meets the mark at some time.
 */
export class CursorTrail {
  #last: string | undefined
  #mark: string | undefined
  #stepsToMove = 1
  #steps = 0

  constructor(start: string | undefined) {
    this.#last = start
    this.#mark = start
  }

  /** Moves on to a cursor. False if it is missing or was used before. */
  advancesTo(cursor: string | null): cursor is string {
    if (cursor === null || cursor === "" || cursor === this.#last || cursor === this.#mark) return false
    this.#last = cursor
    this.#steps++
    if (this.#steps === this.#stepsToMove) {
      this.#mark = cursor
      this.#stepsToMove *= 2
      this.#steps = 0
    }
    return true
  }
}
