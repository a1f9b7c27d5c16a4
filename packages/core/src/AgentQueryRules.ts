/**
 * Whether a stack's agents may run a job: the job's agent query rules against the stack's tags.
 *
 * **Example** (Leaving out what another stack has to run)
 *
 * ```ts
 * import * as AgentQueryRules from "@stacksapi/core/AgentQueryRules"
 *
 * const tags = ["os=linux", "arch=arm64", "arch=amd64"]
 *
 * AgentQueryRules.matches(["queue=default", "os=linux", "arch=*"], tags) // true
 * AgentQueryRules.matches(["os=linux", "gpu=*"], tags) // false: there is no tag "gpu"
 * ```
 *
 * @since 0.1.0
 */

/**
 * A stack's tags: texts `key=value`, or an object of keys and values. Only texts can give one key several values.
 *
 * @since 0.1.0
 * @category models
 */
export type Tags = ReadonlyArray<string> | Readonly<Record<string, string>>

/**
 * A rule: which value the tag of a key has to have.
 *
 * @since 0.2.0
 * @category models
 */
export interface Rule {
  readonly key: string
  /** Undefined where any value will do. */
  readonly value: string | undefined
}

/**
 * Reads one rule.
 *
 * **Details**
 *
 * What stands before the first `=` is the key, what follows it the value, both without blanks around them. `key=*`, `key=` and a
 * bare `key` ask for any value. An empty text asks for nothing: its key is empty.
 *
 * **Example** (Reading the rules of a job)
 *
 * ```ts
 * import * as AgentQueryRules from "@stacksapi/core/AgentQueryRules"
 *
 * AgentQueryRules.parse("os=linux") // { key: "os", value: "linux" }
 * AgentQueryRules.parse("postgres=") // { key: "postgres", value: undefined }
 * ```
 *
 * @since 0.2.0
 * @category parsing
 */
export const parse = (rule: string): Rule => {
  const [key, value] = split(rule)
  return { key, value: value === "" || value === "*" ? undefined : value }
}

/**
 * Whether every rule is met by the tags.
 *
 * **Details**
 *
 * - A rule `key=value` is met by a tag with that key and that value, exactly as they are written, upper and lower case
 *   included. Blanks around a key or a value don't count; what follows the first `=` is the value.
 * - The rules `key=*`, `key=` and `key` are met by any value of that key, also by an empty one, but not without a tag of that
 *   key. In a tag, `*` is a value like others.
 * - A key may have several values among the tags: one of them has to be the rule's. Two rules about one key have to be met
 *   both.
 * - A tag without `=` is short for `key=true`. An empty rule asks for nothing.
 * - Rules about `queue` are met, because a job was listed from the stack's queue; unless there is a `queue` among the tags:
 *   then they are compared like any other.
 *
 * For many jobs and the same tags, {@link matcher} reads the tags only once.
 *
 * @since 0.1.0
 * @category matching
 */
export const matches = (rules: ReadonlyArray<string>, tags: Tags): boolean => matcher(tags)(rules)

/**
 * Reads the tags, and gives the test whether a job's rules are met by them. See {@link matches}.
 *
 * @since 0.1.0
 * @category matching
 */
export const matcher = (tags: Tags): ((rules: ReadonlyArray<string>) => boolean) => {
  const valuesByKey = new Map<string, Set<string>>()
  for (const [key, value] of isTexts(tags) ? tags.map(parseTag) : Object.entries(tags).map(trimmed)) {
    const values = valuesByKey.get(key)
    if (values === undefined) valuesByKey.set(key, new Set([value]))
    else values.add(value)
  }
  const isMet = (rule: string): boolean => {
    const { key, value } = parse(rule)
    if (key === "" && value === undefined) return true
    const values = valuesByKey.get(key)
    if (values === undefined) return key === "queue"
    return value === undefined || values.has(value)
  }
  return (rules) => rules.every(isMet)
}

const isTexts = (tags: Tags): tags is ReadonlyArray<string> => Array.isArray(tags)

const trimmed = ([key, value]: readonly [key: string, value: string]) => [key.trim(), value.trim()] as const

/** Key and value; the value is empty where there is no `=`. */
const split = (text: string): readonly [key: string, value: string] => {
  const separator = text.indexOf("=")
  return separator < 0 ? [text.trim(), ""] : trimmed([text.slice(0, separator), text.slice(separator + 1)])
}

const parseTag = (tag: string): readonly [key: string, value: string] =>
  tag.includes("=") || tag.trim() === "" ? split(tag) : [tag.trim(), "true"]
