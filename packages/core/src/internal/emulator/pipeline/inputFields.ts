/** Reads the fields of block and input steps: what a person fills in. */
import * as Result from "effect/Result"
import { noteFieldKey } from "./limits.ts"
import { type Fields, first, optional, type Part, type Read, readText, readTexts } from "./part.ts"
import type { Remarks } from "./remarks.ts"

/** A field that a person fills in. Its value becomes meta-data of the build. */
export interface InputField {
  /** The key of the meta-data. */
  readonly key: string
  readonly label: string
  /** What explains the field to the person. */
  readonly hint: string | undefined
  readonly isRequired: boolean
  /** Values that are options, or a text that has the format. */
  readonly defaultValue: string | undefined
  /** The values to choose from; undefined for a text. */
  readonly options: ReadonlyArray<string> | undefined
  /** Whether several options may be chosen. They are lines of the value. */
  readonly isMultiple: boolean
  /** A regular expression that the whole text has to match, as the attribute `pattern` of HTML; undefined for any text. */
  readonly format: string | undefined
}

export const readInputFields = (part: Part | undefined, remarks: Remarks): Read<ReadonlyArray<InputField>> =>
  Result.all((part?.some() ?? []).map((item) => readInputField(item, remarks)))

const readInputField = (item: Part, remarks: Remarks): Read<InputField> =>
  Result.gen(function* () {
    const fields = yield* item.fields()
    const keyPart = first(fields, "key")
    const key = yield* optional(keyPart, readText)
    if (keyPart === undefined || key === undefined) return yield* item.fail("A field has a `key`.")
    noteFieldKey(keyPart, key, remarks)
    const isSelect = fields.has("select") || fields.has("options")
    remarks.addIgnored(fields, isSelect ? selectFields : textFields)
    const options = isSelect ? yield* readOptions(item, fields, remarks) : undefined
    const field = {
      key,
      label: (yield* optional(first(fields, "text", "select", "label"), readText)) ?? key,
      hint: yield* optional(first(fields, "hint"), readText),
      isRequired: fields.get("required")?.boolean !== false,
      options,
      isMultiple: options !== undefined && fields.get("multiple")?.boolean === true,
      format: options === undefined ? yield* readFormat(first(fields, "format"), remarks) : undefined
    }
    return { ...field, defaultValue: yield* readDefault(first(fields, "default"), field, remarks) }
  })

const commonFields = ["key", "label", "hint", "required", "default", "text", "select"]
const textFields: ReadonlySet<string> = new Set([...commonFields, "format"])
const selectFields: ReadonlySet<string> = new Set([...commonFields, "options", "multiple"])

/** The values of a select. Undefined for one without options: then there is nothing to choose from. */
const readOptions = (item: Part, fields: Fields, remarks: Remarks): Read<ReadonlyArray<string> | undefined> =>
  Result.gen(function* () {
    const options: Array<string> = []
    for (const option of fields.get("options")?.some() ?? []) {
      const value = option.isMap ? first(yield* option.fields(), "value", "label") : option
      if (value !== undefined) options.push(yield* value.text())
    }
    if (options.length > 0) return options
    remarks.add(item, "Buildkite requires `options` in a select; here the field takes any text")
    return undefined
  })

// -----------------------------------------------------------------------------
// Values
// -----------------------------------------------------------------------------

type Rules = Pick<InputField, "options" | "isMultiple" | "format">

/** What is wrong with a value, as the end of a sentence about the field; undefined if nothing is. */
export const problemOf = (value: string, { format, isMultiple, options }: Rules): string | undefined => {
  if (options !== undefined) {
    const wrong = (isMultiple ? value.split("\n") : [value]).find((one) => !options.includes(one))
    return wrong === undefined ? undefined : `has no option ${JSON.stringify(wrong)}: it has ${options.join(", ")}`
  }
  if (format === undefined) return undefined
  if (value.length > maxCheckedLength) return `takes at most ${maxCheckedLength} characters, as it has a \`format\``
  return compile(format)?.test(value) === false ? `needs a text that matches ${format}` : undefined
}

/** Long texts could take a regular expression very long. */
const maxCheckedLength = 1000

/** HTML's attribute `pattern` has the flag `v`. Older browsers had `u`, which takes more. */
const compile = (format: string): RegExp | undefined => {
  for (const flags of ["v", "u"]) {
    const compiled = Result.try(() => {
      // The whole expression has to be valid by itself.
      void new RegExp(format, flags)
      return new RegExp(`^(?:${format})$`, flags)
    })
    if (Result.isSuccess(compiled)) return compiled.success
  }
  return undefined
}

const readFormat = (part: Part | undefined, remarks: Remarks): Read<string | undefined> =>
  Result.map(optional(part, readText), (format) => {
    if (part === undefined || format === undefined || compile(format) !== undefined) return format
    remarks.add(part, `\`format\` is ignored: ${format} is not a regular expression that browsers know`)
    return undefined
  })

/** A default that can't be chosen is left out: the person has to give a value. */
const readDefault = (
  part: Part | undefined,
  field: Rules & Pick<InputField, "key">,
  remarks: Remarks
): Read<string | undefined> =>
  Result.map(readTexts(part), (values) => {
    if (part === undefined || values.length === 0) return undefined
    const candidates = field.isMultiple ? values : [values.join("\n")]
    const valid = candidates.filter((value) => {
      const problem = value === "" ? undefined : problemOf(value, field)
      if (problem !== undefined) {
        remarks.add(part, `the default ${JSON.stringify(value)} is left out: the field ${field.key} ${problem}`)
      }
      return problem === undefined
    })
    return valid.length === 0 ? undefined : valid.join("\n")
  })
