/** Prints the output of commands: a table for people, one JSON object per line for programs. */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Redactor from "../secrets/redactor.ts"
import * as Messages from "../terminal/messages.ts"
import * as Sanitize from "../terminal/sanitize.ts"
import { currentDisplay } from "../terminal/style.ts"
import { type Column, Table } from "../terminal/table.ts"
import * as Flag from "./flag.ts"
import { OutputMode } from "./outputMode.ts"

export const json = Flag.toggle("json", { description: "Print one JSON object per line, for programs" })

/** Prints results as they arrive. */
export interface Printer<A> {
  readonly print: (rows: ReadonlyArray<A>) => Effect.Effect<void>
}

/**
 * Makes a printer that shows results as a table with `columns`, or with `--json` as objects by `toJson`. The first results that are
 * printed set the widths of the columns.
 */
export const printer = <A>(options: {
  readonly json: boolean
  readonly columns: ReadonlyArray<Column<A>>
  readonly toJson: (row: A) => unknown
}): Effect.Effect<Printer<A>, never, Effect.Services<typeof currentDisplay>> =>
  Effect.map(currentDisplay, (display) => {
    const table = new Table(options.columns, display)
    return {
      print: (rows) => {
        if (rows.length === 0) return Effect.void
        const lines = options.json ? rows.map((row) => Sanitize.json(options.toJson(row))) : table.lines(rows)
        return Console.log(lines.join("\n"))
      }
    }
  })

/** Prints one result: with `--json` as an object, else as a text, which has to be sanitized. */
export const printOne = (isJson: boolean, result: { readonly text: string; readonly json: unknown }) =>
  Console.log(isJson ? Sanitize.json(result.json) : result.text)

/** Prints a message to the standard error, without tokens, for example one that was typed as an argument. */
export const say = (text: string): Effect.Effect<void> => print({ level: "info", message: text }, text)

/** Prints what went wrong with one of several jobs. */
export const sayOfJob = (jobUuid: string, problem: string): Effect.Effect<void> =>
  print({ level: "error", message: problem, jobUuid }, `${Sanitize.sanitizeLine(jobUuid)}: ${problem}`)

/** Prints why the command failed: its last message. */
export const sayFailure = (message: string, exitStatus: number, hint?: string): Effect.Effect<void> =>
  print(
    { level: "error", message, exitStatus },
    message
      .split("\n")
      .map((line) => `stacksapi: ${line}`)
      .concat(hint ?? [])
      .join("\n")
  )

const print = (message: Messages.Message, text: string): Effect.Effect<void> =>
  Effect.flatMap(Effect.all([OutputMode, Clock.currentTimeMillis]), ([{ isJson }, now]) =>
    Console.error(
      isJson
        ? Messages.toJson(
            {
              ...message,
              message: withoutTokens(message.message),
              ...(message.jobUuid !== undefined && { jobUuid: withoutTokens(message.jobUuid) })
            },
            now
          )
        : withoutTokens(Sanitize.sanitizeLines(text))
    )
  )

const withoutTokens = Redactor.make([]).redact
