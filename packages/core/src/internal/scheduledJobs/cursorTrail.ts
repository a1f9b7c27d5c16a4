/** Notices cursors that lead back to where they came from, in constant memory. */

/**
 * The cursors of one pass. A cursor is compared with the one before it and with a mark that moves on after 1, 2, 4, 8 …
 * steps (Brent's algorithm): whatever circle they run in, the mark comes to lie in it and is met again.
 */
export class CursorTrail {
  private last: string | undefined
  private mark: string | undefined
  private stepsToMove = 1
  private steps = 0

  constructor(start: string | undefined) {
    this.last = start
    this.mark = start
  }

  /** Whether a pass may go on at this cursor. */
  advancesTo(cursor: string | null): cursor is string {
    if (cursor === null || cursor === "" || cursor === this.last || cursor === this.mark) return false
    this.last = cursor
    this.steps++
    if (this.steps === this.stepsToMove) {
      this.mark = cursor
      this.stepsToMove *= 2
      this.steps = 0
    }
    return true
  }
}
