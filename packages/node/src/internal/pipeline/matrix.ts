/** A step's matrix: one job for each combination of its values. */
import * as Result from "effect/Result"
import { type Read, readSkip, readSoftFail, type SoftFail } from "./fields.ts"
import type { Node } from "./node.ts"

/** A value for each dimension; the dimension of a simple list has the empty name. */
type Values = ReadonlyMap<string, string>

export interface Combination {
  readonly values: Values
  readonly isSkipped: boolean
  /** From an adjustment; undefined if it does not set it. */
  readonly softFail: SoftFail | undefined
}

/** For a step without a matrix: one job without values. */
const single: ReadonlyArray<Combination> = [{ values: new Map(), isSkipped: false, softFail: undefined }]

export const combinations = (matrix: Node | undefined): Read<ReadonlyArray<Combination>> =>
  Result.gen(function* () {
    if (matrix === undefined || matrix.isNull) return single
    if (matrix.isList) return (yield* products(matrix, yield* dimensions(matrix))).map((values) => plain(values))
    const fields = yield* matrix.fields()
    const setup = fields.get("setup")
    if (setup === undefined) {
      return yield* matrix.fail("A matrix is a list of values, or a map with a `setup` and perhaps `adjustments`.")
    }
    const axes = yield* dimensions(setup)
    const all = new Map((yield* products(setup, axes)).map((values) => [keyOf(values), plain(values)]))
    const adjustments = fields.get("adjustments")
    for (const adjustment of adjustments === undefined ? [] : yield* adjustments.list()) {
      const changed = yield* readAdjustment(adjustment, axes)
      // A combination that is not in the setup is added.
      all.set(keyOf(changed.values), changed)
    }
    if (all.size > maxCombinations) return yield* tooMany(matrix, all.size)
    return Array.from(all.values())
  })

const plain = (values: Values): Combination => ({ values, isSkipped: false, softFail: undefined })

const keyOf = (values: Values): string => JSON.stringify(Array.from(values).sort())

const dimensions = (setup: Node): Read<ReadonlyMap<string, ReadonlyArray<string>>> =>
  Result.gen(function* () {
    if (setup.isList) return new Map([["", yield* texts(setup)]])
    const axes = new Map<string, ReadonlyArray<string>>()
    for (const [name, values] of yield* setup.fields()) axes.set(name, yield* texts(values))
    return axes
  })

const texts = (list: Node): Read<ReadonlyArray<string>> =>
  Result.flatMap(list.list(), (items) => Result.all(items.map((item) => item.text())))

/** The same limit as for `parallelism`. */
const maxCombinations = 1000

const tooMany = (matrix: Node, count: number) =>
  matrix.fail(`A matrix has at most ${maxCombinations} combinations, not ${count}.`)

/** All combinations of the setup's values. Counts them before it makes any. */
const products = (setup: Node, axes: ReadonlyMap<string, ReadonlyArray<string>>): Read<ReadonlyArray<Values>> => {
  const count = Array.from(axes.values()).reduce((product, { length }) => product * length, 1)
  if (count > maxCombinations) return tooMany(setup, count)
  let all: ReadonlyArray<Values> = [new Map()]
  // A dimension without values makes the product empty.
  for (const [name, values] of count === 0 ? [] : axes) {
    all = all.flatMap((one) => values.map((value) => new Map([...one, [name, value]])))
  }
  return Result.succeed(count === 0 ? [] : all)
}

const readAdjustment = (adjustment: Node, axes: ReadonlyMap<string, ReadonlyArray<string>>): Read<Combination> =>
  Result.gen(function* () {
    const fields = yield* adjustment.fields()
    const where = fields.get("with")
    if (where === undefined) return yield* adjustment.fail("An adjustment says in `with` which combination it changes.")
    const values = new Map<string, string>()
    if (where.isMap) {
      for (const [name, value] of yield* where.fields()) values.set(name, yield* value.text())
    } else {
      values.set("", yield* where.text())
    }
    if (values.size !== axes.size || Array.from(values.keys()).some((name) => !axes.has(name))) {
      const names = Array.from(axes.keys(), (name) => (name === "" ? "one value" : `\`${name}\``)).join(", ")
      return yield* where.fail(`\`with\` names a value for each dimension of the setup: ${names}.`)
    }
    const softFail = fields.get("soft_fail")
    return {
      values,
      isSkipped: yield* readSkip(fields.get("skip")),
      softFail: softFail === undefined ? undefined : yield* readSoftFail(softFail)
    }
  })

const token = /\{\{\s*matrix(?:\.([\w-]+))?\s*\}\}/g

/** The first dimension in a text that the values do not have. */
export const unknownDimension = (text: string, { values }: Combination): string | undefined =>
  Array.from(text.matchAll(token), ([, name = ""]) => name).find((name) => !values.has(name))

/** Replaces `{{matrix}}` and `{{matrix.name}}` by the combination's values. */
export const fill = (text: string, { values }: Combination): string =>
  values.size === 0 ? text : text.replace(token, (whole, name: string = "") => values.get(name) ?? whole)
