/** What `stacksapi jobs log` does. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Schedule from "effect/Schedule"
import { errorDescription } from "../process/errorDescription.ts"
import { logName } from "../process/jobOutputs.ts"
import { Lines } from "../terminal/lines.ts"
import * as Sanitize from "../terminal/sanitize.ts"
import * as Access from "./access.ts"
import * as EmulatorLog from "./emulatorLog.ts"
import { Failed } from "./failure.ts"
import type { LogInput } from "./jobsLog.ts"
import { findReader } from "./reader.ts"
import { logFailure } from "./withClient.ts"

/** How long to wait before the next look for more output. */
const interval = "300 millis"

export const handle = Effect.fnUntraced(function* (input: LogInput) {
  const print = printerOf(input.json)
  const reader = yield* findReader
  const reading = Option.isSome(input.logDirectory)
    ? followFile(input.logDirectory.value, input, print)
    : followEmulator(yield* Access.endpoint(input), input, print)
  yield* input.follow ? Effect.raceFirst(reading, reader.gone) : reading
}, logFailure)

interface Request {
  readonly id: string
  readonly follow: boolean
}

type Print = (lines: ReadonlyArray<string>) => Effect.Effect<void>

const printerOf =
  (isJson: boolean): Print =>
  (lines) =>
    lines.length === 0
      ? Effect.void
      : Console.log(lines.map((text) => (isJson ? Sanitize.json({ text }) : Sanitize.sanitizeLine(text))).join("\n"))

const textsOf = (lines: ReturnType<Lines["push"]>): ReadonlyArray<string> => lines.map(({ text }) => text)

// -----------------------------------------------------------------------------
// From the folder of `run --log-directory`
// -----------------------------------------------------------------------------

const maxChunk = 64 * 1024

const followFile = Effect.fnUntraced(function* (folder: string, { follow, id }: Request, print: Print) {
  const fileSystem = yield* FileSystem.FileSystem
  const name = (yield* Path.Path).join(folder, logName(id))
  const open = fileSystem.open(name).pipe(
    Effect.retry({ while: (error) => follow && isMissing(error), schedule: Schedule.spaced(interval) }),
    Effect.mapError((error) =>
      isMissing(error)
        ? new Failed({ message: `${folder} has no output of the job ${id}` })
        : new Failed({ message: `Can't read ${name}: ${errorDescription(error)}` })
    )
  )
  yield* Effect.scoped(
    Effect.gen(function* () {
      const file = yield* open
      const lines = new Lines()
      while (true) {
        const chunk = yield* Effect.mapError(
          file.readAlloc(maxChunk),
          (error) => new Failed({ message: `Can't read ${name}: ${errorDescription(error)}` })
        )
        if (Option.isSome(chunk)) yield* print(textsOf(lines.push(chunk.value)))
        else if (follow) yield* Effect.sleep(interval)
        else return yield* print(textsOf(lines.end()))
      }
    })
  )
})

const isMissing = (error: PlatformError.PlatformError): boolean => error.reason._tag === "NotFound"

// -----------------------------------------------------------------------------
// From an emulator
// -----------------------------------------------------------------------------

const noSource = new Failed({
  message:
    "The output of jobs is kept by `stacksapi run --log-directory FOLDER`: give that folder with --log-directory. An emulator has it " +
    "too, but BUILDKITE_AGENT_ENDPOINT (or --endpoint) names none"
})

const followEmulator = Effect.fnUntraced(function* (
  endpoint: string | undefined,
  { follow, id }: Request,
  print: Print
) {
  const page = yield* EmulatorLog.find(endpoint)
  if (Option.isNone(page)) return yield* noSource
  const lines = new Lines()
  const encoder = new TextEncoder()
  let seen = ""
  let size = -1
  let isOver = false
  while (true) {
    const log = yield* EmulatorLog.read(page.value, id, size)
    const { isEnded, text } = log
    size = log.size
    if (text !== undefined) {
      yield* print(textsOf(lines.push(encoder.encode(afterSeen(seen, text)))))
      seen = text
    }
    // The last lines may arrive just after the end of the job.
    if (!follow || (isEnded && isOver)) return yield* print(textsOf(lines.end()))
    isOver = isEnded && text === undefined
    yield* Effect.sleep(interval)
  }
}, Effect.provide(EmulatorLog.layerClient))

/** The new part of a text, whose beginning may be gone. */
const afterSeen = (seen: string, text: string): string => {
  if (text.startsWith(seen)) return text.slice(seen.length)
  const end = seen.slice(-1000)
  const index = text.lastIndexOf(end)
  return index === -1 ? text : text.slice(index + end.length)
}
