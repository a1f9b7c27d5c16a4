/** The client on Node, pointed at a server of a test. */
import { RetryPolicy, StacksClient } from "@stacksapi/core"
import { NodeStacksClient } from "@stacksapi/node"
import { Context, Effect, Layer, Redacted, type Scope } from "effect"

export const token = "bkct_test"

/** A client over undici that never retries, unless a layer says otherwise. */
export const client = (
  options: Partial<StacksClient.Options> & { readonly baseUrl: string | URL }
): Effect.Effect<StacksClient.Service, never, Scope.Scope> =>
  NodeStacksClient.layer({ token: Redacted.make(token), ...options }).pipe(
    Layer.provide(RetryPolicy.layerNone),
    Layer.build,
    Effect.map((context) => Context.get(context, StacksClient.StacksClient))
  )
