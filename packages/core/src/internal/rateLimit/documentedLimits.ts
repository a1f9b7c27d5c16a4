/** The rate limits that the service documents, from the declaration of the API. */
import { declarations, type Endpoint } from "../api/declaration.ts"

/** A limit in requests per second, and the scope that it counts. Responses may name scopes that are not in the declaration. */
export interface ScopeLimit {
  readonly scope: string
  readonly limit: number
}

export const documentedLimit = (endpoint: Endpoint): ScopeLimit => declarations[endpoint].limit
