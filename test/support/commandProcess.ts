/**
 * Runs commands by a command runner in a process of its own, with limits and a user that the tests' process can't have. Prints an
 * object a line: the outcome or failure of each command, and what is logged.
 */
import { Effect, Layer, Logger, Result } from "effect"
import { commandRunner, jobWith } from "./commands.ts"

const [commands = "[]"] = process.argv.slice(2)

const print = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`)

const program = Effect.gen(function* () {
  const { run } = yield* commandRunner()
  yield* Effect.forEach(
    JSON.parse(commands) as ReadonlyArray<string>,
    (command) => Effect.map(Effect.result(run(jobWith(command))), (result) => print(shown(result))),
    { concurrency: "unbounded", discard: true }
  )
}).pipe(Effect.scoped)

const shown = (
  result: Result.Result<unknown, { readonly message: string; readonly isRetryable?: boolean | undefined }>
) =>
  Result.isSuccess(result)
    ? { outcome: result.success }
    : { failure: result.failure.message, isRetryable: result.failure.isRetryable === true }

const logger = Logger.make(({ message }) => print({ log: [message].flat().join(" ") }))

Effect.runPromise(Effect.provide(program, Layer.mergeAll(Logger.layer([logger])))).then(
  () => process.exit(0),
  (cause) => {
    print({ died: String(cause) })
    process.exit(1)
  }
)
