/** Node's own `fetch`. */
import { type Contender, countListed, sumConcurrently } from "../workload/contender.ts"
import { countJob } from "../workload/fixtures.ts"
import { headers, jobPath, pagePath } from "../workload/wire.ts"

const makeGet = (baseUrl: string) => async (path: string) => {
  const response = await fetch(baseUrl + path, { headers })
  const text = await response.text()
  if (response.status !== 200) throw new Error(`status ${response.status}`)
  return JSON.parse(text)
}

const close = async () => {}

export const getJob: Contender = async (baseUrl) => {
  const get = makeGet(baseUrl)
  return { run: (times) => sumConcurrently(times, async (index) => countJob(await get(jobPath(index)))), close }
}

export const list: Contender = async (baseUrl) => {
  const get = makeGet(baseUrl)
  return { run: (times) => countListed(times, (startCursor) => get(pagePath(startCursor))), close }
}
