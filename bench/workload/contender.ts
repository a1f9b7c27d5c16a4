/** What every contender is measured by. */

/** Requests in flight at a time, where they do not depend on each other. */
export const concurrency = 64

export interface Workload {
  /** Does the work `times` times, and gives back what it counted of what it got. */
  readonly run: (times: number) => Promise<number>
  readonly close: () => Promise<void>
  /** The most memory that was in use, garbage left out, in bytes; where that is what is measured. */
  readonly peakMemory?: () => number
}

/** Sets a workload up against the server at this URL. */
export type Contender = (baseUrl: string) => Promise<Workload>

/** What a page has to say to whoever lists all pages, as it comes over the wire. */
export interface WirePage {
  readonly jobs: ReadonlyArray<unknown>
  readonly page_info: { readonly has_next_page: boolean; readonly end_cursor: string | null }
}

/** Calls `f` with 0 to `times - 1`, some at a time, and adds up what it gives. */
export const sumConcurrently = async (times: number, f: (index: number) => Promise<number>): Promise<number> => {
  let next = 0
  let sum = 0
  const work = async () => {
    while (next < times) {
      const count = await f(next++)
      sum += count
    }
  }
  await Promise.all(Array.from({ length: concurrency }, work))
  return sum
}

/** Lists the whole queue `times` times, page by page, and counts the jobs. */
export const countListed = async (
  times: number,
  getPage: (startCursor: string | undefined) => Promise<WirePage>
): Promise<number> => {
  let jobs = 0
  for (let time = 0; time < times; time++) {
    let cursor: string | undefined
    do {
      const page = await getPage(cursor)
      jobs += page.jobs.length
      cursor = page.page_info.has_next_page ? (page.page_info.end_cursor ?? undefined) : undefined
    } while (cursor !== undefined)
  }
  return jobs
}
