/** The rate limits that the service documents, as the declaration of the API has them. */
import { declarations, type Endpoint } from "../api/declaration.ts"

/** A limit in requests per second, and the name that it is counted under: the service may use names that we don't know. */
export interface ScopeLimit {
  readonly scope: string
  readonly limit: number
}

export const documentedLimit = (endpoint: Endpoint): ScopeLimit => declarations[endpoint].limit
