/** Tables in Markdown. */

const row = (cells: ReadonlyArray<string>): string =>
  `|${cells.map((cell) => (cell === "" ? " " : ` ${cell.replaceAll("|", "\\|")} `)).join("|")}|`

/** A table with these headings. */
export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [row(head), `|${"---|".repeat(head.length)}`, ...rows.map(row)].join("\n")

/** A name in a table. */
export const code = (text: string): string => `\`${text}\``
