/** Builds, for `buildkite-agent build cancel`. */
import * as Result from "effect/Result"
import { aboutBuild, type Endpoint } from "./agentRequest.ts"
import * as Jobs from "./jobs.ts"

const cancel = aboutBuild((build, { now, state }) => {
  for (const job of build.jobs) Jobs.cancel(state, job, now)
  return Result.succeed({ uuid: build.id })
})

export const endpoints: ReadonlyArray<Endpoint> = [["POST", "builds/:buildUuid/cancel", "cancelBuild", cancel]]
