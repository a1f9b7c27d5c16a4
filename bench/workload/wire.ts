/** The requests of the contenders that have no Stacks client. */
import { jobUuid, pageSize, queueKey, stackKey, token } from "./fixtures.ts"

export const headers = {
  accept: "application/json",
  authorization: `Token ${token}`,
  "content-type": "application/json",
  "user-agent": "stacksapi-bench/0.0.0"
}

export const jobPath = (index: number): string => `/v3/stacks/${stackKey}/jobs/${jobUuid(index)}`

export const pagePath = (startCursor: string | undefined, key = stackKey): string => {
  const after = startCursor === undefined ? "" : `&after=${encodeURIComponent(startCursor)}`
  return `/v3/stacks/${key}/scheduled-jobs?queue_key=${queueKey}&limit=${pageSize}${after}`
}
