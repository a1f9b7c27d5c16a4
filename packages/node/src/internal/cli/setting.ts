/** The settings of flags in a configuration file, and the JSON Schema of such a file. */

/** The JSON Schema of a value; the kinds that flags have. */
export interface ValueSchema {
  readonly type: "string" | "integer" | "number" | "boolean" | "array" | "object"
  readonly enum?: ReadonlyArray<string>
  readonly minimum?: number
  readonly maximum?: number
}

/** A flag that a configuration file can set. */
export interface Setting {
  /** The flag's name, without dashes. */
  readonly name: string
  /** The variable in whose place the setting is read. */
  readonly variable: string
  readonly description: string
  readonly schema: ValueSchema
  /** What numbers count. */
  readonly unit?: "seconds" | undefined
  /** Why a value of the schema is not valid; undefined if it is. */
  readonly problem?: ((value: unknown) => string | undefined) | undefined
  readonly otherwise: string | undefined
}

const isText = (value: unknown): boolean => typeof value === "string" && value !== ""

/** Texts may be written without quotes, and then YAML reads some of them as numbers. */
const isScalar = (value: unknown): boolean => isText(value) || typeof value === "number" || typeof value === "boolean"

/** Why a value is not one of a setting; undefined if it is. */
export const valueProblem = (value: unknown, { problem, schema, unit }: Setting): string | undefined =>
  kindProblem(value, schema, unit) ?? problem?.(ofSchema(value, schema))

/** A value as its flag has it. */
const ofSchema = (value: unknown, schema: ValueSchema): unknown =>
  schema.type === "string" ? String(value) : schema.type === "array" ? [value].flat().map(String) : value

const kindProblem = (value: unknown, schema: ValueSchema, unit: Setting["unit"]): string | undefined => {
  const { maximum, minimum } = schema
  switch (schema.type) {
    case "string":
      if (schema.enum !== undefined) {
        return typeof value === "string" && schema.enum.includes(value)
          ? undefined
          : `Expected ${schema.enum.join(", ").replace(/, ([^,]*)$/, " or $1")}`
      }
      return isText(value) || typeof value === "number" ? undefined : "Expected a text"
    case "integer":
    case "number": {
      const isNumber = schema.type === "integer" ? Number.isInteger(value) : Number.isFinite(value)
      const number = Number(value)
      const isInRange = (minimum === undefined || number >= minimum) && (maximum === undefined || number <= maximum)
      const kind = `a ${schema.type === "integer" ? "whole number" : "number"}${unit === undefined ? "" : ` of ${unit}`}`
      return isNumber && isInRange
        ? undefined
        : minimum === undefined
          ? `Expected ${kind}`
          : `Expected ${kind} from ${minimum} to ${maximum}`
    }
    case "boolean":
      return typeof value === "boolean" ? undefined : "Expected true or false"
    case "array":
      return [value].flat().length > 0 && [value].flat().every(isScalar)
        ? undefined
        : "Expected a text, or a list of texts"
    case "object":
      return typeof value === "object" &&
        value !== null &&
        !Array.isArray(value) &&
        Object.values(value).every(isScalar)
        ? undefined
        : "Expected names and their values, such as os: linux"
  }
}

/** The JSON Schema of a configuration file, for editors. */
export const jsonSchema = (settings: ReadonlyArray<Setting>) => ({
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "stacksapi.yaml",
  description: "The settings of `stacksapi run`, by the names of its flags. Flags and variables take precedence.",
  type: "object",
  additionalProperties: false,
  properties: Object.fromEntries(
    settings.map(({ description, name, otherwise, schema }) => [
      name,
      {
        description: otherwise === undefined ? description : `${description}. Default: ${otherwise}`,
        ...(schema.type === "array"
          ? { anyOf: [scalar, { type: "array", items: scalar, minItems: 1 }] }
          : schema.type === "object"
            ? { type: "object", additionalProperties: scalar }
            : schema)
      }
    ])
  )
})

const scalar = { type: ["string", "number", "boolean"] }
