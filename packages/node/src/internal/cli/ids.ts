/** The ids of jobs, from arguments or the standard input. */
import * as Argument from "effect/cli/Argument"
import * as Effect from "effect/Effect"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { Failed } from "./failure.ts"

export const ids = Argument.String("id").pipe(
  Argument.withDescription("Ids of jobs; - reads them from standard input, one per line"),
  Argument.variadic({ min: 1 })
)

/** The given ids. `-` stands for the lines of the standard input. */
export const stream = (given: ReadonlyArray<string>): Stream.Stream<string, Failed, Stdio.Stdio> =>
  Stream.flatMap(Stream.fromIterable(given), (id) => (id === "-" ? lines : Stream.succeed(id)))

/** Much longer than any id. */
const maxLineLength = 64 * 1024

/** Fails on a line that is too long, because it may never end. */
const withShortLines = <R>(texts: Stream.Stream<string, Failed, R>): Stream.Stream<string, Failed, R> =>
  Stream.suspend(() => {
    let length = 0
    return Stream.tap(texts, (text) => {
      const end = text.lastIndexOf("\n")
      length = end === -1 ? length + text.length : text.length - end - 1
      return length > maxLineLength
        ? new Failed({
            message: `A line of the standard input has more than ${maxLineLength} characters: write one id per line`
          })
        : Effect.void
    })
  })

const lines = Stream.unwrap(Effect.map(Stdio.Stdio, ({ stdin }) => stdin)).pipe(
  Stream.decodeText,
  Stream.mapError(() => new Failed({ message: "The standard input can't be read" })),
  withShortLines,
  Stream.splitLines,
  Stream.map((line) => line.trim()),
  Stream.filter((line) => line !== "")
)
