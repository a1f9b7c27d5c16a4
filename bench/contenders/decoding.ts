/** Decodes the text of a page, without a network. */
import { identity } from "effect/Function"
import * as Result from "effect/Result"
import { endpoints } from "../../packages/core/src/internal/client/endpoint.ts"
import type { Contender, WirePage } from "../workload/contender.ts"
import { page } from "../workload/fixtures.ts"

const text = page(0)

const contender =
  (countJobs: (text: string) => number): Contender =>
  async () => ({
    run: async (times) => {
      let jobs = 0
      for (let time = 0; time < times; time++) jobs += countJobs(text)
      return jobs
    },
    close: async () => {}
  })

export const parse: Contender = contender((text) => {
  const page: WirePage = JSON.parse(text)
  return page.jobs.length
})

const { success } = endpoints.listScheduledJobs
const decode = success._tag === "Json" ? success.decode : () => Result.succeed(success.value)

export const parseAndDecode: Contender = contender(
  (text) => Result.getOrThrow(decode(JSON.parse(text), identity)).jobs.length
)
