/** Parts of an uploaded pipeline, which know where they are in it. */
import * as Result from "effect/Result"

/** What is wrong with an uploaded pipeline, and where: a path such as `/steps/0/label`. */
export interface Problem {
  readonly path: string
  readonly problem: string
}

export type Read<A> = Result.Result<A, Problem>

export type Fields = ReadonlyMap<string, Part>

/** A value of JSON in the pipeline. */
export class Part {
  readonly value: unknown
  readonly path: string

  constructor(value: unknown, path: string) {
    this.value = value
    this.path = path
  }

  fail(problem: string): Result.Result<never, Problem> {
    return Result.fail({ path: this.path, problem })
  }

  /** Fails because the value is of another type. `types` names all valid ones. */
  #isNot(types: string): Result.Result<never, Problem> {
    return this.fail(`Expected ${types}, not ${this.kind}.`)
  }

  get isNull(): boolean {
    return this.value === null || this.value === undefined
  }

  get isMap(): boolean {
    return typeof this.value === "object" && this.value !== null && !Array.isArray(this.value)
  }

  get isList(): boolean {
    return Array.isArray(this.value)
  }

  fields(types = "a map of names and values"): Read<Fields> {
    return this.isMap ? Result.succeed(new Map(this.entries)) : this.#isNot(types)
  }

  /** The entries of a map; none of anything else. */
  get entries(): ReadonlyArray<readonly [name: string, part: Part]> {
    if (!this.isMap) return []
    return Object.entries(this.value as object).map(([name, value]) => [name, this.#at(name, value)])
  }

  /** An entry of a map that has a value. */
  get(name: string): Part | undefined {
    return first(new Map(this.entries), name)
  }

  list(types = "a list"): Read<ReadonlyArray<Part>> {
    return Array.isArray(this.value)
      ? Result.succeed(this.value.map((value: unknown, index) => this.#at(String(index), value)))
      : this.#isNot(types)
  }

  /** A list, or one value alone. */
  some(): ReadonlyArray<Part> {
    if (this.isNull) return []
    return Result.getOrElse(this.list(), () => [this])
  }

  #at(name: string, value: unknown): Part {
    return new Part(value, `${this.path}/${name}`)
  }

  /** A text; also a number or a boolean. */
  text(types = "a text"): Read<string> {
    return ["string", "number", "boolean"].includes(typeof this.value)
      ? Result.succeed(String(this.value))
      : this.#isNot(types)
  }

  /** One text, or several. */
  texts(types = "a text or a list of texts"): Read<ReadonlyArray<string>> {
    return this.isList
      ? Result.all(this.some().map((item) => item.text()))
      : this.isNull
        ? Result.succeed([])
        : Result.map(this.text(types), (text) => [text])
  }

  /** A whole number; also one that is written as a text, as variables are. */
  integer(types = "a whole number"): Read<number> {
    const value =
      typeof this.value === "string" && /^\s*[-+]?\d{1,15}\s*$/.test(this.value) ? Number(this.value) : this.value
    return typeof value === "number" && Number.isSafeInteger(value) ? Result.succeed(value) : this.#isNot(types)
  }

  /** True or false, also as a text. */
  flag(types = "true or false"): Read<boolean> {
    return this.boolean === undefined ? this.#isNot(types) : Result.succeed(this.boolean)
  }

  /** True or false, also as a text; undefined for anything else. */
  get boolean(): boolean | undefined {
    if (this.value === true || this.value === "true") return true
    return this.value === false || this.value === "false" ? false : undefined
  }

  get kind(): string {
    if (this.isNull) return "nothing"
    if (this.isMap) return "a map"
    return this.isList ? "a list" : JSON.stringify(this.value)
  }
}

/** The first of several fields that has a value. */
export const first = (fields: Fields, ...names: ReadonlyArray<string>): Part | undefined =>
  names.map((name) => fields.get(name)).find((part) => part !== undefined && !part.isNull)

export const optional = <A>(part: Part | undefined, read: (part: Part) => Read<A>): Read<A | undefined> =>
  part === undefined || part.isNull ? Result.succeed(undefined) : read(part)

export const readText = (part: Part): Read<string> => part.text()

export const readFlag = (part: Part | undefined): Read<boolean> =>
  Result.map(
    optional(part, (part) => part.flag()),
    (flag) => flag ?? false
  )

export const readTexts = (part: Part | undefined): Read<ReadonlyArray<string>> => part?.texts() ?? Result.succeed([])

/** Why a step is skipped; undefined if it is not. An empty reason does not skip. */
export const readSkip = (part: Part | undefined): Read<string | undefined> => {
  if (part === undefined || part.isNull || part.value === "" || part.boolean === false) return Result.succeed(undefined)
  return part.boolean === true ? Result.succeed("") : part.text("true, false or a reason")
}
