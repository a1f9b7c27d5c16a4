/**
 * Decodes the bodies of responses.
 *
 * A schema decodes a page of 1000 jobs at several times the cost of `JSON.parse`, because every renamed key and every time is a
 * transformation. So each schema has a *direct* decoder too: code that is generated from the schema. It decodes a body that is
 * exactly as declared, and gives up on anything else. Then the schema decodes the body: it decides what is valid, and makes the
 * error.
 *
 * Annotations of a schema say how to decode it directly ({@link WireKeys}, {@link Direct}). A part without them is decoded by the
 * schema. If code can't be generated, because of a content security policy, the schema decodes everything.
 *
 * `lenience.ts` repairs a body that is not as declared, because one bad job must not make its page unreadable.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"

/** The annotation of a struct whose keys have other names on the wire: maps keys to wire keys. */
export const WireKeys = "~@stacksapi/core/WireKeys"

/** The annotation of a transformation: the same as a function of the wire value, which may return {@link giveUp}. */
export const Direct = "~@stacksapi/core/Direct"

/** The result of a direct decoder for a value that the schema must decode. */
export const giveUp: unique symbol = Symbol("giveUp")

type DirectDecode = (input: unknown) => unknown

/** The declaration's schemas need no services, but `Schema.Top` does not say so. */
export const withoutServices = (schema: Schema.Top): Schema.Codec<unknown, unknown> =>
  schema as unknown as Schema.Codec<unknown, unknown>

export type Decode = (json: unknown) => Result.Result<unknown, Schema.SchemaError>

/** A decoder of JSON values for a schema. */
export const makeDecoder = (schema: Schema.Top): Decode => {
  const decode = Schema.decodeUnknownResult(withoutServices(schema))
  const direct = makeDirect(schema)
  if (direct === undefined) return decode
  return (json) => {
    const value = direct(json)
    return value === giveUp ? decode(json) : Result.succeed(value)
  }
}

/** The direct decoder of a schema; undefined if code can't be generated. */
export const makeDirect = (schema: Schema.Top): DirectDecode | undefined => {
  const parts: Array<DirectDecode> = []
  const functions: Array<string> = []
  const root = generate(schema.ast, { functions, parts })
  const source = `"use strict";
const giveUp = () => { throw G };
${functions.join("\n")}
return (i) => { try { return ${root("i")} } catch (e) { if (e === G) return G; throw e } }`
  return Result.getOrUndefined(Result.try(() => new Function("G", "P", source)(giveUp, parts) as DirectDecode))
}

// -----------------------------------------------------------------------------
// Code generation
// -----------------------------------------------------------------------------

/**
 * The functions that the generated code is made of, and the decoders that it calls. A parsed array or record is the result if none of
 * its values changes, and is copied otherwise.
 */
interface Program {
  readonly functions: Array<string>
  readonly parts: Array<DirectDecode>
}

/** An expression that decodes the value of an expression, or throws. */
type Emit = (input: string) => string

const generate = (ast: SchemaAST.AST, program: Program): Emit => {
  const direct = ast.annotations?.[Direct]
  if (typeof direct === "function") return callPart(program, direct as DirectDecode)
  const keys = ast.annotations?.[WireKeys] as Readonly<Record<string, string>> | undefined
  if (ast.encoding !== undefined && keys === undefined) return callSchema(program, ast)
  switch (ast._tag) {
    case "String":
      return ast.checks === undefined ? guarded((i) => `typeof ${i} === "string"`) : callSchema(program, ast)
    case "Boolean":
      return guarded((i) => `typeof ${i} === "boolean"`)
    case "Number":
      return isOnlyInt(ast) ? guarded((i) => `Number.isSafeInteger(${i})`) : callSchema(program, ast)
    case "Null":
      return guarded((i) => `${i} === null`)
    case "Union":
      return generateNullable(ast, program) ?? callSchema(program, ast)
    case "Arrays":
      return generateArray(ast, program) ?? callSchema(program, ast)
    case "Objects":
      return generateStruct(ast, keys ?? {}, program) ?? generateRecord(ast, program) ?? callSchema(program, ast)
    default:
      return callSchema(program, ast)
  }
}

const guarded =
  (test: Emit): Emit =>
  (input) =>
    `(${test(input)} ? ${input} : giveUp())`

const addFunction = (program: Program, body: string): Emit => {
  const name = `f${program.functions.length}`
  program.functions.push(`const ${name} = (i) => {${body}};`)
  return (input) => `${name}(${input})`
}

const callPart = (program: Program, decode: DirectDecode): Emit => {
  const index = program.parts.push(decode) - 1
  return addFunction(program, `const v = P[${index}](i); return v === G ? giveUp() : v`)
}

/** Leaves a part to its schema. */
const callSchema = (program: Program, ast: SchemaAST.AST): Emit => {
  const decode = Schema.decodeUnknownResult(withoutServices(Schema.make(ast)))
  return callPart(program, (input) => {
    const result = decode(input)
    return Result.isSuccess(result) ? result.success : giveUp
  })
}

const isInt = Schema.Int.ast.checks?.[0]

const isOnlyInt = (ast: SchemaAST.AST): boolean => ast.checks?.length === 1 && ast.checks[0] === isInt

/** `X | null`, and the `X | undefined` of an optional key, whose absence the struct deals with. */
const generateNullable = (ast: SchemaAST.Union, program: Program): Emit | undefined => {
  const [type, other, ...more] = ast.types
  if (type === undefined || more.length > 0 || ast.checks !== undefined) return undefined
  if (other?._tag === "Null") {
    const emit = generate(type, program)
    return (input) => `(${input} === null ? null : ${emit(input)})`
  }
  return other?._tag === "Undefined" ? generate(type, program) : undefined
}

const generateArray = (ast: SchemaAST.Arrays, program: Program): Emit | undefined => {
  const [rest, ...more] = ast.rest
  if (rest === undefined || more.length > 0 || ast.elements.length > 0 || ast.checks !== undefined) return undefined
  const item = generate(rest, program)
  return addFunction(
    program,
    `if (!Array.isArray(i)) giveUp();
let o = i;
for (let k = 0; k < i.length; k++) { const v = i[k], w = ${item("v")}; if (v !== w) { if (o === i) o = i.slice(); o[k] = w } }
return o`
  )
}

const objectGuard = `if (typeof i !== "object" || i === null || Array.isArray(i)) giveUp();`

const generateStruct = (
  ast: SchemaAST.Objects,
  wireKeys: Readonly<Record<string, string>>,
  program: Program
): Emit | undefined => {
  if (ast.indexSignatures.length > 0 || ast.propertySignatures.length === 0 || ast.checks !== undefined)
    return undefined
  const required: Array<string> = []
  const optional: Array<string> = []
  const reads: Array<string> = []
  for (const [index, { name, type }] of ast.propertySignatures.entries()) {
    if (typeof name !== "string" || name === "__proto__") return undefined
    const emit = generate(type, program)
    const value = `v${index}`
    reads.push(`const ${value} = i[${JSON.stringify(wireKeys[name] ?? name)}];`)
    if (type.context?.isOptional === true) {
      optional.push(`if (${value} !== undefined) o[${JSON.stringify(name)}] = ${emit(value)};`)
    } else {
      required.push(`${JSON.stringify(name)}: ${emit(value)}`)
    }
  }
  return addFunction(
    program,
    `${objectGuard}
${reads.join("\n")}
const o = { ${required.join(", ")} };
${optional.join("\n")}
return o`
  )
}

const generateRecord = (ast: SchemaAST.Objects, program: Program): Emit | undefined => {
  const [signature, ...more] = ast.indexSignatures
  if (signature === undefined || more.length > 0 || ast.propertySignatures.length > 0 || ast.checks !== undefined) {
    return undefined
  }
  if (signature.parameter._tag !== "String" || signature.parameter.checks !== undefined) return undefined
  const value = generate(signature.type, program)
  return addFunction(
    program,
    `${objectGuard}
let o = i;
for (const k in i) { if (k === "__proto__") giveUp(); const v = i[k]; const w = ${value("v")}; if (v !== w) { if (o === i) o = { ...i }; o[k] = w } }
return o`
  )
}
