/** A consumer that works on each page of a slow service. */
import { stackKeyOf } from "./fixtures.ts"

export const slowPages = 40

/** A queue whose pages take 20 ms each. */
export const slowKey = stackKeyOf(slowPages, 20)

/** Keeps the processor busy for 5 ms. */
export const work = (): void => {
  const end = performance.now() + 5
  while (performance.now() < end);
}
