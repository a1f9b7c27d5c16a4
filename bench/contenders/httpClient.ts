/** Effect's `HttpClient` over undici, without spans and decoding. This client is built on it. */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Effect from "effect/Effect"
import { constTrue } from "effect/Function"
import * as HttpClient from "effect/http/HttpClient"
import * as ManagedRuntime from "effect/ManagedRuntime"
import type { Contender } from "../workload/contender.ts"
import { countJob } from "../workload/fixtures.ts"
import { sumEffects } from "../workload/sumEffects.ts"
import { headers, jobPath } from "../workload/wire.ts"

export const getJob: Contender = async (baseUrl) => {
  const runtime = ManagedRuntime.make(NodeHttpClient.layerUndici)
  const client = await runtime.runPromise(HttpClient.HttpClient)
  const get = (index: number) =>
    Effect.flatMap(client.get(baseUrl + jobPath(index), { headers }), (response) =>
      response.status === 200 ? response.json : Effect.die(`status ${response.status}`)
    ).pipe(Effect.map((json) => countJob(json as unknown as Parameters<typeof countJob>[0])))
  return {
    run: (times) =>
      runtime.runPromise(Effect.provideService(sumEffects(times, get), HttpClient.TracerDisabledWhen, constTrue)),
    close: () => runtime.dispose()
  }
}
