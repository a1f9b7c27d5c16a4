/** Divides free slots among the members of a pool that want them. */

export interface Claim {
  /** The slots that the member has. */
  taken: number
  /** How many more slots it could use. */
  wanted: number
  /** Its share relative to the other members'. */
  readonly weight: number
  /** The fractions of slots that it has missed so far; negative if it had more than its share. */
  deficit: number
  /** How many slots it may take now. */
  given: number
  /** Its fraction of a slot that members share in turns. The fractions of all members add up to 1 if there is such a slot. */
  chance: number
  /** Whether one of its slots is a shared one. */
  isItsTurn: boolean
}

/**
 * Sets in each claim how many of the `free` slots it is given, by weighted max-min fairness: all claims are filled to the same level,
 * in slots per weight, but not above what they want. So no member gets less than its share while it wants it, and unwanted slots go to
 * the others. Members whose shares are not whole slots take turns: see {@link settle}.
 */
export const divide = (free: number, claims: ReadonlyArray<Claim>): void => {
  const wanted = claims.reduce((sum, claim) => sum + claim.wanted, 0)
  const isPlenty = wanted <= free
  for (const claim of claims) {
    claim.given = isPlenty ? claim.wanted : 0
    claim.chance = 0
    claim.isItsTurn = false
  }
  if (isPlenty || free <= 0) return

  const level = levelOf(free, claims)
  let left = free
  let parts = 0
  for (const claim of claims) {
    const exact = upTo(level, claim)
    // Tolerate rounding errors just below a whole slot.
    claim.given = Math.floor(exact + 1e-6)
    claim.chance = Math.max(0, exact - claim.given)
    left -= claim.given
    parts += claim.chance
  }
  if (left <= 0) return
  for (const claim of claims) claim.chance /= parts
  const next = claims.filter(({ chance }) => chance > 0).sort((a, b) => b.deficit + b.chance - a.deficit - a.chance)
  for (const claim of next.slice(0, left)) {
    claim.given++
    claim.isItsTurn = true
  }
}

/** Records that a member has used its turn. The deficits of the others grow, so that their turns come sooner. */
export const settle = (member: Claim, claims: ReadonlyArray<Claim>): void => {
  for (const claim of claims) claim.deficit += claim.chance
  member.deficit--
}

/** The slots that bring a claim up to a level. */
const upTo = (level: number, { taken, wanted, weight }: Claim): number =>
  Math.min(wanted, Math.max(0, level * weight - taken))

/** The level to which the free slots can fill the claims, if they want more slots than are free. */
const levelOf = (free: number, claims: ReadonlyArray<Claim>): number => {
  let low = 0
  let high = claims.reduce((max, { taken, wanted, weight }) => Math.max(max, (taken + wanted) / weight), 0)
  let level = high
  for (let step = 0; step < 100; step++) {
    let used = 0
    let weights = 0
    for (const claim of claims) {
      const slots = upTo(level, claim)
      used += slots
      if (slots > 0 && slots < claim.wanted) weights += claim.weight
    }
    const left = free - used
    if (Math.abs(left) < 1e-9 * free) break
    if (left > 0) low = level
    else high = level
    // The used slots are piecewise linear in the level: interpolate, or bisect if that leaves the bounds.
    const straight = level + left / weights
    level = straight > low && straight < high ? straight : (low + high) / 2
  }
  return level
}
