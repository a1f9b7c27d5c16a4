/** Looks for the image of all containers before a stack starts, so that a wrong name costs no job. */
import type { ProviderError } from "@stacksapi/core/AgentProvider"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Host, PullPolicy } from "../../DockerProvider.ts"
import { findImage } from "./create.ts"
import * as Endpoint from "./endpoint.ts"
import * as Engine from "./engine.ts"

export interface Options {
  readonly hosts: ReadonlyArray<string | Host> | undefined
  readonly image: string
  readonly pull: PullPolicy
}

/**
 * Fails if no Engine has the image or gets it from its registry. An Engine or a registry that does not answer is no reason to fail: it
 * may answer later. Pulls nothing.
 */
export const check = Effect.fnUntraced(function* ({ hosts, image, pull }: Options) {
  const endpoints = yield* Endpoint.find(hosts)
  const results = yield* Effect.forEach(
    endpoints,
    (endpoint) => Effect.flatMap(Engine.make(endpoint), (engine) => Effect.result(findImage(engine, image, pull))),
    { concurrency: "unbounded" }
  )
  const refusals = results.flatMap(
    (result): ReadonlyArray<ProviderError> =>
      Result.isFailure(result) && result.failure.reason === "Refused" ? [result.failure] : []
  )
  const [refusal] = refusals
  if (refusal !== undefined && refusals.length === results.length) return yield* refusal
}, Effect.scoped)
