/** The options of the runner, checked, with their defaults. Times are milliseconds. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { RunnerOptions } from "../../AgentProvider.ts"
import { DefaultBaseUrl } from "../../StacksClient.ts"
import type { InvalidOptions } from "../../StacksError.ts"
import * as Check from "../options.ts"

export interface Settings {
  readonly startDeadline: number
  readonly maxLifetime: number
  readonly cancelGrace: Duration.Duration | undefined
  readonly capacityTimeout: number
  readonly listInterval: Duration.Duration
  readonly createConcurrency: number
  readonly endpoint: string
  readonly tags: ReadonlyArray<string>
}

export const resolve = Effect.fnUntraced(function* (
  options: RunnerOptions
): Effect.fn.Return<Settings, InvalidOptions> {
  const { endpoint = DefaultBaseUrl, tags = [] } = options
  const millis = (option: "startDeadline" | "maxLifetime" | "capacityTimeout", byDefault: Duration.Input, range = {}) =>
    Effect.map(Check.duration(option, options[option] ?? byDefault, range), Duration.toMillis)
  const second = { min: Check.second }
  yield* Check.tags("tags", tags)
  if (!/^https?:$/.test(URL.canParse(endpoint) ? new URL(endpoint).protocol : "")) {
    return yield* Check.invalid("endpoint", `must be a URL such as ${DefaultBaseUrl}`)
  }
  return {
    startDeadline: yield* millis("startDeadline", "15 minutes", second),
    maxLifetime: yield* millis("maxLifetime", Duration.infinity, second),
    cancelGrace:
      options.cancelGrace === undefined ? undefined : yield* Check.duration("cancelGrace", options.cancelGrace),
    capacityTimeout: yield* millis("capacityTimeout", "5 minutes"),
    listInterval: yield* Check.duration("listInterval", options.listInterval ?? "1 second", {
      min: [100, "100 milliseconds"]
    }),
    createConcurrency: yield* Check.count("createConcurrency", options.createConcurrency ?? 8, 1),
    endpoint,
    tags
  }
})
