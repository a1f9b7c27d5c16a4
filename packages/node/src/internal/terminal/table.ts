/** A table with a header, fitted to the width of the display. */
import { displayWidth } from "effect/cli/CliOutput"
import { sanitizeLine } from "./sanitize.ts"
import { type Display, paint, type Style } from "./style.ts"
import { crop } from "./text.ts"

export interface Column<in A> {
  readonly name: string
  readonly value: (row: A) => string
  readonly style?: ((row: A) => Style | undefined) | undefined
  /** Whether the column is cropped if the display is too narrow. */
  readonly isFlexible?: boolean | undefined
}

const gap = "  "
const minWidth = 6

export class Table<A> {
  readonly #columns: ReadonlyArray<Column<A>>
  readonly #display: Display
  /** Set by the first call of `lines`. */
  #widths: ReadonlyArray<number> | undefined

  constructor(columns: ReadonlyArray<Column<A>>, display: Display) {
    this.#columns = columns
    this.#display = display
  }

  /** Formats the next rows. The first call adds the header. */
  lines(rows: ReadonlyArray<A>): ReadonlyArray<string> {
    const cells = rows.map((row) => this.#columns.map(({ value }) => sanitizeLine(value(row))))
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
    if (this.#display.width === undefined) return widths
    let excess = widths.reduce((sum, width) => sum + width + gap.length, -gap.length) - this.#display.width
    // Crops the widest column first.
    while (excess > 0) {
      const widest = widths.reduce(
        (found, width, column) =>
          this.#columns[column]?.isFlexible && width > Math.max(minWidth, widths[found] ?? 0) ? column : found,
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
      const left = this.#display.width === undefined ? undefined : this.#display.width - used
      if (left !== undefined && left <= 0) break
      const cell = left === undefined ? text : crop(text, Math.min(width, left))
      const style = row === undefined ? "bold" : this.#columns[column]?.style?.(row)
      const padding = column === last ? "" : `${" ".repeat(Math.max(0, width - displayWidth(cell)))}${gap}`
      line += paint(this.#display.hasColor, cell === "" ? undefined : style, cell) + padding
      used += width + gap.length
    }
    return line.trimEnd()
  }
}
