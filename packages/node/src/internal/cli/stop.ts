/** How `run` ends: what it says when it is told to stop, and how long it waits for a service that is away. */
import * as RetryPolicy from "@stacksapi/core/RetryPolicy"
import type { StackEvent } from "@stacksapi/core/StackEvent"
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import type * as StackView from "../../StackView.ts"
import * as Gauges from "../view/gauges.ts"
import type { RunInput } from "./runFlags.ts"

/** How long deregistering may take if the service did not respond to the last request. */
const timeoutWhenAway = Duration.millis(500)

/** Watches events for whether the service responds. */
export class ServiceWatch {
  #responds = false

  record(event: StackEvent): void {
    if (event._tag === "RequestFailed") this.#responds = event.error._tag !== "TransportError"
    else if (event._tag === "Registered" || event._tag === "ReRegistered" || event._tag === "Polled") {
      this.#responds = true
    }
  }

  /** The client for the stacks. It deregisters a stack with one short request if the service is away. */
  readonly client = Effect.map(StacksClient.StacksClient, (client) => ({
    ...client,
    deregisterStack: (request: StacksClient.DeregisterStackRequest) =>
      Effect.suspend(() =>
        this.#responds
          ? client.deregisterStack(request)
          : client.deregisterStack(request).pipe(
              RetryPolicy.withPolicy(RetryPolicy.none),
              Effect.timeoutOrElse({
                duration: timeoutWhenAway,
                orElse: () => Effect.logWarning("The stack could not be deregistered: the service does not respond")
              })
            )
      )
  }))
}

/** Whether the process leaves its jobs to the next one. */
export const detaches = ({ cluster, onExit, runner }: RunInput): boolean =>
  Option.getOrElse(onExit, () => (runner === "docker" && !cluster ? "detach" : "drain")) === "detach"

/** Says what the command waits for when it is told to stop. */
export const explain = Effect.fnUntraced(function* (
  view: StackView.View,
  watched: StackView.Watched | undefined,
  input: RunInput
) {
  const { stderrIsTerminal } = yield* Stdio.Stdio
  const atOnce = (yield* stderrIsTerminal) ? "Press Ctrl-C again" : "Send a second signal"
  const running = watched === undefined || detaches(input) ? 0 : (yield* Gauges.of(watched)).taken
  yield* view.print(
    running === 0
      ? `Stopping. ${atOnce} to end at once`
      : `Waiting for ${running} running ${running === 1 ? "job" : "jobs"}, at most ${input.shutdownGrace} s. ${atOnce} to end at once`
  )
})
