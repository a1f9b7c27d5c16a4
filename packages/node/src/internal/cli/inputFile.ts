/** Reads files that users name, in bounded time and memory: the file may be a device or a pipe that never ends. */
import { constants } from "node:fs"
import * as Fs from "node:fs/promises"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { describeCode, errorCode } from "../process/errorDescription.ts"

/** An input can't be used. */
export class UnusableInput extends Data.TaggedError("UnusableInput")<{
  /** The reason, as the end of a sentence. */
  readonly message: string
}> {}

export interface Bounds {
  readonly maxBytes: number
  /** How long reading the whole file may take. */
  readonly timeout: Duration.Duration
}

/** The bounds of files with tokens, passwords and URLs. */
export const secretBounds: Bounds = { maxBytes: 64 * 1024, timeout: Duration.seconds(10) }

/** The bounds of files with jobs and pipelines. */
export const documentBounds: Bounds = { maxBytes: 64 * 1024 * 1024, timeout: Duration.minutes(1) }

const size = (bytes: number): string =>
  bytes % 1024 ** 2 === 0 ? `${bytes / 1024 ** 2} MiB` : `${Math.round(bytes / 1024)} KiB`

const tooLarge = ({ maxBytes }: Bounds) => new UnusableInput({ message: `it holds more than ${size(maxBytes)}` })

const inTime =
  (bounds: Bounds) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.timeoutOrElse(effect, {
      duration: bounds.timeout,
      orElse: () =>
        Effect.fail(new UnusableInput({ message: `it has no end within ${Duration.format(bounds.timeout)}` }))
    })

/** A failed file operation, with the system's code. */
class FileError extends Data.TaggedError("FileError")<{ readonly code: string }> {}

const attempt = <A>(operation: () => Promise<A>): Effect.Effect<A, FileError> =>
  Effect.tryPromise({ try: operation, catch: (cause) => new FileError({ code: errorCode(cause) }) })

/** Whether a shell has opened the pipe for this process. If such a pipe is empty and has no writer, none will come. */
const isOpenedPipe = (file: string): boolean => /^\/(?:dev|proc\/self)\/fd\//.test(file)

const pollInterval = Duration.millis(50)

/** Reads the text of a file. */
export const read = (file: string, bounds: Bounds): Effect.Effect<string, UnusableInput> =>
  Effect.map(readBytes(file, bounds), (bytes) => bytes.toString("utf8"))

/** Reads the content of a file. */
export const readBytes = (file: string, bounds: Bounds): Effect.Effect<Buffer, UnusableInput> =>
  Effect.gen(function* () {
    // With O_NONBLOCK, opening a pipe without a writer and reading from it return at once, so everything can be interrupted.
    const handle = yield* Effect.acquireRelease(
      attempt(() => Fs.open(file, constants.O_RDONLY | constants.O_NONBLOCK)),
      (handle) => Effect.ignore(attempt(() => handle.close()))
    )
    const info = yield* attempt(() => handle.stat())
    const mayHaveNoWriter = info.isFIFO() && !isOpenedPipe(file)
    const buffer = Buffer.alloc(bounds.maxBytes > 1024 ** 2 ? 1024 ** 2 : bounds.maxBytes + 1)
    const chunks: Array<Buffer> = []
    let total = 0
    while (true) {
      const count = yield* attempt(() => handle.read(buffer, 0, buffer.length)).pipe(
        Effect.map(({ bytesRead }) => bytesRead),
        // No data yet.
        Effect.catchIf(
          ({ code }) => code === "EAGAIN",
          () => Effect.succeed(undefined)
        )
      )
      if (count === undefined || (count === 0 && total === 0 && mayHaveNoWriter)) {
        yield* Effect.sleep(pollInterval)
        continue
      }
      if (count === 0) return Buffer.concat(chunks)
      total += count
      if (total > bounds.maxBytes) return yield* tooLarge(bounds)
      chunks.push(Buffer.from(buffer.subarray(0, count)))
    }
  }).pipe(
    Effect.scoped,
    Effect.catchTag("FileError", ({ code }) => Effect.fail(new UnusableInput({ message: describeCode(code) }))),
    inTime(bounds)
  )

/** Reads the text of the standard input. A terminal has no time limit. */
export const readStdin = (bounds: Bounds): Effect.Effect<string, UnusableInput, Stdio.Stdio> =>
  Effect.gen(function* () {
    const { stdin, stdinIsTerminal } = yield* Stdio.Stdio
    const chunks: Array<Uint8Array> = []
    let total = 0
    const reading = stdin.pipe(
      Stream.mapError(() => new UnusableInput({ message: "it can't be read" })),
      Stream.runForEach((chunk) => {
        total += chunk.length
        chunks.push(chunk)
        return total > bounds.maxBytes ? tooLarge(bounds) : Effect.void
      })
    )
    yield* (yield* stdinIsTerminal) ? reading : inTime(bounds)(reading)
    return Buffer.concat(chunks).toString("utf8")
  })
