/** Some processes that share the work of some queues, and what they do, as seen from outside. */
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { StacksEmulator } from "@stacksapi/core/testing"
import type * as ClusterStack from "@stacksapi/node/ClusterStack"
import { Effect, Redacted } from "effect"
import type { Message, Order } from "./clusterProcess.ts"
import { RunRecorder } from "./runRecorder.ts"

const program = fileURLToPath(new URL("./clusterProcess.ts", import.meta.url))

export interface Member {
  readonly name: string
  readonly kill: (signal: NodeJS.Signals) => void
  /** Done when the process has ended. */
  readonly ended: Effect.Effect<void>
  /** Whether its `/readyz` responds with 200. */
  readonly isReady: Effect.Effect<boolean>
  /** The stacks that it leads, as it told last. */
  readonly leading: () => ReadonlyArray<string>
  /** How many jobs began here. */
  readonly began: () => number
}

export interface ClusterOptions extends Pick<Order, "databaseUrl"> {
  readonly options: ClusterStack.Options
  readonly redisUrl?: string | undefined
  readonly withAgents?: boolean | undefined
}

export interface StartOptions {
  readonly databaseUrl?: string | undefined
  /** The queues of this process, if otherwise than those of the others. */
  readonly queues?: ReadonlyArray<string>
}

/** A cluster without members yet. Those that are left at the end are killed. */
export const make = Effect.fnUntraced(function* (cluster: ClusterOptions) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const services = yield* Effect.context<never>()
  const recorder = new RunRecorder()
  let count = 0

  const start = Effect.fnUntraced(function* (options: StartOptions = {}) {
    const name = `p${++count}`
    const order: Order = {
      name,
      baseUrl: emulator.baseUrl,
      databaseUrl: options.databaseUrl ?? cluster.databaseUrl,
      redisUrl: cluster.redisUrl,
      options: { ...cluster.options, queues: options.queues ?? cluster.options.queues, name },
      withAgents: cluster.withAgents ?? false
    }
    return yield* Effect.acquireRelease(
      Effect.sync((): Member => {
        const child = fork(program, [JSON.stringify(order)], { stdio: ["ignore", "ignore", "inherit", "ipc"] })
        let began = 0
        let healthUrl: string | undefined
        let leading: ReadonlyArray<string> = []
        child.on("message", (message: Message) => {
          switch (message.type) {
            case "agent":
              // An agent outlives the process that started it.
              emulator.acquireJob(Redacted.make(message.token)).pipe(
                Effect.tap(({ id }) => Effect.delay(emulator.completeJob(id, 0), "3 seconds")),
                Effect.ignore,
                Effect.runForkWith(services)
              )
              break
            case "health":
              healthUrl = message.url
              break
            case "status":
              leading = message.leading
              break
            default:
              if (message.type === "began") began++
              recorder.saw(name, message)
          }
        })
        const closed = new Promise<void>((resolve) =>
          child.once("close", () => {
            recorder.died(name)
            leading = []
            resolve()
          })
        )
        return {
          name,
          kill: (signal) => {
            recorder.signaled(name, signal)
            child.kill(signal)
          },
          ended: Effect.promise(() => closed),
          isReady: Effect.promise(async () => {
            if (healthUrl === undefined) return false
            return fetch(new URL("/readyz", healthUrl)).then(
              ({ ok }) => ok,
              () => false
            )
          }),
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
  return { start, recorder }
})

/** Waits until a condition holds, however long that takes. */
export const until = <E, R>(condition: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.asVoid(condition.pipe(Effect.delay("100 millis"), Effect.repeat({ until: (holds) => holds })))
