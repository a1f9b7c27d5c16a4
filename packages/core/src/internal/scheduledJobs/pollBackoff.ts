/** How long polls of a queue wait after failures. Polls of job states have a fixed interval. */

const firstMillis = 1000
const maxMillis = 30_000

/** The delay after this many failed polls in a row, in milliseconds: 1, 2, 4 … 30 seconds. */
export const pollBackoff = (failures: number): number =>
  failures === 0 ? 0 : Math.min(maxMillis, firstMillis * 2 ** (failures - 1))
