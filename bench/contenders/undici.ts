/** The baseline: only undici. */
import { Pool } from "undici"
import { type Contender, countListed, sumConcurrently } from "../workload/contender.ts"
import { countJob } from "../workload/fixtures.ts"
import { headers, jobPath, pagePath } from "../workload/wire.ts"
import { slowKey, work } from "../workload/work.ts"

const makeGet = (baseUrl: string) => {
  const pool = new Pool(baseUrl)
  const get = async (path: string) => {
    const { body, statusCode } = await pool.request({ method: "GET", path, headers })
    const text = await body.text()
    if (statusCode !== 200) throw new Error(`status ${statusCode}`)
    return JSON.parse(text)
  }
  return { get, close: () => pool.destroy() }
}

export const getJob: Contender = async (baseUrl) => {
  const { close, get } = makeGet(baseUrl)
  return { run: (times) => sumConcurrently(times, async (index) => countJob(await get(jobPath(index)))), close }
}

export const list: Contender = async (baseUrl) => {
  const { close, get } = makeGet(baseUrl)
  return { run: (times) => countListed(times, (startCursor) => get(pagePath(startCursor))), close }
}

export const listAndWork: Contender = async (baseUrl) => {
  const { close, get } = makeGet(baseUrl)
  const getAndWork = async (startCursor: string | undefined) => {
    const page = await get(pagePath(startCursor, slowKey))
    work()
    return page
  }
  return { run: (times) => countListed(times, getAndWork), close }
}
