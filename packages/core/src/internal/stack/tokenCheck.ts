/** Checks that the token belongs to a cluster. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as RetryPolicy from "../../RetryPolicy.ts"
import type * as StacksClient from "../../StacksClient.ts"
import { InvalidOptions } from "../../StacksError.ts"

/** Set to false around stacks whose token was already checked. */
export const CheckToken: Context.Reference<boolean> = Context.Reference("@stacksapi/core/internal/stack/CheckToken", {
  defaultValue: () => true
})

/** How long to wait for the service's response. */
const timeout = "2 seconds"

/** Fails if the token belongs to no cluster. If the service does not respond, logs a warning and succeeds. */
export const checkToken = (client: StacksClient.Service): Effect.Effect<void, InvalidOptions> =>
  Effect.flatMap(CheckToken, (isWanted) =>
    isWanted
      ? client.getTokenIdentity().pipe(
          RetryPolicy.withPolicy(RetryPolicy.none),
          Effect.timeout(timeout),
          Effect.matchEffect({
            onFailure: (error) =>
              Effect.logWarning(`The service does not say which cluster the token belongs to: ${error.message}`),
            onSuccess: ({ clusterUuid }) => (clusterUuid.trim() === "" ? Effect.fail(unclustered) : Effect.void)
          })
        )
      : Effect.void
  )

const unclustered = new InvalidOptions({
  option: "token",
  issue:
    "must be an agent token of a cluster (bkct_…); this one belongs to no cluster, and stacks work in clusters only"
})
