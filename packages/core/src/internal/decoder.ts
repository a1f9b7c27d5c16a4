import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaJITCompiler from "effect/schema/SchemaJITCompiler"

/** The declaration's schemas need no services; reflection only forgets it. */
export const withoutServices = (schema: Schema.Top): Schema.Codec<unknown, unknown> =>
  schema as unknown as Schema.Codec<unknown, unknown>

export const makeDecoder = (schema: Schema.Top): ((json: unknown) => Result.Result<unknown, Schema.SchemaError>) => {
  SchemaJITCompiler.enable(schema.ast)
  return Schema.decodeUnknownResult(withoutServices(schema))
}
