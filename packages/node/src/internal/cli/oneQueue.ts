/** The settings of commands for one queue or stack, where the settings name several queues for `stacksapi run`. */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Misused } from "./failure.ts"

/** The last value of a flag in the arguments, under one of its names. */
export const flagOf = (args: ReadonlyArray<string>, ...names: ReadonlyArray<string>): string | undefined => {
  const end = args.indexOf("--")
  const own = end === -1 ? args : args.slice(0, end)
  const nameOf = (argument: string) => names.find((name) => argument === name || argument.startsWith(`${name}=`))
  const index = own.findLastIndex((argument) => nameOf(argument) !== undefined)
  const found = own[index]
  if (found === undefined) return undefined
  const name = nameOf(found) ?? ""
  return found === name ? own[index + 1] : found.slice(name.length + 1)
}

/** The commands with `--queue`, and those with only the key of a stack. */
const ofQueues = new Set(["register", "doctor", "jobs list", "jobs watch"])
const ofStacks = new Set([
  "deregister",
  "agents list",
  "agents delete",
  ...["fail", "finish", "get", "notify", "reserve", "states", "tokens"].map((name) => `jobs ${name}`)
])

/** The first words of the arguments that are a command, so that a value such as `--key run` is not taken for one. */
const commandOf = (args: ReadonlyArray<string>): string | undefined => {
  const all = ["run", ...ofQueues, ...ofStacks]
  return args.flatMap((word, index) => [word, `${word} ${args[index + 1]}`]).find((words) => all.includes(words))
}

/**
 * Settings with one queue. If there are several, fails unless the arguments say which one. The key is then that of the queue's stack, as
 * `run` derives it, unless it is an argument.
 */
export const narrow = Effect.fnUntraced(function* (
  args: ReadonlyArray<string>,
  settings: ConfigProvider.ConfigProvider
) {
  const command = args.includes("--help") || args.includes("-h") ? undefined : commandOf(args)
  if (command === undefined || command === "run") return settings
  const read = <A>(config: Config.Config<A>) =>
    Effect.map(
      Effect.provideService(Effect.option(config), ConfigProvider.ConfigProvider, settings),
      Option.getOrUndefined
    )
  const queues = ((yield* read(Config.Array(Schema.String, "STACKSAPI_QUEUE"))) ?? [])
    .map((queue) => queue.trim())
    .filter((queue) => queue !== "")
  const [first] = queues
  if (first === undefined) return settings
  const overlay = (values: Record<string, string>) =>
    ConfigProvider.orElse(ConfigProvider.fromUnknown(values), settings)
  if (queues.length === 1) return overlay({ STACKSAPI_QUEUE: first })
  const { keyOf } = yield* Effect.promise(() => import("@stacksapi/core/Stacks"))
  const queue = flagOf(args, "--queue", "-q") ?? flagOf(args, "--canary")
  const hasKey = flagOf(args, "--key", "-k") !== undefined
  const key = hasKey ? undefined : yield* read(Config.String("STACKSAPI_KEY"))
  if (ofStacks.has(command)) {
    if (hasKey || key === undefined) return settings
    return yield* new Misused({
      message:
        `The settings have several queues, and a stack for each. Say which stack with --key: ` +
        queues.map((queue) => keyOf(key, queue)).join(", ")
    })
  }
  if (queue === undefined) {
    return yield* new Misused({
      message: `The settings have several queues. Say which one with --queue: ${queues.join(", ")}`
    })
  }
  return overlay({ STACKSAPI_QUEUE: queue, ...(key !== undefined && { STACKSAPI_KEY: keyOf(key, queue) }) })
})
