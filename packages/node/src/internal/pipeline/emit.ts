/** Expands the variables of a pipeline, and writes it as the plain data that the agent uploads. */
import * as Result from "effect/Result"
import { interpolate } from "./interpolate.ts"
import { pluginSource } from "./pluginSource.ts"
import { Matrix, Plugin, type Shape, Shapes, Struct } from "./shape.ts"
import { fail, List, Mapping, type Read, Time } from "./value.ts"

/** Where a part of the plain data begins in the file, by its path, such as `/steps/0/label`. */
export type Positions = Map<string, number>

export class Emitter {
  readonly positions: Positions = new Map()
  /** The variables that are not set and became empty, and where. */
  readonly unset = new Map<string, Set<number>>()
  readonly #variables: ReadonlyMap<string, string>

  constructor(variables: ReadonlyMap<string, string>) {
    this.#variables = variables
  }

  text(text: string, at: number): Read<string> {
    const variables = this.#variables
    const get = (name: string) => variables.get(name)
    const onUnset = (name: string) => void this.unset.set(name, (this.unset.get(name) ?? new Set()).add(at))
    return Result.mapError(interpolate(text, { get, onUnset }), (problem) => ({ at, problem }))
  }

  /** `at` is where the value begins, `path` where it is in the plain data. */
  emit(value: Shape, at: number, path: string, isFixed = false): Read<unknown> {
    this.positions.set(path, at)
    if (typeof value === "string") return isFixed ? Result.succeed(value) : this.text(value, at)
    if (value instanceof List || value instanceof Shapes) return this.#list(value.items, path, isFixed)
    if (value instanceof Mapping) return Result.map(this.#entries(value, path, isFixed), Object.fromEntries)
    if (value instanceof Struct) return this.#struct(value, path, isFixed)
    if (value instanceof Matrix) return this.#matrix(value, at, path)
    if (value instanceof Plugin) return this.#plugin(value, at, path)
    if (value instanceof Time) return Result.succeed(value.text)
    if (typeof value === "number" && !Number.isFinite(value)) return fail(at, "JSON has no such number.")
    return Result.succeed(typeof value === "bigint" ? Number(value) : value)
  }

  #list(items: ReadonlyArray<{ readonly at: number; readonly value: Shape }>, path: string, isFixed: boolean) {
    return Result.all(items.map(({ at, value }, index) => this.emit(value, at, `${path}/${index}`, isFixed)))
  }

  /** Names are expanded too. A name that becomes that of another entry replaces it. */
  #entries(map: Mapping, path: string, isFixed: boolean): Read<ReadonlyArray<readonly [name: string, value: unknown]>> {
    return Result.gen(this, function* () {
      const all = Array.from(map.entries, ([name, { at, value }]) => ({ name, at, value, isReplaced: false }))
      const byName = new Map(all.map((entry) => [entry.name, entry]))
      const entries: Array<{ readonly from: (typeof all)[number]; readonly name: string; readonly value: unknown }> = []
      for (const entry of all) {
        if (entry.isReplaced) continue
        const name = isFixed ? entry.name : yield* this.text(entry.name, entry.at)
        const value = yield* this.emit(entry.value, entry.at, `${path}/${name}`, isFixed)
        if (name !== entry.name) {
          const other = byName.get(name)
          if (other !== undefined) other.isReplaced = true
          byName.delete(entry.name)
          byName.set(name, entry)
        }
        entries.push({ from: entry, name, value })
      }
      return entries.filter(({ from }) => !from.isReplaced).map(({ name, value }) => [name, value] as const)
    })
  }

  #struct(
    { fields, isRestFixed, rest }: Struct,
    path: string,
    isFixed: boolean
  ): Read<Readonly<Record<string, unknown>>> {
    return Result.gen(this, function* () {
      const known: Array<readonly [name: string, value: unknown]> = []
      for (const { at, isAlwaysSent = false, isFixed: isFieldFixed = false, name, value } of fields) {
        const emitted = yield* this.emit(value, at, `${path}/${name}`, isFixed || isFieldFixed)
        if (isAlwaysSent || !isEmpty(emitted)) known.push([name, emitted])
      }
      return Object.fromEntries([...(yield* this.#entries(rest, path, isFixed || isRestFixed)), ...known])
    })
  }

  #plugin({ config, source }: Plugin, at: number, path: string): Read<unknown> {
    return Result.gen(this, function* () {
      const name = pluginSource(yield* this.text(source, at))
      const emitted = yield* this.emit(config, at, `${path}/${name}`)
      return Object.fromEntries([[name, isEmpty(emitted) && typeof emitted === "object" ? null : emitted]])
    })
  }

  /** A list of values if there is nothing else to say. */
  #matrix({ adjustments, rest, setup }: Matrix, at: number, path: string): Read<unknown> {
    return Result.gen(this, function* () {
      const dimensions = setup === null ? null : new Map<string, ReadonlyArray<string> | null>()
      for (const [name, values] of setup ?? []) {
        const expanded = values === null ? null : yield* Result.all(values.map((value) => this.text(value, at)))
        dimensions?.set(yield* this.text(name, at), expanded)
      }
      const list = dimensions?.size === 1 ? dimensions.get("") : undefined
      const plain = dimensions === null ? null : list?.length ? list : Object.fromEntries(dimensions)
      const others = yield* this.#entries(rest, path, false)
      const changes = yield* this.emit(adjustments, at, `${path}/adjustments`)
      if (list?.length && isEmpty(changes) && others.length === 0) return list
      return Object.fromEntries([
        ...others,
        ["setup", plain],
        ...(isEmpty(changes) ? [] : [["adjustments", changes] as const])
      ])
    })
  }
}

/** What the agent leaves out. */
const isEmpty = (value: unknown): boolean =>
  value === "" || (typeof value === "object" && (value === null || Object.keys(value).length === 0))
