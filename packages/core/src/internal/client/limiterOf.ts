/** Which clients were made with a limiter of their own. */
import type { Limiter } from "../../RateLimit.ts"
import type { Service } from "../../StacksClient.ts"

const limiters = new WeakMap<Service, Limiter>()

export const setLimiterOf = (client: Service, limiter: Limiter): void => void limiters.set(client, limiter)

export const limiterOf = (client: Service): Limiter | undefined => limiters.get(client)
