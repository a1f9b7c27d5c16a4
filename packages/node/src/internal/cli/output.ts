/** What commands print: a table for people, a JSON object a line for programs. */
import * as Console from "effect/Console"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Redactor from "../secrets/redactor.ts"
import * as Sanitize from "../terminal/sanitize.ts"
import { currentDisplay } from "../terminal/style.ts"
import { type Column, Table } from "../terminal/table.ts"

export const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Print one JSON object a line, for programs"),
  Flag.withDefault(false)
)

/** Prints results as they come. */
export interface Printer<A> {
  readonly print: (rows: ReadonlyArray<A>) => Effect.Effect<void>
}

/**
 * A printer of what `columns` show of each result, or with `--json` of the results as `toJson` gives them. The widths of the
 * columns are those of the first results that are printed together.
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

/** Prints one result: with `--json` as an object, else as a text, which is printed as it is. */
export const printOne = (isJson: boolean, result: { readonly text: string; readonly json: unknown }) =>
  Console.log(isJson ? Sanitize.json(result.json) : result.text)

/** Tells people something that is not a result; without tokens, such as one that was typed where it does not belong. */
export const say = (text: string): Effect.Effect<void> => Console.error(withoutTokens(Sanitize.sanitizeLines(text)))

const withoutTokens = Redactor.make([]).redact
