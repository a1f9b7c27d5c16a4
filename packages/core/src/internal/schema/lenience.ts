/**
 * Repairs bodies that are almost as declared, like the Go decoder of the reference client: a null or missing value in an object
 * becomes the zero value of its type. Items such as the jobs of a page are decoded one by one, and items that do not decode are
 * skipped. The body itself must be an object with the declared keys.
 *
 * Only bodies that the schemas refuse are repaired. `Schema.toCodecGoJson` is not enough: it reads a null as an empty list, but can't
 * skip items.
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import { type Decode, giveUp, makeDecoder, makeDirect, WireKeys, withoutServices } from "./decoder.ts"
import { oneLine } from "./text.ts"

/** The annotation of a part that becomes this value if it does not decode. */
export const Fallback = "~@stacksapi/core/Fallback"

/**
 * The annotation of an array or a record whose items are decoded one by one. Its value is the key under which skipped items are added
 * to the decoded body; empty to drop them.
 */
export const OneByOne = "~@stacksapi/core/OneByOne"

/** An item that could not be decoded. */
interface SkippedItem {
  readonly id?: string
  readonly issue: string
}

interface Skipped {
  readonly lists: Record<string, Array<SkippedItem>>
  /** Removes secrets from the issues. */
  readonly redact: (text: string) => string
}

type LenientDecode = (json: unknown, redact: (text: string) => string) => ReturnType<Decode>

type Repair = (wire: unknown, skipped: Skipped) => unknown

/** A decoder that repairs a body that its schema refuses. */
export const makeLenientDecoder = (schema: Schema.Top): LenientDecode => {
  const bySchema = Schema.decodeUnknownResult(withoutServices(schema))
  const direct = makeDirect(schema)
  const attempt = (json: unknown): unknown =>
    direct === undefined ? Result.getOrElse(bySchema(json), () => giveUp) : direct(json)
  let repair: Repair | undefined
  return (json, redact) => {
    const value = attempt(json)
    if (value !== giveUp) return Result.succeed(value)
    if (!Predicate.isObject(json)) return bySchema(json)
    repair ??= makeRepair(schema.ast, true)
    const skipped: Skipped = { lists: {}, redact }
    const repaired = repair(json, skipped)
    const again = attempt(repaired)
    return Result.map(again === giveUp ? bySchema(repaired) : Result.succeed(again), (value) =>
      Object.assign(Object(value), skipped.lists)
    )
  }
}

const isStruct = (ast: SchemaAST.AST): boolean => ast._tag === "Objects" && ast.propertySignatures.length > 0

const hasFallback = ({ annotations }: SchemaAST.AST): boolean => annotations !== undefined && Fallback in annotations

const makeRepair = (ast: SchemaAST.AST, isRoot = false): Repair => {
  const annotations = ast.annotations ?? {}
  if (hasFallback(ast)) {
    const decode = Schema.decodeUnknownResult(withoutServices(Schema.make(ast)))
    return (wire) => (Result.isSuccess(decode(wire)) ? wire : annotations[Fallback])
  }
  switch (ast._tag) {
    case "Number":
      return (wire) => wire ?? 0
    case "Union": {
      const [type, other] = ast.types
      if (type === undefined || other?._tag !== "Null") return (wire) => wire
      const repair = makeRepair(type)
      return (wire, skipped) => (wire === null || wire === undefined ? null : repair(wire, skipped))
    }
    case "Arrays": {
      const [item] = ast.rest
      if (item === undefined) return (wire) => wire
      const repair = makeRepair(item)
      const keep = keeping(item, annotations[OneByOne])
      return (wire, skipped) => {
        if (wire !== null && wire !== undefined && !Array.isArray(wire)) return wire
        const items: ReadonlyArray<unknown> = wire ?? []
        return items.map((one) => (one === null ? one : repair(one, skipped))).filter((one) => keep(one, skipped))
      }
    }
    case "Objects":
      return makeObjectRepair(ast, annotations, isRoot)
    default:
      return (wire) => wire
  }
}

const makeObjectRepair = (
  { indexSignatures: [signature], propertySignatures }: SchemaAST.Objects,
  annotations: Readonly<Record<string, unknown>>,
  isRoot: boolean
): Repair => {
  const keep = signature === undefined ? undefined : keeping(signature.type, annotations[OneByOne])
  const keys = (annotations[WireKeys] ?? {}) as Readonly<Record<string, string>>
  const parts = propertySignatures.map(({ name, type }) => ({
    key: keys[String(name)] ?? String(name),
    repair: makeRepair(type),
    // The body must have its keys, except for objects: `{}` is not an empty page.
    isOptional: type.context?.isOptional === true || (isRoot && !isStruct(type) && !hasFallback(type))
  }))
  return (wire, skipped) => {
    if (wire !== null && wire !== undefined && !Predicate.isObject(wire)) return wire
    const entries = Object.entries(wire ?? {})
    const repaired: Record<string, unknown> = Object.fromEntries(
      keep === undefined ? entries : entries.filter(([, value]) => keep(value, skipped))
    )
    for (const { isOptional, key, repair } of parts) {
      if (!isOptional || Object.hasOwn(repaired, key)) repaired[key] = repair(repaired[key], skipped)
    }
    return repaired
  }
}

/** Decides which items of a list to keep. */
const keeping = (item: SchemaAST.AST, skippedKey: unknown): ((one: unknown, skipped: Skipped) => boolean) => {
  if (!Predicate.isString(skippedKey)) return () => true
  let decode: Decode | undefined
  return (one, skipped) => {
    decode ??= makeDecoder(Schema.make(item))
    const result = decode(one)
    if (Result.isFailure(result) && skippedKey !== "") {
      const show = (text: string) => oneLine(skipped.redact(text))
      const id = Predicate.hasProperty(one, "id") && Predicate.isString(one.id) ? { id: show(one.id) } : {}
      skipped.lists[skippedKey] ??= []
      skipped.lists[skippedKey].push({ ...id, issue: show(result.failure.message) })
    }
    return Result.isSuccess(result)
  }
}
