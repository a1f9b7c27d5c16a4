/** How free slots are divided among those who want them. */

export interface Claim {
  /** The slots that it has. */
  readonly taken: number
  /** How many more it could use now. */
  readonly wanted: number
  /** Its share, compared to the others'. */
  readonly weight: number
  /** When it was last given a slot: who waits longer goes first where the rest is equal. */
  readonly servedAt: number
}

/**
 * Who may take how many of the `free` slots: each goes to the one that has the fewest for its weight, of those that want one.
 * So nobody gets less than their share while they want it, and what nobody else wants is anybody's.
 */
export const divide = (free: number, claims: ReadonlyArray<Claim>): ReadonlyArray<number> => {
  const wanted = claims.reduce((sum, claim) => sum + claim.wanted, 0)
  if (wanted <= free) return claims.map((claim) => claim.wanted)
  if (free <= 0) return claims.map(() => 0)

  // Everybody is filled up to one level: the highest that the free slots suffice for.
  const upTo = (level: number) =>
    claims.map(({ taken, wanted, weight }) => Math.min(wanted, Math.max(0, Math.floor(level * weight) - taken)))
  let low = 0
  let high = claims.reduce((max, { taken, wanted, weight }) => Math.max(max, (taken + wanted + 1) / weight), 0)
  for (let step = 0; step < 50; step++) {
    const level = (low + high) / 2
    if (sum(upTo(level)) <= free) low = level
    else high = level
  }
  const given = upTo(low)

  // Those who are level with each other share what is left, one each.
  const next = claims
    .map((claim, index) => ({ claim, index, level: (claim.taken + (given[index] ?? 0) + 1) / claim.weight }))
    .filter(({ claim, index }) => (given[index] ?? 0) < claim.wanted)
    .sort((a, b) => (isNear(a.level, b.level) ? a.claim.servedAt - b.claim.servedAt : a.level - b.level))
  for (const { index } of next.slice(0, free - sum(given))) given[index] = (given[index] ?? 0) + 1
  return given
}

const sum = (counts: ReadonlyArray<number>): number => counts.reduce((total, count) => total + count, 0)

const isNear = (a: number, b: number): boolean => Math.abs(a - b) < 1e-9 * Math.max(a, b)
