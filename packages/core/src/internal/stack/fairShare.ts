/** How free slots are divided among those who want them. */

export interface Claim {
  /** The slots that it has. */
  taken: number
  /** How many more it could use now. */
  wanted: number
  /** Its share, compared to the others'. */
  readonly weight: number
  /** The parts of slots that it should have had until now and had not, or had and should not. */
  deficit: number
  /** How many slots it may take now. */
  given: number
  /** Its chance of a slot that is nobody's as a whole; all chances come to 1, where there is such a slot. */
  chance: number
  /** Whether one of its slots is such a one. */
  isItsTurn: boolean
}

/**
 * Says in each claim how many of the `free` slots it is given. All are filled up to one level, each to as many slots for its
 * weight, as far as they want them: so nobody gets less than their share while they want it, and what nobody else wants is
 * anybody's. Where the shares are no whole slots, those take turns who are a part of one short: see {@link settle}.
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
    // A whole slot that rounding has made a little less is one all the same.
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

/** Notes that a claim has taken what it was given, its turn included: the longer the others have to wait the sooner it is theirs. */
export const settle = (member: Claim, claims: ReadonlyArray<Claim>): void => {
  for (const claim of claims) claim.deficit += claim.chance
  member.deficit--
}

/** The slots that bring a claim up to a level. */
const upTo = (level: number, { taken, wanted, weight }: Claim): number =>
  Math.min(wanted, Math.max(0, level * weight - taken))

/** Up to which level the free slots suffice, for claims of more slots than are free. */
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
    // Between two bends the way is straight; where that leads out of the bounds, half the way does.
    const straight = level + left / weights
    level = straight > low && straight < high ? straight : (low + high) / 2
  }
  return level
}
