/** A step's matrix: one job for each combination of its values. */
import * as Result from "effect/Result"
import { readSoftFail, type SoftFail } from "./fields.ts"
import { type Part, type Read, readSkip } from "./part.ts"

/** A value for each dimension; the dimension of a simple list has the empty name. */
type Values = ReadonlyMap<string, string>

export interface Combination {
  readonly values: Values
  readonly isSkipped: boolean
  /** From an adjustment; undefined if none sets it. */
  readonly softFail: SoftFail | undefined
}

/** For a step without a matrix: one job without values. */
const single: ReadonlyArray<Combination> = [{ values: new Map(), isSkipped: false, softFail: undefined }]

interface Adjustment {
  /** A value for some or all dimensions. */
  readonly values: Values
  readonly isSkipped: boolean
  readonly softFail: SoftFail | undefined
}

type Axes = ReadonlyMap<string, ReadonlyArray<string>>

/** The combinations of the setup, then those that adjustments add. */
export const combinations = (matrix: Part | undefined): Read<ReadonlyArray<Combination>> =>
  Result.gen(function* () {
    if (matrix === undefined || matrix.isNull) return single
    if (matrix.isList) {
      return adjust(yield* products(matrix, yield* readAxes(matrix)), [])
    }
    const setup = matrix.get("setup")
    if (setup === undefined) {
      return yield* matrix.fail("A matrix is a list of values, or a map with a `setup` and perhaps `adjustments`.")
    }
    const axes = yield* readAxes(setup)
    const adjustments: Array<Adjustment> = []
    for (const part of matrix.get("adjustments")?.some() ?? []) adjustments.push(yield* readAdjustment(part, axes))
    const all = new Map((yield* products(setup, axes)).map((values) => [keyOf(values), values]))
    // A combination that is not in the setup is added. An adjustment that leaves dimensions out only changes some.
    for (const { values } of adjustments) if (values.size === axes.size) all.set(keyOf(values), values)
    if (all.size > maxCombinations) return yield* tooMany(matrix, all.size)
    return adjust(Array.from(all.values()), adjustments)
  })

/** An adjustment that skips always wins. Of those that say which failures are allowed, the last one. */
const adjust = (all: ReadonlyArray<Values>, adjustments: ReadonlyArray<Adjustment>): ReadonlyArray<Combination> =>
  all.map((values) => {
    const matching = adjustments.filter((adjustment) =>
      Array.from(adjustment.values).every(([name, value]) => values.get(name) === value)
    )
    return {
      values,
      isSkipped: matching.some(({ isSkipped }) => isSkipped),
      softFail: matching.findLast(({ softFail }) => softFail !== undefined)?.softFail
    }
  })

const keyOf = (values: Values): string => JSON.stringify(Array.from(values).sort())

const readAxes = (setup: Part): Read<Axes> =>
  Result.gen(function* () {
    if (!setup.isMap) return new Map([["", yield* setup.texts()]])
    const axes = new Map<string, ReadonlyArray<string>>()
    for (const [name, values] of yield* setup.fields()) axes.set(name, yield* values.texts())
    return axes
  })

/** The same limit as for `parallelism`. */
const maxCombinations = 1000

const tooMany = (matrix: Part, count: number) =>
  matrix.fail(`A matrix has at most ${maxCombinations} combinations, not ${count}.`)

/** All combinations of the setup's values. Counts them before it makes any. */
const products = (setup: Part, axes: Axes): Read<ReadonlyArray<Values>> => {
  const count = Array.from(axes.values()).reduce((product, { length }) => product * length, 1)
  if (count > maxCombinations) return tooMany(setup, count)
  let all: ReadonlyArray<Values> = [new Map()]
  // A dimension without values makes the product empty.
  for (const [name, values] of count === 0 ? [] : axes) {
    all = all.flatMap((one) => values.map((value) => new Map([...one, [name, value]])))
  }
  return Result.succeed(count === 0 ? [] : all)
}

const readAdjustment = (adjustment: Part, axes: Axes): Read<Adjustment> =>
  Result.gen(function* () {
    const fields = yield* adjustment.fields()
    const where = fields.get("with")
    if (where === undefined || where.isNull) {
      return yield* adjustment.fail("An adjustment says in `with` which combination it changes.")
    }
    const values = new Map<string, string>()
    if (!where.isMap) values.set("", yield* where.text("a value, or a map with a value for each dimension"))
    else for (const [name, value] of yield* where.fields()) values.set(name, yield* value.text())
    const unknown = Array.from(values.keys()).find((name) => !axes.has(name))
    if (unknown !== undefined) {
      const names = Array.from(axes.keys(), (name) => (name === "" ? "one value" : `\`${name}\``)).join(", ")
      return yield* where.fail(`\`with\` names values for dimensions of the setup: ${names}.`)
    }
    const softFail = fields.get("soft_fail")
    return {
      values,
      isSkipped: (yield* readSkip(fields.get("skip"))) !== undefined,
      softFail: softFail === undefined ? undefined : yield* readSoftFail(softFail)
    }
  })

const token = /\{\{\s*matrix(?:\.([\w.-]+))?\s*\}\}/g

/** The first dimension in a text that the values do not have. */
export const unknownDimension = (text: string, { values }: Combination): string | undefined =>
  Array.from(text.matchAll(token), ([, name = ""]) => name).find((name) => !values.has(name))

/** Replaces `{{matrix}}` and `{{matrix.name}}` by the combination's values. */
export const fill = (text: string, { values }: Combination): string =>
  values.size === 0 ? text : text.replace(token, (whole, name: string = "") => values.get(name) ?? whole)
