/**
 * Reads bodies that are almost as declared, as Go's decoder in the reference client does: a null, or what is missing within an
 * object, is the zero value of its type. Parts that stand for themselves, the jobs of a page for example, are decoded one by one,
 * and what does not decode is left out. The body itself has to be as declared: an object with the declared keys.
 *
 * `Schema.toCodecGoJson` takes a null for an empty list only, and has no answer to one bad item among many. Here the schemas stay
 * what the service promises; only bodies that they refuse come by this way.
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import { type Decode, giveUp, makeDecoder, makeDirect, WireKeys, withoutServices } from "./decoder.ts"
import { oneLine } from "./text.ts"

/** The annotation of a part that is read as this value where it does not decode. */
export const Otherwise = "~@stacksapi/core/Otherwise"

/**
 * The annotation of an array or a record whose items are decoded one by one. Its value is the key under which the items that don't
 * decode are told beside the decoded body, or empty where they are not.
 */
export const OneByOne = "~@stacksapi/core/OneByOne"

/** An item that did not decode. */
interface LeftOut {
  readonly id?: string
  readonly issue: string
}

interface Told {
  readonly lists: Record<string, Array<LeftOut>>
  /** Takes secrets out of what is told. */
  readonly redact: (text: string) => string
}

type LenientDecode = (json: unknown, redact: (text: string) => string) => ReturnType<Decode>

type Repair = (wire: unknown, told: Told) => unknown

/** A decoder that repairs what its schema does not take. */
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
    const told: Told = { lists: {}, redact }
    const repaired = repair(json, told)
    const again = attempt(repaired)
    return Result.map(again === giveUp ? bySchema(repaired) : Result.succeed(again), (value) =>
      Object.assign(Object(value), told.lists)
    )
  }
}

const isStruct = (ast: SchemaAST.AST): boolean => ast._tag === "Objects" && ast.propertySignatures.length > 0

const hasOtherwise = ({ annotations }: SchemaAST.AST): boolean => annotations !== undefined && Otherwise in annotations

const makeRepair = (ast: SchemaAST.AST, isRoot = false): Repair => {
  const annotations = ast.annotations ?? {}
  if (hasOtherwise(ast)) {
    const decode = Schema.decodeUnknownResult(withoutServices(Schema.make(ast)))
    return (wire) => (Result.isSuccess(decode(wire)) ? wire : annotations[Otherwise])
  }
  switch (ast._tag) {
    case "Number":
      return (wire) => wire ?? 0
    case "Union": {
      const [type, other] = ast.types
      if (type === undefined || other?._tag !== "Null") return (wire) => wire
      const repair = makeRepair(type)
      return (wire, told) => (wire === null || wire === undefined ? null : repair(wire, told))
    }
    case "Arrays": {
      const [item] = ast.rest
      if (item === undefined) return (wire) => wire
      const repair = makeRepair(item)
      const keep = keeping(item, annotations[OneByOne])
      return (wire, told) => {
        if (wire !== null && wire !== undefined && !Array.isArray(wire)) return wire
        const items: ReadonlyArray<unknown> = wire ?? []
        return items.map((one) => (one === null ? one : repair(one, told))).filter((one) => keep(one, told))
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
    // Of the body itself nothing may be missing but what has parts of its own: `{}` is no empty page.
    isOptional: type.context?.isOptional === true || (isRoot && !isStruct(type) && !hasOtherwise(type))
  }))
  return (wire, told) => {
    if (wire !== null && wire !== undefined && !Predicate.isObject(wire)) return wire
    const entries = Object.entries(wire ?? {})
    const repaired: Record<string, unknown> = Object.fromEntries(
      keep === undefined ? entries : entries.filter(([, value]) => keep(value, told))
    )
    for (const { isOptional, key, repair } of parts) {
      if (!isOptional || Object.hasOwn(repaired, key)) repaired[key] = repair(repaired[key], told)
    }
    return repaired
  }
}

/** Which items of a list that is decoded one by one stay in it. */
const keeping = (item: SchemaAST.AST, tellAs: unknown): ((one: unknown, told: Told) => boolean) => {
  if (!Predicate.isString(tellAs)) return () => true
  let decode: Decode | undefined
  return (one, told) => {
    decode ??= makeDecoder(Schema.make(item))
    const result = decode(one)
    if (Result.isFailure(result) && tellAs !== "") {
      const show = (text: string) => oneLine(told.redact(text))
      const id = Predicate.hasProperty(one, "id") && Predicate.isString(one.id) ? { id: show(one.id) } : {}
      told.lists[tellAs] ??= []
      told.lists[tellAs].push({ ...id, issue: show(result.failure.message) })
    }
    return Result.isSuccess(result)
  }
}
