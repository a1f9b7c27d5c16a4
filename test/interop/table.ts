/** What `pnpm interop` has found, as a table. */

/** `unavailable` and `known` are no deviations. */
type Verdict = "ok" | "deviates" | "known" | "unavailable"

export interface Row {
  readonly program: string
  readonly version: string
  readonly subject: string
  readonly verdict: Verdict
  readonly detail: string
}

export const format = (rows: ReadonlyArray<Row>): string => {
  const cells = [
    ["PROGRAM", "VERSION", "SUBJECT", "VERDICT", "DETAIL"],
    ...rows.map(({ detail, program, subject, verdict, version }) => [program, version, subject, verdict, detail])
  ]
  const widths = [0, 1, 2, 3].map((column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}
