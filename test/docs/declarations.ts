/** Reads names and doc comments of declarations from the sources of the packages. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "./snippets.ts"

export interface Member {
  readonly name: string
  /** The text of its doc comment, on one line. Empty if there is none. */
  readonly comment: string
  /** Its declared type. */
  readonly type: string
}

export const read = (file: string): string => readFileSync(join(root, file), "utf8")

/** The text of a doc comment, on one line: only the first paragraph. */
export const textOf = (comment: string): string =>
  (comment.replaceAll(/^\s*(?:\/\*\*|\*\/|\*)[ \t]?|\s*\*\/$/gm, "").split(/\n\s*\n/)[0] ?? "")
    .replaceAll(/\{@link (?:\S+ )?([^}]+)\}/g, "$1")
    .replaceAll(/\s+/g, " ")
    .trim()

/** The body of a declaration that starts with this line. */
const bodyOf = (source: string, line: string): string => {
  const [, body] = source.split(`${line}\n`)
  if (body === undefined) throw new Error(`There is no declaration: ${line}`)
  return body.slice(0, body.search(/^\}/m))
}

/** The members of an interface or a tagged enum, in their order. */
export const membersOf = (file: string, line: string): ReadonlyArray<Member> =>
  Array.from(
    bodyOf(read(file), line).matchAll(/^ {2}(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n {2})?(?:readonly )?(\w+)\??:\s(.*)$/gm),
    ([, comment = "", name = "", type = ""]) => ({ name, comment: textOf(comment), type })
  )

/** The first sentence of a text. */
export const firstSentence = (text: string): string => sentencesOf(text)[0] ?? ""

export const sentencesOf = (text: string): ReadonlyArray<string> => text.split(/(?<=\.)\s+(?=[A-Z])/)

/** A sentence without its full stop. */
export const withoutStop = (sentence: string): string => sentence.replace(/\.$/, "")
