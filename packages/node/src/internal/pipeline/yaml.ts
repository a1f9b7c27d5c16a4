/** Parses the text of a pipeline file into documents, with aliases and merges resolved as the agent resolves them. */
import * as Result from "effect/Result"
import * as Yaml from "yaml"
import { resolve, resolveTagged, type Tag, tagOf } from "./scalar.ts"
import { fail, type Item, List, Mapping, type Read, type Scalar, Time, textOfScalar, type Value } from "./value.ts"

/** A node whose aliases point at other nodes, possibly at one that it is in. */
type Node =
  | {
      readonly kind: "scalar"
      readonly at: number
      readonly text: string
      readonly isQuoted: boolean
      readonly tag: Tag | undefined
    }
  | { readonly kind: "list"; readonly at: number; readonly items: Array<Node> }
  | { readonly kind: "map"; readonly at: number; readonly pairs: Array<readonly [key: Node, value: Node]> }
  | { readonly kind: "alias"; readonly at: number; readonly target: Node }

/** The documents of a file, in their order. A file with nothing but comments has none. */
export const readDocuments = (text: string): Read<ReadonlyArray<Item>> =>
  Result.gen(function* () {
    const control = forbidden.exec(text)
    if (control !== null) return yield* fail(control.index, "Not YAML: control characters are not allowed.")
    const documents = Yaml.parseAllDocuments(text, { schema: "failsafe", uniqueKeys: false, prettyErrors: false })
    const values: Array<Item> = []
    const composer = new Composer(text)
    for (const document of documents) {
      const [error] = document.errors
      if (error !== undefined) return yield* fail(error.pos[0], `Not YAML: ${error.message}.`)
      if (document.contents === null && !document.directives.docStart) continue
      const root = yield* composer.compose(document.contents, document.range[0])
      values.push({ value: yield* new Decoder().decode(root), at: root.at })
    }
    return values
  })

/** What YAML does not allow outside of escapes. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: finds them
const forbidden = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u0084\u0086-\u009f\ufffe\uffff]/

// -----------------------------------------------------------------------------
// Aliases
// -----------------------------------------------------------------------------

class Composer {
  readonly #text: string
  /** A document may use the anchors of those before it. */
  readonly #anchors = new Map<string, Node>()

  constructor(text: string) {
    this.#text = text
  }

  compose(node: unknown, near: number): Read<Node> {
    return Result.gen(this, function* () {
      const at = Yaml.isNode(node) ? (node.range?.[0] ?? near) : near
      if (Yaml.isAlias(node)) {
        const target = this.#anchors.get(node.source)
        return target === undefined
          ? yield* fail(at, `There is no anchor &${node.source}.`)
          : ({ kind: "alias", at, target } as const)
      }
      if (Yaml.isMap(node) || Yaml.isSeq(node)) return yield* this.#collection(node, at)
      const made: Node = Yaml.isScalar(node)
        ? { kind: "scalar", at, text: this.#scalarText(node), isQuoted: isQuoted(node), tag: tagOf(node.tag) }
        : { kind: "scalar", at, text: "", isQuoted: false, tag: undefined }
      if (Yaml.isScalar(node) && node.anchor !== undefined) this.#anchors.set(node.anchor, made)
      return made
    })
  }

  /** A block scalar does not get a line break that the file does not have. */
  #scalarText(node: Yaml.Scalar): string {
    const text = node.source ?? String(node.value)
    const isAtEnd = node.type?.startsWith("BLOCK_") === true && node.range?.[1] === this.#text.length
    return isAtEnd && /\S[^\n]*$/.test(this.#text) ? text.replace(/\n$/, "") : text
  }

  /** An anchor exists from the start of its collection, so a collection can have itself in it. */
  #collection(node: Yaml.YAMLMap | Yaml.YAMLSeq, at: number): Read<Node> {
    return Result.gen(this, function* () {
      const made: Extract<Node, { readonly kind: "list" | "map" }> = Yaml.isMap(node)
        ? { kind: "map", at, pairs: [] }
        : { kind: "list", at, items: [] }
      if (node.anchor !== undefined) this.#anchors.set(node.anchor, made)
      for (const item of node.items) {
        if (made.kind === "list") {
          // A pair in a list, such as [a: b], is a map of its own.
          made.items.push(yield* this.compose(Yaml.isPair(item) ? pairMap(item) : item, at))
        } else if (Yaml.isPair(item)) {
          const key = yield* this.compose(item.key, at)
          made.pairs.push([key, yield* this.compose(item.value, key.at)])
        }
      }
      return made
    })
  }
}

const isQuoted = ({ type }: Yaml.Scalar): boolean => type !== undefined && type !== "PLAIN"

const pairMap = (pair: Yaml.Pair): Yaml.YAMLMap => {
  const map = new Yaml.YAMLMap()
  map.items.push(pair)
  return map
}

// -----------------------------------------------------------------------------
// Values
// -----------------------------------------------------------------------------

class Decoder {
  readonly #open = new Set<Node>()
  #count = 0
  #aliasCount = 0
  #aliasDepth = 0

  decode(node: Node): Read<Value> {
    return Result.gen(this, function* () {
      this.#count++
      if (this.#aliasDepth > 0) this.#aliasCount++
      if (isExcessive(this.#count, this.#aliasCount)) return yield* fail(node.at, "This document has too many aliases.")
      if (node.kind === "scalar") return yield* decodeScalar(node)
      if (this.#open.has(node)) return yield* fail(node.at, "This value is a part of itself.")
      this.#open.add(node)
      const value = yield* this.#decodeInner(node)
      this.#open.delete(node)
      return value
    })
  }

  #decodeInner(node: Exclude<Node, { readonly kind: "scalar" }>): Read<Value> {
    return Result.gen(this, function* () {
      if (node.kind === "alias") {
        this.#aliasDepth++
        const value = yield* this.decode(node.target)
        this.#aliasDepth--
        return value
      }
      if (node.kind === "list") {
        const items: Array<Item> = []
        for (const item of node.items) items.push({ value: yield* this.decode(item), at: item.at })
        return new List(items)
      }
      const entries = new Map<string, Item>()
      for (const [name, { at, value }] of yield* pairsOf(node))
        entries.set(name, { value: yield* this.decode(value), at })
      return new Mapping(entries)
    })
  }
}

/** The agent's bound: the more a document holds, the smaller the part that aliases may repeat. */
const isExcessive = (count: number, aliasCount: number): boolean => {
  if (aliasCount <= 100 || count <= 1000) return false
  const allowed = count <= 400_000 ? 0.99 : count >= 4_000_000 ? 0.1 : 0.99 - (0.89 * (count - 400_000)) / 3_600_000
  return aliasCount / count > allowed
}

const decodeScalar = (node: Extract<Node, { readonly kind: "scalar" }>): Read<Scalar> => {
  if (node.tag !== undefined && node.tag !== "str") {
    return Result.mapError(resolveTagged(node.text, node.tag), (problem) => ({ at: node.at, problem }))
  }
  return Result.succeed(node.isQuoted || node.tag === "str" ? node.text : resolve(node.text).value)
}

interface Pair {
  readonly value: Node
  readonly at: number
}

/**
 * The pairs of a map and of the maps that it merges. A later pair replaces the value of an earlier one with the same key; a pair of
 * the map itself replaces a merged one wherever it stands; of merged maps the first wins.
 */
const pairsOf = (map: Node): Read<ReadonlyArray<readonly [name: string, pair: Pair]>> => {
  const pairs: Array<readonly [name: string, pair: Pair]> = []
  return Result.map(
    collect(map, new Set(), (name, pair) => void pairs.push([name, pair])),
    () => pairs
  )
}

const collect = (node: Node, merged: Set<Node>, add: (name: string, pair: Pair) => void): Read<void> =>
  Result.gen(function* () {
    if (merged.has(node)) return
    merged.add(node)
    if (node.kind === "alias") return yield* collect(node.target, merged, add)
    if (node.kind === "scalar") return yield* fail(node.at, "Only maps, and lists of maps, can be merged.")
    if (node.kind === "list") {
      for (const item of node.items) yield* collect(item, merged, add)
      return
    }
    const names = new Set<string>()
    for (const [key] of node.pairs) if (!isMerge(key)) names.add(yield* nameOf(key))
    const addNew = (name: string, pair: Pair) => {
      if (names.has(name)) return
      names.add(name)
      add(name, pair)
    }
    for (const [key, value] of node.pairs) {
      if (isMerge(key)) yield* collect(value, merged, addNew)
      else add(yield* nameOf(key), { value, at: key.at })
    }
  })

const isMerge = (key: Node): boolean =>
  key.kind === "scalar" && (key.tag === "merge" || (key.tag === undefined && !key.isQuoted && key.text === "<<"))

/** A key as text. Numbers and booleans have one spelling each. */
const nameOf = (key: Node): Read<string> =>
  Result.gen(function* () {
    if (key.kind === "alias") return yield* nameOf(key.target)
    if (key.kind !== "scalar") return yield* fail(key.at, "A list or a map can't be a key.")
    const value = yield* decodeScalar(key)
    if (value === null || key.tag === "null") return yield* fail(key.at, "A key can't be null.")
    if (typeof value === "string" || value instanceof Time) return key.text
    return typeof value === "number" ? exponential(value) : textOfScalar(value)
  })

/** Go's `%e`. */
const exponential = (value: number): string => {
  if (!Number.isFinite(value)) return textOfScalar(value)
  const [digits = "", exponent = "+0"] = value.toExponential(6).split("e")
  const sign = Object.is(value, -0) ? "-" : ""
  return `${sign}${digits}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`
}
