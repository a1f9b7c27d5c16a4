/** What keeps a watched stack from taking jobs and is not an event: its runner is unavailable, or its queue can't continue. */
import type * as Stack from "@stacksapi/core/Stack"
import type * as Stacks from "@stacksapi/core/Stacks"
import * as Effect from "effect/Effect"
import type * as ClusterStack from "../../ClusterStack.ts"
import type { Watched } from "../../StackView.ts"

export interface Trouble {
  /** For counting. */
  readonly kind: string
  readonly message: string
  /** The stack and what its trouble is. */
  readonly of: string
  /** Another value says that it is reported again. */
  readonly occurrence: unknown
}

export const of = (watched: Watched): Effect.Effect<ReadonlyArray<Trouble>> =>
  Effect.map(watched.status, (status: Stack.Status | Stacks.Status | ClusterStack.Status) => {
    if ("inFlight" in status) return ofRunner(status)
    if ("queues" in status) return status.queues.flatMap(ofQueue)
    return status.leading.flatMap(({ status }) => ofRunner(status))
  })

const ofRunner = ({ key, runnerUnavailable }: Stack.Status): ReadonlyArray<Trouble> =>
  runnerUnavailable === undefined
    ? []
    : [
        {
          kind: "an unavailable runner",
          message: `no jobs are reserved, because the runner is unavailable: ${runnerUnavailable}`,
          of: `runner ${key}`,
          occurrence: true
        }
      ]

const ofQueue = ({ failure, key, queueKey, stack }: Stacks.QueueStatus): ReadonlyArray<Trouble> => [
  ...(stack === undefined ? [] : ofRunner(stack)),
  ...(failure === undefined
    ? []
    : [
        {
          kind: "a queue that can't continue",
          message: `queue ${queueKey} can't continue: ${failure.message}`,
          of: `queue ${key}`,
          occurrence: failure
        }
      ])
]
