/** Remarks about an uploaded pipeline: what the emulator ignores, and what the service would not take as it is. */
import type { Fields, Part } from "./part.ts"

export interface Remark {
  /** For example `/steps/0`. */
  readonly path: string
  readonly text: string
}

export class Remarks {
  readonly all: Array<Remark> = []

  add({ path }: Part, text: string): void {
    this.all.push({ path, text })
  }

  /** Says which of the fields are ignored: all but those that are used. */
  addIgnored(fields: Fields, used: ReadonlySet<string>): void {
    for (const [name, part] of fields) if (!used.has(name)) this.add(part, `\`${name}\` is ignored`)
  }
}
