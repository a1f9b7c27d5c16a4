/** Rows under a head, fitted to the screen. */
import { displayWidth } from "effect/cli/CliOutput"
import { printable } from "./plain.ts"
import { paint, type Screen, type Style } from "./screen.ts"

export interface Column<in A> {
  readonly name: string
  readonly value: (row: A) => string
  readonly style?: ((row: A) => Style | undefined) | undefined
  /** Gives up width for others where there is too little. */
  readonly isFlexible?: boolean | undefined
}

const gap = "  "
const narrowest = 6

export class Table<A> {
  readonly #columns: ReadonlyArray<Column<A>>
  readonly #screen: Screen
  /** Set by the first rows. */
  #widths: ReadonlyArray<number> | undefined

  constructor(columns: ReadonlyArray<Column<A>>, screen: Screen) {
    this.#columns = columns
    this.#screen = screen
  }

  /** The next rows as lines; under the head, if they are the first. */
  lines(rows: ReadonlyArray<A>): ReadonlyArray<string> {
    const cells = rows.map((row) => this.#columns.map(({ value }) => printable(value(row))))
    const isFirst = this.#widths === undefined
    this.#widths ??= this.#fit(cells)
    const widths = this.#widths
    const lines = cells.map((texts, index) => this.#line(texts, widths, rows[index]))
    return isFirst
      ? [
          this.#line(
            this.#columns.map(({ name }) => name.toUpperCase()),
            widths
          ),
          ...lines
        ]
      : lines
  }

  #fit(cells: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<number> {
    const widths = this.#columns.map(({ name }, column) =>
      cells.reduce((width, texts) => Math.max(width, displayWidth(texts[column] ?? "")), name.length)
    )
    if (this.#screen.width === undefined) return widths
    let excess = widths.reduce((sum, width) => sum + width + gap.length, -gap.length) - this.#screen.width
    // The widest gives up first.
    while (excess > 0) {
      const widest = widths.reduce(
        (found, width, column) =>
          this.#columns[column]?.isFlexible && width > Math.max(narrowest, widths[found] ?? 0) ? column : found,
        -1
      )
      const width = widths[widest]
      if (width === undefined) break
      widths[widest] = width - 1
      excess--
    }
    return widths
  }

  #line(texts: ReadonlyArray<string>, widths: ReadonlyArray<number>, row?: A): string {
    const last = texts.length - 1
    let line = ""
    let used = 0
    for (const [column, text] of texts.entries()) {
      const width = widths[column] ?? 0
      const left = this.#screen.width === undefined ? undefined : this.#screen.width - used
      if (left !== undefined && left <= 0) break
      const cell = left === undefined ? text : crop(text, Math.min(width, left))
      const style = row === undefined ? "bold" : this.#columns[column]?.style?.(row)
      const padding = column === last ? "" : `${" ".repeat(Math.max(0, width - displayWidth(cell)))}${gap}`
      line += paint(this.#screen, cell === "" ? undefined : style, cell) + padding
      used += width + gap.length
    }
    return line.trimEnd()
  }
}

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" })

export const crop = (text: string, width: number): string => {
  if (displayWidth(text) <= width) return text
  let cropped = ""
  let used = 1
  for (const { segment } of graphemes.segment(text)) {
    used += displayWidth(segment)
    if (used > width) break
    cropped += segment
  }
  return width > 0 ? `${cropped}…` : ""
}
