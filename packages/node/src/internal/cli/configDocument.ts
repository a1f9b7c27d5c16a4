/** The YAML of a configuration file. It is loaded only if there is a file. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Yaml from "yaml"
import { Misused } from "./failure.ts"
import { type Setting, type ValueSchema, valueProblem } from "./setting.ts"

/** Checks a file, and returns its settings by the variables of their flags. */
export const read = Effect.fnUntraced(function* (file: string, text: string, settings: ReadonlyArray<Setting>) {
  const lines = new Yaml.LineCounter()
  const document = Yaml.parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const problem = (offset: number, message: string) => {
    const { col, line } = lines.linePos(offset)
    return new Misused({ message: `${file}:${Math.max(line, 1)}:${Math.max(col, 1)}: ${message}` })
  }
  const [syntax] = document.errors
  if (syntax !== undefined) return yield* problem(syntax.pos[0], syntax.message)
  if (document.contents === null) return {}
  if (!Yaml.isMap(document.contents)) return yield* problem(0, "Expected settings, such as max-in-flight: 8")
  const values: Record<string, unknown> = {}
  for (const { key, value } of document.contents.items) {
    const offset = (node: unknown): number => (Yaml.isNode(node) ? (node.range?.[0] ?? 0) : 0)
    const name = String(Yaml.isScalar(key) ? key.value : key)
    const setting = settings.find((setting) => setting.name === name)
    if (setting === undefined) return yield* problem(offset(key), unknownSetting(name, settings))
    const plain: unknown = Yaml.isNode(value) ? value.toJS(document) : value
    const wrong = valueProblem(plain, setting)
    if (wrong !== undefined) return yield* problem(offset(value), `${name}: ${wrong}`)
    values[setting.variable] = toTexts(plain, setting.schema)
  }
  return values
})

const unknownSetting = (name: string, settings: ReadonlyArray<Setting>): string => {
  if (/token/.test(name)) {
    return `There is no setting ${name}. The token is in a file of its own: set token-file to it`
  }
  const plain = (text: string) => text.toLowerCase().replaceAll(/[^a-z]/g, "")
  const meant = settings.find((setting) => plain(setting.name) === plain(name))
  return `There is no setting ${name}${meant === undefined ? `. The settings are ${settings.map(({ name }) => name).join(", ")}` : `: write ${meant.name}`}`
}

/** As the provider reads them: texts, lists of texts, and objects of texts. */
const toTexts = (value: unknown, schema: ValueSchema): unknown => {
  if (schema.type === "array") return [value].flat().map(String)
  if (Predicate.isObject(value))
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, String(part)]))
  return String(value)
}
