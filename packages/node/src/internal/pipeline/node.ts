/** A YAML file as a tree of nodes that know their line and column, for error messages. */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Yaml from "yaml"

/** A pipeline file is invalid, and where. */
export class PipelineError extends Data.TaggedError("PipelineError")<{
  readonly file: string
  /** From 1. */
  readonly line: number
  /** From 1. */
  readonly column: number
  /** What is wrong, and how to write it. */
  readonly problem: string
}> {
  override get message(): string {
    return `${this.file}:${this.line}:${this.column}: ${this.problem}`
  }
}

type Read<A> = Result.Result<A, PipelineError>

/** Maps that are merged deeper than this are recursive. */
const maxMergeDepth = 32

class Source {
  readonly file: string
  readonly document: Yaml.Document.Parsed
  readonly lines: Yaml.LineCounter

  constructor(file: string, document: Yaml.Document.Parsed, lines: Yaml.LineCounter) {
    this.file = file
    this.document = document
    this.lines = lines
  }

  position(offset: number): { readonly line: number; readonly column: number } {
    // An empty file has no lines.
    const { col, line } = this.lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }

  fail(offset: number, problem: string): PipelineError {
    return new PipelineError({ file: this.file, ...this.position(offset), problem })
  }
}

/** A value in the file, with its position. */
export class Node {
  readonly #source: Source
  readonly #node: unknown
  readonly #offset: number

  constructor(source: Source, node: unknown, offset: number) {
    this.#source = source
    this.#node = Yaml.isAlias(node) ? node.resolve(source.document) : node
    this.#offset = Yaml.isNode(node) ? (node.range?.[0] ?? offset) : offset
  }

  get line(): number {
    return this.#source.position(this.#offset).line
  }

  fail(problem: string): Result.Result<never, PipelineError> {
    return Result.fail(this.#source.fail(this.#offset, problem))
  }

  get isNull(): boolean {
    return (
      this.#node === null ||
      this.#node === undefined ||
      (Yaml.isScalar(this.#node) && (this.#node.value ?? null) === null)
    )
  }

  get isMap(): boolean {
    return Yaml.isMap(this.#node)
  }

  get isList(): boolean {
    return Yaml.isSeq(this.#node)
  }

  /** The fields of a map, merged ones (`<<`) included. */
  fields(): Read<ReadonlyMap<string, Node>> {
    const fields = new Map<string, Node>()
    return Result.map(this.#collect(fields, 0), () => fields)
  }

  #collect(fields: Map<string, Node>, depth: number): Read<void> {
    if (!Yaml.isMap(this.#node)) return this.fail(`Expected a map of names and values, not ${this.#kind}.`)
    if (depth > maxMergeDepth) return this.fail("This map is merged into itself.")
    const merged: Array<Node> = []
    for (const { key, value } of this.#node.items) {
      const at = new Node(this.#source, key, this.#offset)
      const name = at.text()
      if (Result.isFailure(name)) return Result.fail(name.failure)
      const field = new Node(this.#source, value, at.#offset)
      if (name.success === "<<") merged.push(...(field.isList ? field.#elements : [field]))
      else fields.set(name.success, field)
    }
    for (const map of merged) {
      const others = new Map<string, Node>()
      const result = map.#collect(others, depth + 1)
      if (Result.isFailure(result)) return result
      for (const [name, field] of others) if (!fields.has(name)) fields.set(name, field)
    }
    return Result.succeed(undefined)
  }

  get #elements(): ReadonlyArray<Node> {
    return Yaml.isSeq(this.#node) ? this.#node.items.map((item) => new Node(this.#source, item, this.#offset)) : []
  }

  list(): Read<ReadonlyArray<Node>> {
    return this.isList ? Result.succeed(this.#elements) : this.fail(`Expected a list, not ${this.#kind}.`)
  }

  /** A text; for a number or boolean, its source. */
  text(): Read<string> {
    if (!Yaml.isScalar(this.#node) || this.isNull) return this.fail(`Expected a text, not ${this.#kind}.`)
    const { source, value } = this.#node
    return Result.succeed(typeof value === "string" ? value : (source ?? String(value)))
  }

  integer(): Read<number> {
    return Yaml.isScalar(this.#node) && typeof this.#node.value === "number" && Number.isSafeInteger(this.#node.value)
      ? Result.succeed(this.#node.value)
      : this.fail(`Expected a whole number, not ${this.#kind}.`)
  }

  /** Undefined if it is not a boolean. */
  get boolean(): boolean | undefined {
    return Yaml.isScalar(this.#node) && typeof this.#node.value === "boolean" ? this.#node.value : undefined
  }

  get #kind(): string {
    if (this.isNull) return "nothing"
    if (this.isMap) return "a map"
    if (this.isList) return "a list"
    return Yaml.isScalar(this.#node) ? JSON.stringify(this.#node.value) : "this"
  }
}

/** Parses a file's text. */
export const read = (text: string, file: string): Read<Node> => {
  const lines = new Yaml.LineCounter()
  const document = Yaml.parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const source = new Source(file, document, lines)
  const [error] = document.errors
  if (error !== undefined) return Result.fail(source.fail(error.pos[0], `Not YAML: ${error.message}.`))
  const lost = lostAlias(document)
  if (lost !== undefined) return Result.fail(source.fail(lost.range?.[0] ?? 0, `There is no anchor &${lost.source}.`))
  return Result.succeed(new Node(source, document.contents, 0))
}

/** The first alias of an anchor that does not exist. */
const lostAlias = (document: Yaml.Document.Parsed): Yaml.Alias | undefined => {
  let lost: Yaml.Alias | undefined
  Yaml.visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document) !== undefined) return undefined
      lost = alias
      return Yaml.visit.BREAK
    }
  })
  return lost
}
