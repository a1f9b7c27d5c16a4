/** Expands variables in a text, as the agent does before it uploads a pipeline. */
import * as Result from "effect/Result"

/** The variables that an upload knows. */
export interface Variables {
  readonly get: (name: string) => string | undefined
  /** Called with a variable that is not set, and has no default. It becomes empty. */
  readonly onUnset: (name: string) => void
}

type Expanded = Result.Result<string, string>

/** Fails with what is wrong with the expansion. */
export const interpolate = (text: string, variables: Variables): Expanded => {
  // Most texts have neither.
  if (!text.includes("$")) return Result.succeed(text)
  const parser = new Parser(text)
  return Result.flatMap(parser.expression(), (parts) => expand(parts, variables))
}

type Part =
  | string
  | { readonly name: string; readonly operation: "value" }
  | {
      readonly name: string
      readonly operation: "ifEmpty" | "ifUnset" | "required"
      readonly content: ReadonlyArray<Part>
    }
  | { readonly name: string; readonly operation: "slice"; readonly offset: number; readonly length: number | undefined }

const expand = (parts: ReadonlyArray<Part>, variables: Variables): Expanded =>
  Result.gen(function* () {
    let text = ""
    for (const part of parts) text += typeof part === "string" ? part : yield* expandVariable(part, variables)
    return text
  })

const expandVariable = (part: Exclude<Part, string>, variables: Variables): Expanded => {
  const value = variables.get(part.name)
  if (value === undefined && (part.operation === "value" || part.operation === "slice")) variables.onUnset(part.name)
  switch (part.operation) {
    case "value":
      return Result.succeed(value ?? "")
    case "slice":
      return Result.succeed(slice(value ?? "", part.offset, part.length))
    case "ifEmpty":
      return value === undefined || value === "" ? expand(part.content, variables) : Result.succeed(value)
    case "ifUnset":
      return value === undefined ? expand(part.content, variables) : Result.succeed(value)
    case "required":
      return value === undefined
        ? Result.flatMap(expand(part.content, variables), (message) =>
            Result.fail(`$${part.name}: ${message === "" ? "not set" : message}.`)
          )
        : Result.succeed(value)
  }
}

/** Offset and length count bytes. A character that is cut in two becomes replacement characters, one for each byte. */
const slice = (text: string, offset: number, length: number | undefined): string => {
  const size = Buffer.byteLength(text)
  const from = Math.min(Math.max(offset < 0 ? offset + size : offset, 0), size)
  const end = length === undefined ? size : length >= 0 ? from + length : Math.max(size + length, from)
  const to = Math.min(end, size)
  let at = 0
  let result = ""
  for (const character of text) {
    const next = at + Buffer.byteLength(character)
    const kept = Math.min(next, to) - Math.max(at, from)
    if (kept === next - at) result += character
    else if (kept > 0) result += "\ufffd".repeat(kept)
    at = next
  }
  return result
}

// -----------------------------------------------------------------------------
// Parsing
// -----------------------------------------------------------------------------

type Parsed<A> = Result.Result<A, string>

class Parser {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  /** Texts and variables, up to the end or the character `stop`, which is not taken. */
  expression(stop?: string): Parsed<ReadonlyArray<Part>> {
    return Result.gen(this, function* () {
      const parts: Array<Part> = []
      while (this.#at < this.#text.length && this.#text[this.#at] !== stop) {
        if (this.#takes("\\\\")) parts.push("\\\\")
        else if (this.#takes("\\$") || this.#takes("$$")) parts.push("$")
        else if (this.#takes("$(")) parts.push("$(")
        else if (this.#text[this.#at] === "$" && this.#at < this.#text.length - 1) parts.push(yield* this.#variable())
        else parts.push(this.#plain(stop))
      }
      return parts
    })
  }

  #takes(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }

  /** At least one character, then all that can't begin anything else. */
  #plain(stop: string | undefined): string {
    const start = this.#at++
    while (this.#at < this.#text.length) {
      const character = this.#text[this.#at]
      if (character === "$" || character === "\\" || character === stop) break
      this.#at++
    }
    return this.#text.slice(start, this.#at)
  }

  #variable(): Parsed<Part> {
    this.#at++
    if (this.#text[this.#at] === "{") return this.#brace()
    const name = this.#match(namePattern)
    return Result.succeed(name === undefined ? "$" : { name, operation: "value" })
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0]
    if (found !== undefined) this.#at += found.length
    return found
  }

  #brace(): Parsed<Part> {
    return Result.gen(this, function* () {
      const start = this.#at++
      const name = this.#match(namePattern)
      if (name === undefined) return yield* this.#fail(start, "has no name that begins with a letter")
      if (this.#takes("}")) return { name, operation: "value" }
      const part = yield* this.#operation(start, name)
      return this.#takes("}") ? part : yield* this.#fail(start, "has no } at its end")
    })
  }

  #operation(start: number, name: string): Parsed<Part> {
    return Result.gen(this, function* () {
      if (this.#takes(":-")) return { name, operation: "ifEmpty", content: yield* this.expression("}") }
      if (this.#takes("-")) return { name, operation: "ifUnset", content: yield* this.expression("}") }
      if (this.#takes("?")) return { name, operation: "required", content: yield* this.expression("}") }
      if (!this.#takes(":")) return yield* this.#fail(start, "has an unknown operator: it can be :-, -, ? or :")
      const offset = yield* this.#integer(start, this.#match(/[^:}]*/uy) ?? "")
      if (this.#text[this.#at] === "}") return { name, operation: "slice", offset, length: undefined }
      this.#at++
      const length = yield* this.#integer(start, this.#match(/[^}]*/uy) ?? "")
      return { name, operation: "slice", offset, length }
    })
  }

  #integer(start: number, text: string): Parsed<number> {
    return /^[-+]?[0-9]{1,18}$/.test(text.trim())
      ? Result.succeed(Number(text))
      : this.#fail(start, "has an offset or a length that is no whole number")
  }

  #fail(start: number, problem: string): Result.Result<never, string> {
    return Result.fail(
      `\`$${this.#text.slice(start, start + 40)}\` ${problem}. Write $$ for a $ that the upload must not expand.`
    )
  }
}

const namePattern = /\p{L}[\p{L}\p{N}_]*/uy
