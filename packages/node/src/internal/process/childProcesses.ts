/** Runs processes, each in its own group, and stops their orphans. */
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
import { errorCode } from "./errorDescription.ts"
import * as Orphans from "./orphans.ts"
import * as Reaper from "./reaper.ts"
import type { TerminationPolicy } from "./terminationPolicy.ts"

export interface Command {
  readonly program: string
  readonly args: ReadonlyArray<string>
  readonly directory: string
  readonly environment: Environment
  /** The time limit. */
  readonly timeout?: Duration.Duration | undefined
  /** How it is stopped. Default: like all commands of the runner. */
  readonly policy?: TerminationPolicy | undefined
}

/** How a process terminated: with a status, or by a signal. */
export type Termination = Data.TaggedEnum<{
  Exited: { readonly status: number }
  Killed: { readonly signal: NodeJS.Signals }
}>

export const Termination = Data.taggedEnum<Termination>()

export interface ChildProcesses {
  /**
   * Runs a command to its end, then stops its orphans. Interruption stops the command by its policy, and all of its descendants.
   */
  readonly run: (
    command: Command,
    onOutput: (channel: "stdout" | "stderr", bytes: Uint8Array) => Effect.Effect<void>
  ) => Effect.Effect<Outcome, Reaper.CannotStart>
  /** Makes `settled` wait for an effect and its finalizers. */
  readonly tracked: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Waits until all tracked effects have ended. */
  readonly settled: Effect.Effect<void>
  readonly reaper: Reaper.Reaper
}

export interface Outcome {
  readonly termination: Termination
  /** Whether it was stopped because of its time limit. */
  readonly isTimedOut: boolean
}

const defaultOrphanGrace = Duration.seconds(2)

/** How long a SIGKILL may take, and an output after the end of its process. */
const settleTime = Duration.seconds(2)

const lookInterval = Duration.millis(50)

export interface Options {
  readonly policy: TerminationPolicy
  /** Where the folders of jobs are. */
  readonly folders: string
}

export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<ChildProcesses, never, Scope.Scope> {
  const tag = randomUUID()
  const reaper = yield* Reaper.make({ ...options, tag: `${Orphans.tagName}=${tag}.` })
  let count = 0
  const unsettled = new Set<Deferred.Deferred<void>>()

  const run = Effect.fnUntraced(function* (
    command: Command,
    onOutput: (channel: "stdout" | "stderr", bytes: Uint8Array) => Effect.Effect<void>,
    restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  ) {
    const ownTag = `${tag}.${++count}`
    const policy = command.policy ?? options.policy
    yield* reaper.ensureRunning
    const { child, ended, group } = yield* spawn(command, ownTag, reaper)
    const outputs = yield* Effect.forEach(["stdout", "stderr"] as const, (channel) =>
      NodeStream.fromReadable<Uint8Array, unknown>({ evaluate: () => child[channel], onError: (cause) => cause }).pipe(
        Stream.runForEach((bytes) => onOutput(channel, bytes)),
        Effect.ignore,
        Effect.forkChild
      )
    )
    const terminate = stop(ended, group, ownTag, policy)
    return yield* restore(Effect.timeoutOption(Deferred.await(ended), command.timeout ?? Duration.infinity)).pipe(
      Effect.onInterrupt(() => terminate),
      Effect.flatMap(
        Option.match({
          onSome: (termination) => Effect.succeed<Outcome>({ termination, isTimedOut: false }),
          onNone: () => Effect.map(terminate, (termination): Outcome => ({ termination, isTimedOut: true }))
        })
      ),
      Effect.ensuring(
        Effect.gen(function* () {
          yield* stopOrphans(group, ownTag, policy.orphanGrace ?? defaultOrphanGrace)
          // From now on another group may have this id.
          reaper.removeGroup(group)
          // A process that has left the group may keep an output open.
          yield* within(Fiber.awaitAll(outputs), settleTime)
          yield* Fiber.interruptAll(outputs)
        })
      )
    )
  })

  return {
    reaper,
    run: (command, onOutput) => Effect.uninterruptibleMask((restore) => run(command, onOutput, restore)),
    tracked: (effect) =>
      Effect.suspend(() => {
        const settled = Deferred.makeUnsafe<void>()
        unsettled.add(settled)
        return Effect.ensuring(
          effect,
          Effect.sync(() => {
            unsettled.delete(settled)
            Deferred.doneUnsafe(settled, Effect.void)
          })
        )
      }),
    settled: Effect.suspend(() => {
      if (unsettled.size === 0) return Effect.void
      const all = Effect.forEach(unsettled, Deferred.await, { concurrency: "unbounded", discard: true })
      // The reaper stops the rest.
      const atMost = Duration.sum(
        options.policy.killAfter,
        Duration.sum(defaultOrphanGrace, Duration.times(settleTime, 3))
      )
      return Effect.andThen(Effect.logInfo(`Waiting for jobs to be stopped: ${unsettled.size}`), within(all, atMost))
    })
  }
})

const spawn = (command: Command, tag: string, reaper: Reaper.Reaper) =>
  Effect.callback<
    {
      readonly child: ChildProcess.ChildProcessByStdio<
        null,
        NonNullable<ChildProcess.ChildProcess["stdout"]>,
        NonNullable<ChildProcess.ChildProcess["stderr"]>
      >
      readonly ended: Deferred.Deferred<Termination>
      readonly group: number
    },
    Reaper.CannotStart
  >((resume) => {
    const attempt = Result.try(() =>
      ChildProcess.spawn(command.program, command.args, {
        cwd: command.directory,
        env: { ...command.environment, [Orphans.tagName]: tag },
        stdio: ["ignore", "pipe", "pipe"],
        // A session and a group of its own, which has the process's id.
        detached: true
      })
    )
    const fail = (cause: unknown) => resume(Effect.fail(new Reaper.CannotStart({ code: errorCode(cause) })))
    // Node throws some errors of the system, and emits others.
    if (Result.isFailure(attempt)) return fail(attempt.failure)
    const child = attempt.success
    const ended = Deferred.makeUnsafe<Termination>()
    const group = child.pid
    if (group === undefined) {
      child.once("error", fail)
      return
    }
    reaper.addGroup(group)
    child.once("exit", (status, signal) =>
      Deferred.doneUnsafe(
        ended,
        Effect.succeed(signal === null ? Termination.Exited({ status: status ?? -1 }) : Termination.Killed({ signal }))
      )
    )
    child.on("error", () => {})
    resume(Effect.succeed({ child, ended, group }))
  })

/** Waits for an effect for a limited time, also in an uninterruptible region. */
const within = <A>(effect: Effect.Effect<A>, time: Duration.Duration) =>
  Effect.timeoutOption(Effect.interruptible(effect), time)

/**
 * Stops a process by a policy. Signals go to a group only while its first process is not reaped: until then nothing else can have its
 * number.
 */
const stop = Effect.fnUntraced(function* (
  ended: Deferred.Deferred<Termination>,
  group: number,
  tag: string,
  { again, killAfter }: TerminationPolicy
): Effect.fn.Return<Termination> {
  const terminate = Effect.sync(() => {
    if (!Deferred.isDoneUnsafe(ended)) Orphans.send(-group, "SIGTERM")
  })
  yield* terminate
  if (again !== undefined) {
    yield* within(Deferred.await(ended), again)
    yield* terminate
  }
  yield* within(Deferred.await(ended), again === undefined ? killAfter : Duration.subtract(killAfter, again))
  if (Deferred.isDoneUnsafe(ended)) return yield* Deferred.await(ended)
  // Descendants first: without their parent they may not be found.
  const { targets } = yield* Orphans.find(group, tag)
  for (const target of targets) {
    if (target !== group && target !== -group) Orphans.send(target, "SIGKILL")
  }
  if (!Deferred.isDoneUnsafe(ended)) Orphans.send(-group, "SIGKILL")
  // A process that the system can't kill at once counts as terminated.
  const end = yield* within(Deferred.await(ended), settleTime)
  return Option.getOrElse(end, () => Termination.Killed({ signal: "SIGKILL" }))
})

/** Stops the orphans of a process that has ended. */
const stopOrphans = Effect.fnUntraced(function* (group: number, tag: string, grace: Duration.Duration) {
  const look = Orphans.find(group, tag)
  const sendAll = ({ targets }: Orphans.Found, signal: NodeJS.Signals) =>
    Effect.sync(() => {
      for (const target of targets) Orphans.send(target, signal)
    })
  const isNone = ({ isComplete, targets }: Orphans.Found) => isComplete && targets.length === 0
  const goneWithin = (time: Duration.Duration, onLook: (found: Orphans.Found) => Effect.Effect<void>) =>
    look.pipe(Effect.tap(onLook), Effect.delay(lookInterval), Effect.repeat({ until: isNone }), (looking) =>
      within(looking, time)
    )
  const found = yield* look
  if (isNone(found)) return
  yield* sendAll(found, "SIGTERM")
  yield* goneWithin(grace, () => Effect.void)
  // An orphan may start others between the search and the signal.
  yield* goneWithin(settleTime, (found) => sendAll(found, "SIGKILL"))
})
