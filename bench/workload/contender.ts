/** The interface of contenders, and helpers for them. */

/** The number of concurrent requests, if they do not depend on each other. */
export const concurrency = 64

export interface Workload {
  /** Does the work `times` times, and returns its count of the responses. */
  readonly run: (times: number) => Promise<number>
  readonly close: () => Promise<void>
  /** The maximum memory in use without garbage, in bytes, if it is measured. */
  readonly peakMemory?: () => number
}

/** Sets a workload up against the server at this URL. */
export type Contender = (baseUrl: string) => Promise<Workload>

/** The part of a page on the wire that is needed to list all pages. */
export interface WirePage {
  readonly jobs: ReadonlyArray<unknown>
  readonly page_info: { readonly has_next_page: boolean; readonly end_cursor: string | null }
}

/** Calls `f` with 0 to `times - 1` concurrently, and sums the results. */
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
