/** The rate limits that the service documents, as the declaration of the API has them. */
import * as Context from "effect/Context"
import { type Endpoint, Limit, StacksApi } from "../../StacksApi.ts"

/** A limit in requests per second, and the name that it is counted under: the service may use names that we don't know. */
export interface ScopeLimit {
  readonly scope: string
  readonly limit: number
}

const { endpoints } = StacksApi.groups.stacks

const fallback: ScopeLimit = { scope: "default", limit: 10 }

export const documentedLimit = (endpoint: Endpoint): ScopeLimit =>
  Context.getOrElse(endpoints[endpoint].annotations, Limit, () => fallback)
