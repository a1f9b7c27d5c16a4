/** Some processes that share the work of some queues, and what they do, as seen from outside. */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { StacksEmulator } from "@stacksapi/core/testing"
import type * as ClusterStack from "@stacksapi/node/ClusterStack"
import { Effect, Redacted } from "effect"
import type { Message, Order } from "./clusterProcess.ts"
import { freePort } from "./freePort.ts"

const program = fileURLToPath(new URL("./clusterProcess.ts", import.meta.url))

export interface Member {
  readonly kill: (signal: NodeJS.Signals) => void
  /** Done when the process has ended. */
  readonly ended: Effect.Effect<void>
  /** The stacks that it leads, as it told last. */
  readonly leading: () => ReadonlyArray<string>
  /** How many jobs began here. */
  readonly began: () => number
}

export interface ClusterOptions extends Pick<Order, "databaseUrl"> {
  readonly options: Omit<ClusterStack.Options, "port">
  readonly withAgents?: boolean
}

/** A cluster without members yet. Those that are left at the end are killed. */
export const make = Effect.fnUntraced(function* ({ databaseUrl, options, withAgents = false }: ClusterOptions) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const services = yield* Effect.context<never>()
  /** The jobs that are being run, and the process that runs each. */
  const live = new Map<string, ChildProcess>()
  const mistakes: Array<string> = []
  const begun = new Map<string, number>()

  const start = Effect.gen(function* () {
    const port = yield* freePort
    const order: Order = { baseUrl: emulator.baseUrl, databaseUrl, options: { ...options, port }, withAgents }
    return yield* Effect.acquireRelease(
      Effect.sync((): Member => {
        const child = fork(program, [JSON.stringify(order)], { stdio: ["ignore", "ignore", "inherit", "ipc"] })
        let began = 0
        let leading: ReadonlyArray<string> = []
        const onMessage = (message: Message): void => {
          switch (message.type) {
            case "began":
              if (live.has(message.jobUuid)) mistakes.push(`${message.jobUuid} lives twice`)
              live.set(message.jobUuid, child)
              begun.set(message.jobUuid, (begun.get(message.jobUuid) ?? 0) + 1)
              began++
              break
            case "ended":
              if (live.get(message.jobUuid) === child) live.delete(message.jobUuid)
              break
            case "agent":
              // An agent outlives the process that started it.
              emulator.acquireJob(Redacted.make(message.token)).pipe(
                Effect.tap(({ id }) => Effect.delay(emulator.completeJob(id, 0), "3 seconds")),
                Effect.ignore,
                Effect.runForkWith(services)
              )
              break
            case "status":
              leading = message.leading
          }
        }
        child.on("message", onMessage)
        const closed = new Promise<void>((resolve) =>
          child.once("close", () => {
            for (const [jobUuid, owner] of live) if (owner === child) live.delete(jobUuid)
            leading = []
            resolve()
          })
        )
        return {
          kill: (signal) => void child.kill(signal),
          ended: Effect.promise(() => closed),
          leading: () => leading,
          began: () => began
        }
      }),
      (member) =>
        Effect.suspend(() => {
          member.kill("SIGCONT")
          member.kill("SIGKILL")
          return member.ended
        })
    )
  })

  return {
    start,
    /** What went wrong: jobs that two processes ran at a time. */
    mistakes,
    /** How often each job began. */
    begun,
    /** The jobs that are being run now. */
    live
  }
})

/** Waits until a condition holds, however long that takes. */
export const until = <E, R>(condition: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.asVoid(condition.pipe(Effect.delay("100 millis"), Effect.repeat({ until: (holds) => holds })))
