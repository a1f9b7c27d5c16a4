/** Runs one process in a group of its own, and leaves nothing of it behind. */
import * as ChildProcess from "node:child_process"
import { randomUUID } from "node:crypto"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Environment } from "./environment.ts"
import * as Guardian from "./guardian.ts"
import * as Leftovers from "./leftovers.ts"
import type { StopPlan } from "./stopPlan.ts"

export interface Command {
  readonly program: string
  readonly args: ReadonlyArray<string>
  readonly directory: string
  readonly environment: Environment
  /** After so long it is stopped. */
  readonly timeout?: Duration.Duration | undefined
}

/** How a process ended: with a status, or by a signal. */
export type Ended = Data.TaggedEnum<{
  Exited: { readonly status: number }
  Killed: { readonly signal: NodeJS.Signals }
}>

export const Ended = Data.taggedEnum<Ended>()

/** The system did not start a program. */
export class CannotStart extends Data.TaggedError("CannotStart")<{
  /** Node's code, for example `ENOENT`. Its message may hold the command or its environment: it is left out. */
  readonly code: string
}> {}

export interface Processes {
  /**
   * Runs a command to its end. What it left running is stopped then. Interrupted, it stops the command as planned, and what
   * came from it too.
   */
  readonly run: (
    command: Command,
    onOutput: (channel: "stdout" | "stderr", bytes: Uint8Array) => Effect.Effect<void>
  ) => Effect.Effect<Outcome, CannotStart>
  /** Waits until all that is being stopped is gone. */
  readonly gone: Effect.Effect<void>
}

export interface Outcome {
  readonly ended: Ended
  /** Whether it was stopped because its time was over. */
  readonly isTimedOut: boolean
}

/** How long what a process left running has between SIGTERM and SIGKILL. */
const leftoverGrace = Duration.seconds(2)

/** How long the system may take to carry out a SIGKILL, and an output to come to its end after its process. */
const settleTime = Duration.seconds(2)

const lookInterval = Duration.millis(50)

export const make = Effect.fnUntraced(function* (plan: StopPlan): Effect.fn.Return<Processes, never, Scope.Scope> {
  const mark = randomUUID()
  const guardian = yield* Guardian.make(`${Leftovers.markName}=${mark}.`, plan)
  let count = 0
  const running = new Set<Deferred.Deferred<void>>()

  const run = Effect.fnUntraced(function* (
    command: Command,
    onOutput: (channel: "stdout" | "stderr", bytes: Uint8Array) => Effect.Effect<void>,
    restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  ) {
    const ownMark = `${mark}.${++count}`
    const { child, ended, group } = yield* spawn(command, ownMark, guardian)
    const outputs = yield* Effect.forEach(["stdout", "stderr"] as const, (channel) =>
      NodeStream.fromReadable<Uint8Array, unknown>({ evaluate: () => child[channel], onError: (cause) => cause }).pipe(
        Stream.runForEach((bytes) => onOutput(channel, bytes)),
        Effect.ignore,
        Effect.forkChild
      )
    )
    const stopIt = stop(ended, group, ownMark, plan)
    return yield* restore(Effect.timeoutOption(Deferred.await(ended), command.timeout ?? Duration.infinity)).pipe(
      Effect.onInterrupt(() => stopIt),
      Effect.flatMap(
        Option.match({
          onSome: (ended) => Effect.succeed<Outcome>({ ended, isTimedOut: false }),
          onNone: () => Effect.map(stopIt, (ended): Outcome => ({ ended, isTimedOut: true }))
        })
      ),
      Effect.ensuring(
        Effect.gen(function* () {
          yield* clearAway(group, ownMark)
          // From now on the number may be another group's.
          guardian.remove(group)
          // Somebody who has left the group may hold an output open.
          yield* within(Fiber.awaitAll(outputs), settleTime)
          yield* Fiber.interruptAll(outputs)
        })
      )
    )
  })

  return {
    run: (command, onOutput) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.suspend(() => {
          const over = Deferred.makeUnsafe<void>()
          running.add(over)
          return Effect.ensuring(
            run(command, onOutput, restore),
            Effect.sync(() => {
              running.delete(over)
              Deferred.doneUnsafe(over, Effect.void)
            })
          )
        })
      ),
    gone: Effect.suspend(() => {
      if (running.size === 0) return Effect.void
      const all = Effect.forEach(running, Deferred.await, { concurrency: "unbounded", discard: true })
      // What somebody lets run on is the guardian's.
      const atMost = Duration.sum(plan.killAfter, Duration.sum(leftoverGrace, Duration.times(settleTime, 3)))
      return Effect.andThen(Effect.logInfo(`Waiting for jobs to be stopped: ${running.size}`), within(all, atMost))
    })
  }
})

const spawn = (command: Command, mark: string, guardian: Guardian.Guardian) =>
  Effect.callback<
    {
      readonly child: ChildProcess.ChildProcessByStdio<
        null,
        NonNullable<ChildProcess.ChildProcess["stdout"]>,
        NonNullable<ChildProcess.ChildProcess["stderr"]>
      >
      readonly ended: Deferred.Deferred<Ended>
      readonly group: number
    },
    CannotStart
  >((resume) => {
    const attempt = Result.try(() =>
      ChildProcess.spawn(command.program, command.args, {
        cwd: command.directory,
        env: { ...command.environment, [Leftovers.markName]: mark },
        stdio: ["ignore", "pipe", "pipe"],
        // A session and a group of its own, which has the process's id.
        detached: true
      })
    )
    // Node throws where a text can't be handed over, as one with a NUL in it.
    if (Result.isFailure(attempt)) return resume(Effect.fail(new CannotStart({ code: "EINVAL" })))
    const child = attempt.success
    const ended = Deferred.makeUnsafe<Ended>()
    const group = child.pid
    if (group === undefined) {
      child.once("error", (cause: NodeJS.ErrnoException) =>
        resume(Effect.fail(new CannotStart({ code: cause.code ?? "EUNKNOWN" })))
      )
      return
    }
    guardian.add(group)
    child.once("exit", (status, signal) =>
      Deferred.doneUnsafe(
        ended,
        Effect.succeed(signal === null ? Ended.Exited({ status: status ?? -1 }) : Ended.Killed({ signal }))
      )
    )
    child.on("error", () => {})
    resume(Effect.succeed({ child, ended, group }))
  })

/** Waits for an effect, but only so long: also where nothing else is interrupted. */
const within = <A>(effect: Effect.Effect<A>, time: Duration.Duration) =>
  Effect.timeoutOption(Effect.interruptible(effect), time)

/** Stops a process as planned. Signals go to a group only while its first process is not reaped: then the number is its own. */
const stop = Effect.fnUntraced(function* (
  ended: Deferred.Deferred<Ended>,
  group: number,
  mark: string,
  { again, killAfter }: StopPlan
): Effect.fn.Return<Ended> {
  const terminate = Effect.sync(() => {
    if (!Deferred.isDoneUnsafe(ended)) Leftovers.send(-group, "SIGTERM")
  })
  yield* terminate
  if (again !== undefined) {
    yield* within(Deferred.await(ended), again)
    yield* terminate
  }
  yield* within(Deferred.await(ended), again === undefined ? killAfter : Duration.subtract(killAfter, again))
  if (Deferred.isDoneUnsafe(ended)) return yield* Deferred.await(ended)
  // Those that it started go first: without it nobody may know whose they are.
  for (const target of yield* Leftovers.find(group, mark)) {
    if (target !== group) Leftovers.send(target, "SIGKILL")
  }
  if (!Deferred.isDoneUnsafe(ended)) Leftovers.send(-group, "SIGKILL")
  // What the system can't end at once is as good as ended.
  const end = yield* within(Deferred.await(ended), settleTime)
  return Option.getOrElse(end, () => Ended.Killed({ signal: "SIGKILL" }))
})

/** Stops what is left of a process that has ended. */
const clearAway = Effect.fnUntraced(function* (group: number, mark: string) {
  const look = Leftovers.find(group, mark)
  const sendAll = (targets: ReadonlyArray<Leftovers.Target>, signal: NodeJS.Signals) =>
    Effect.sync(() => {
      for (const target of targets) Leftovers.send(target, signal)
    })
  const goneWithin = (
    time: Duration.Duration,
    onLook: (targets: ReadonlyArray<Leftovers.Target>) => Effect.Effect<void>
  ) =>
    look.pipe(
      Effect.tap(onLook),
      Effect.delay(lookInterval),
      Effect.repeat({ until: (targets) => targets.length === 0 }),
      (looking) => within(looking, time)
    )
  const left = yield* look
  if (left.length === 0) return
  yield* sendAll(left, "SIGTERM")
  yield* goneWithin(leftoverGrace, () => Effect.void)
  // One may start others between a look and the signal.
  yield* goneWithin(settleTime, (targets) => sendAll(targets, "SIGKILL"))
})
