/** Whether the token can be a stack's: an agent token of a cluster. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as RetryPolicy from "../../RetryPolicy.ts"
import type * as StacksClient from "../../StacksClient.ts"
import { InvalidOptions } from "../../StacksError.ts"

/** False around stacks whose token has been checked. */
export const CheckToken: Context.Reference<boolean> = Context.Reference("@stacksapi/core/internal/stack/CheckToken", {
  defaultValue: () => true
})

/** A service that does not answer must not delay the start for long. */
const timeout = "2 seconds"

/** Fails where the token belongs to no cluster. A service that does not tell is no reason not to start. */
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
