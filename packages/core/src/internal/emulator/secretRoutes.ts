/** Secrets, for `buildkite-agent secret get` and the `secrets` of steps. */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { aboutJob, type Endpoint } from "./agentRequest.ts"
import { errorResponse } from "./errorResponse.ts"

const get = aboutJob((_, { query, state }) => {
  const key = query.get("key") ?? ""
  const secret = Object.hasOwn(state.secrets, key) ? state.secrets[key] : undefined
  return secret === undefined
    ? errorResponse(404, `No secret found with the key ${key}`)
    : Result.succeed({ key, value: Redacted.value(secret), uuid: state.agentRandom.uuid() })
})

export const endpoints: ReadonlyArray<Endpoint> = [["GET", "jobs/:jobUuid/secrets", "getSecret", get]]
