/** The parts of the agents' API that the emulator does not have. An agent learns it at once, with a status that it does not retry. */
import type { Endpoint, Method } from "./agentRequest.ts"
import { fromJob } from "./agentRequest.ts"
import { errorResponse } from "./errorResponse.ts"

const unsupported = (method: Method, path: string, what: string): Endpoint => [
  method,
  path,
  "unsupported",
  fromJob(() => errorResponse(422, `The emulator does not have ${what}`))
]

export const endpoints: ReadonlyArray<Endpoint> = [
  unsupported("POST", "pause", "pausing of agents"),
  unsupported("POST", "resume", "pausing of agents"),
  unsupported("POST", "jobs/:jobUuid/oidc/tokens", "OIDC tokens"),
  unsupported("POST", "jobs/:jobUuid/github_code_access_token", "access tokens for repositories"),
  unsupported("POST", "jobs/:jobUuid/repository_access_token", "access tokens for repositories"),
  unsupported("GET", "cache_registries/:registry", "caches"),
  unsupported("POST", "cache_registries/:registry/:action", "caches"),
  unsupported("PUT", "cache_registries/:registry/:action", "caches")
]
