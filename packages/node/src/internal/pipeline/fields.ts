/** Reads the fields of steps that the agent knows. Each reader fails where the agent would not understand the field. */
import * as Result from "effect/Result"
import { type Field, Matrix, Plugin, type Shape, Shapes, Struct } from "./shape.ts"
import { fail, type Item, kindOf, List, Mapping, type Read, readText } from "./value.ts"

/** A map without fields. */
export const none = new Mapping(new Map())

type ReadField = (item: Item) => Read<Shape | undefined>

/** Reads a map's known fields. The first name that the map has counts; the other names stay with the rest. */
export class Known {
  readonly #map: Mapping
  readonly #taken = new Set<string>()
  readonly fields: Array<Field> = []

  constructor(map: Mapping) {
    this.#map = map
  }

  find(...names: ReadonlyArray<string>): Item | undefined {
    for (const name of names) {
      const item = this.#map.entries.get(name)
      if (item === undefined) continue
      this.#taken.add(name)
      return item
    }
    return undefined
  }

  /** Adds a field under the first of its names. A reader may leave the field out. */
  add(
    names: ReadonlyArray<string>,
    read: ReadField,
    how: { readonly isFixed?: boolean; readonly isAlwaysSent?: boolean } = {}
  ): Read<void> {
    const item = this.find(...names)
    if (item === undefined) return Result.void
    return Result.map(read(item), (value) => {
      if (value !== undefined) this.fields.push({ name: names[0] ?? "", at: item.at, value, ...how })
    })
  }

  get rest(): Mapping {
    return new Mapping(new Map(Array.from(this.#map.entries).filter(([name]) => !this.#taken.has(name))))
  }

  get struct(): Struct {
    return new Struct(this.fields, this.rest)
  }
}

export const text: ReadField = readText

/** For fields that are left out where they are null. */
const unlessNull =
  (read: ReadField): ReadField =>
  (item) =>
    item.value === null ? Result.succeed(undefined) : read(item)

const readMap = (item: Item): Read<Mapping> =>
  item.value instanceof Mapping
    ? Result.succeed(item.value)
    : fail(item.at, `Expected a map of names and values, not ${kindOf(item.value)}.`)

const ofKind =
  (expected: string, isOne: (value: Item["value"]) => boolean): ReadField =>
  ({ at, value }) =>
    isOne(value) && !(value instanceof List) && !(value instanceof Mapping)
      ? Result.succeed(value)
      : fail(at, `Expected ${expected}, not ${kindOf(value)}.`)

const flag = unlessNull(ofKind("true or false", (value) => typeof value === "boolean"))

/** A text, or several. */
export const texts = (item: Item): Read<ReadonlyArray<string>> => {
  if (item.value === null) return Result.succeed([])
  if (item.value instanceof List) return Result.all(item.value.items.map(readText))
  return item.value instanceof Mapping
    ? fail(item.at, `Expected a text or a list of texts, not ${kindOf(item.value)}.`)
    : Result.map(readText(item), (one) => [one])
}

const listOf = (values: ReadonlyArray<string>, at: number): List => new List(values.map((value) => ({ value, at })))

const textList = (item: Item): Read<List> => Result.map(texts(item), (values) => listOf(values, item.at))

export const env: ReadField = unlessNull((item) =>
  Result.gen(function* () {
    const entries = new Map<string, Item>()
    for (const [name, value] of (yield* readMap(item)).entries) {
      entries.set(name, { value: yield* readText(value), at: value.at })
    }
    return new Mapping(entries)
  })
)

// -----------------------------------------------------------------------------
// Plugins, secrets, signatures and caches
// -----------------------------------------------------------------------------

/** A list of names and one-item maps, or one map. */
export const plugins: ReadField = unlessNull((item) =>
  Result.gen(function* () {
    const items: Array<{ readonly at: number; readonly value: Plugin }> = []
    const addAll = (map: Mapping) => {
      for (const [source, { at, value }] of map.entries) items.push({ at, value: new Plugin(source, value) })
    }
    if (item.value instanceof Mapping) addAll(item.value)
    else if (!(item.value instanceof List)) {
      return yield* fail(item.at, `Expected a list or a map of plugins, not ${kindOf(item.value)}.`)
    } else {
      for (const { at, value } of item.value.items) {
        if (value instanceof Mapping) addAll(value)
        else if (typeof value === "string") items.push({ at, value: new Plugin(value, null) })
        else return yield* fail(at, `Expected the name of a plugin, or a map with it, not ${kindOf(value)}.`)
      }
    }
    return new Shapes(items)
  })
)

/** Variables in secrets are not expanded. */
export const secrets: ReadField = (item) =>
  Result.gen(function* () {
    const items: Array<Item> = []
    const add = (key: string, variable: string | undefined, at: number) => {
      const entries = new Map<string, Item>([["key", { value: key, at }]])
      if (variable !== undefined && variable !== "") entries.set("environment_variable", { value: variable, at })
      items.push({ at, value: new Mapping(entries) })
    }
    if (item.value instanceof Mapping) {
      for (const [variable, { at, value }] of item.value.entries) {
        if (typeof value !== "string" || value === "" || variable === "") {
          return yield* fail(at, "Expected the name of a variable, and the key of its secret.")
        }
        add(value, variable, at)
      }
    } else if (item.value instanceof List) {
      for (const { at, value } of item.value.items) {
        if (typeof value === "string") {
          add(value, value, at)
          continue
        }
        const fields = (yield* readMap({ value, at })).entries
        const key = fields.get("key")?.value
        const variable = fields.get("environment_variable")?.value ?? undefined
        if (typeof key !== "string" || key === "" || !(variable === undefined || typeof variable === "string")) {
          return yield* fail(at, "A secret has a `key`, and perhaps an `environment_variable`, that are texts.")
        }
        add(key, variable, at)
      }
    } else {
      return yield* fail(item.at, `Expected a list or a map of secrets, not ${kindOf(item.value)}.`)
    }
    return new List(items)
  })

export const signature: ReadField = unlessNull((item) =>
  Result.gen(function* () {
    const known = new Known(yield* readMap(item))
    for (const name of ["algorithm", "value"]) yield* known.add([name], text, { isAlwaysSent: true })
    yield* known.add(["signed_fields"], unlessNull(textList), { isAlwaysSent: true })
    const has = new Map(known.fields.map((field) => [field.name, field.value]))
    const missing = (name: string, value: Shape): Field => ({
      name,
      at: item.at,
      value: has.get(name) ?? value,
      isAlwaysSent: true
    })
    return new Struct([missing("algorithm", ""), missing("signed_fields", null), missing("value", "")], none)
  })
)

/** False, paths, or a map. */
export const cache: ReadField = unlessNull((item) =>
  Result.gen(function* () {
    const { at, value } = item
    if (typeof value === "boolean") return value ? none : false
    if (typeof value === "string" || value instanceof List) {
      return new Struct([{ name: "paths", at, value: listOf(yield* texts(item), at) }], none)
    }
    const known = new Known(yield* readMap(item))
    const disabled = known.find("disabled")
    const isDisabled = disabled === undefined ? undefined : yield* flag(disabled)
    yield* known.add(["name"], text)
    yield* known.add(["paths"], textList)
    yield* known.add(["size"], text)
    return isDisabled === true ? false : new Struct(known.fields, known.rest, true)
  })
)

// -----------------------------------------------------------------------------
// Checkout
// -----------------------------------------------------------------------------

const checkoutFlags: ReadField = unlessNull((item) =>
  Result.gen(function* () {
    const known = new Known(yield* readMap(item))
    const flags = unlessNull(ofKind("a text", (value) => typeof value === "string"))
    for (const name of ["clone", "fetch", "checkout", "clean"]) yield* known.add([name], flags, { isAlwaysSent: true })
    return known.struct
  })
)

const sparse: ReadField = unlessNull((item) =>
  Result.gen(function* () {
    const known = new Known(yield* readMap(item))
    yield* known.add(["paths"], textList, { isFixed: true })
    return new Struct(known.fields, known.rest, true)
  })
)

export const checkout: ReadField = unlessNull((item) =>
  Result.gen(function* () {
    const known = new Known(yield* readMap(item))
    for (const name of ["skip", "submodules", "lfs"]) yield* known.add([name], flag, { isAlwaysSent: true })
    yield* known.add(["ssh_secret"], unlessNull(text), { isFixed: true, isAlwaysSent: true })
    yield* known.add(["commit_verification"], text, { isFixed: true })
    yield* known.add(["depth"], unlessNull(ofKind("a whole number", (value) => typeof value === "bigint")), {
      isAlwaysSent: true
    })
    yield* known.add(["sparse"], sparse, { isFixed: true, isAlwaysSent: true })
    yield* known.add(["flags"], checkoutFlags, { isAlwaysSent: true })
    return known.struct
  })
)

// -----------------------------------------------------------------------------
// Matrix
// -----------------------------------------------------------------------------

const matrixForms = "A matrix is a list of values, or a map with a `setup` and perhaps `adjustments`."

export const matrix: ReadField = unlessNull((item) =>
  Result.gen(function* () {
    if (item.value instanceof List) {
      return new Matrix(new Map([["", yield* texts(item)]]), new Shapes([]), none)
    }
    if (!(item.value instanceof Mapping)) return yield* fail(item.at, matrixForms)
    const known = new Known(item.value)
    const setup = known.find("setup")
    const adjustments = known.find("adjustments")
    return new Matrix(
      setup === undefined ? null : yield* readSetup(setup),
      adjustments === undefined ? new Shapes([]) : yield* readAdjustments(adjustments),
      known.rest
    )
  })
)

const readSetup = (item: Item): Read<ReadonlyMap<string, ReadonlyArray<string> | null>> =>
  Result.gen(function* () {
    if (item.value instanceof List) return new Map([["", yield* texts(item)]])
    const dimensions = new Map<string, ReadonlyArray<string> | null>()
    for (const [name, values] of (yield* readMap(item)).entries) {
      dimensions.set(name, values.value === null ? null : yield* texts(values))
    }
    return dimensions
  })

const readAdjustments = ({ at, value }: Item): Read<Shapes> =>
  Result.gen(function* () {
    if (value === null) return new Shapes([])
    if (!(value instanceof List)) return yield* fail(at, `Expected a list of adjustments, not ${kindOf(value)}.`)
    const items: Array<{ readonly at: number; readonly value: Shape }> = []
    for (const item of value.items) {
      items.push({ at: item.at, value: item.value === null ? null : yield* readAdjustment(item) })
    }
    return new Shapes(items)
  })

const readAdjustment = (item: Item): Read<Struct> =>
  Result.gen(function* () {
    const known = new Known(yield* readMap(item))
    const where = known.find("with")
    yield* known.add(["skip"], (skip) => Result.succeed(isEmptyScalar(skip) ? undefined : skip.value), {
      isFixed: true,
      isAlwaysSent: true
    })
    const at = where?.at ?? item.at
    const value = where === undefined ? null : yield* readWith(where)
    return new Struct([{ name: "with", at, value, isAlwaysSent: true }, ...known.fields], known.rest)
  })

const isEmptyScalar = ({ value }: Item): boolean =>
  value === null ||
  value === false ||
  value === "" ||
  value === 0n ||
  value === 0 ||
  (value instanceof List && value.items.length === 0)

/** One value, or a value for each of some dimensions. Numbers with a fraction are not understood. */
const readWith = (item: Item): Read<string | Mapping> =>
  Result.gen(function* () {
    if (!(item.value instanceof Mapping)) return yield* readChoice(item)
    const entries = new Map<string, Item>()
    for (const [name, value] of item.value.entries) entries.set(name, { value: yield* readChoice(value), at: value.at })
    const [only] = entries
    return entries.size === 1 && only?.[0] === "" ? String(only[1].value) : new Mapping(entries)
  })

const readChoice = (item: Item): Read<string> =>
  item.value === null || typeof item.value === "number"
    ? fail(item.at, `Expected a text or a whole number, not ${kindOf(item.value)}.`)
    : readText(item)
