/** What a YAML document holds, as the agent reads it. Containers and their items know where they are in the file. */
import * as Result from "effect/Result"

/** A whole number is a `bigint`, any other number a `number`: the agent writes them as text in different ways. */
export type Scalar = string | bigint | number | boolean | null | Time

export type Value = Scalar | List | Mapping

/** A date or a time. The agent can keep it, but not use it where it needs a text. */
export class Time {
  /** As it is written in JSON. */
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** A value, and the offset at which it begins. */
export interface Item {
  readonly value: Value
  readonly at: number
}

export class List {
  readonly items: ReadonlyArray<Item>

  constructor(items: ReadonlyArray<Item>) {
    this.items = items
  }
}

/** A map of names and values, in the order of the file. */
export class Mapping {
  readonly entries: ReadonlyMap<string, Item>

  constructor(entries: ReadonlyMap<string, Item>) {
    this.entries = entries
  }
}

/** What is wrong with a document, and where. */
export interface Problem {
  readonly at: number
  readonly problem: string
}

export type Read<A> = Result.Result<A, Problem>

export const fail = (at: number, problem: string): Result.Result<never, Problem> => Result.fail({ at, problem })

/** For messages. */
export const kindOf = (value: Value): string => {
  if (value === null) return "nothing"
  if (value instanceof List) return "a list"
  if (value instanceof Mapping) return "a map"
  if (value instanceof Time) return `the time ${value.text}`
  return typeof value === "string" ? JSON.stringify(value) : textOfScalar(value)
}

/** The text that the agent makes of a scalar where it needs a text. Nothing becomes an empty one. */
export const readText = ({ at, value }: Item): Read<string> => {
  if (value === null) return Result.succeed("")
  if (value instanceof Time || value instanceof List || value instanceof Mapping || isTooLarge(value)) {
    return fail(at, `Expected a text, not ${kindOf(value)}.`)
  }
  return Result.succeed(typeof value === "string" ? value : textOfScalar(value))
}

const isTooLarge = (value: Scalar): boolean => typeof value === "bigint" && value > 2n ** 63n - 1n

export const textOfScalar = (value: bigint | number | boolean): string =>
  typeof value === "number" ? textOfFloat(value) : String(value)

/** Go's `%v` of a float: the shortest digits, with an exponent from 1e+06 on and below 1e-04. */
const textOfFloat = (value: number): string => {
  if (Number.isNaN(value)) return "NaN"
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf"
  if (value === 0) return Object.is(value, -0) ? "-0" : "0"
  const [digits = "", exponent = "0"] = value.toExponential().split("e")
  const power = Number(exponent)
  if (power >= -4 && power < 6) return String(value)
  return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`
}
