/**
 * Matches the agent query rules of a job with the tags of a stack's agents.
 *
 * **Example** (Checking whether a job is for this stack)
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
 * A stack's tags: texts like `key=value`, or an object of keys and values. Only texts allow several values for a key.
 *
 * @since 0.1.0
 * @category models
 */
export type Tags = ReadonlyArray<string> | Readonly<Record<string, string>>

/**
 * A rule: the value that a tag must have.
 *
 * @since 0.2.0
 * @category models
 */
export interface Rule {
  readonly key: string
  /** Undefined for any value. */
  readonly value: string | undefined
}

/**
 * Parses a rule.
 *
 * **Details**
 *
 * The key is the text before the first `=`, the value is the text after it, both trimmed. `key=*`, `key=` and `key` match any value.
 * An empty rule has an empty key.
 *
 * **Example** (Parsing rules)
 *
 * ```ts
 * import * as AgentQueryRules from "@stacksapi/core/AgentQueryRules"
 *
 * AgentQueryRules.parse("os=linux") // { key: "os", value: "linux" }
 * AgentQueryRules.parse("postgres=") // { key: "postgres", value: undefined }
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const parse = (rule: string): Rule => {
  const [key, value] = split(rule)
  return { key, value: value === "" || value === "*" ? undefined : value }
}

/**
 * Whether the tags match all rules.
 *
 * **Details**
 *
 * - A rule `key=value` matches a tag with the same key and value. Case matters. Keys and values are trimmed.
 * - The rules `key=*`, `key=` and `key` match a tag with that key and any value, even an empty one. In a tag, `*` is an ordinary
 *   value.
 * - If a key has several values in the tags, one of them must match. If a key has several rules, all must match.
 * - A tag `key` is short for `key=true`. An empty rule always matches.
 * - A rule for `queue` matches if the tags have no `queue`, because the job is from the stack's queue.
 *
 * @see {@link matcher} for many jobs with the same tags
 * @since 0.1.0
 * @category predicates
 */
export const matches = (rules: ReadonlyArray<string>, tags: Tags): boolean => matcher(tags)(rules)

/**
 * Parses tags once, and returns a predicate that matches rules with them.
 *
 * @see {@link matches} for the rules of matching
 *
 * @since 0.1.0
 * @category predicates
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

/** Key and value. The value is empty without `=`. */
const split = (text: string): readonly [key: string, value: string] => {
  const separator = text.indexOf("=")
  return separator < 0 ? [text.trim(), ""] : trimmed([text.slice(0, separator), text.slice(separator + 1)])
}

const parseTag = (tag: string): readonly [key: string, value: string] =>
  tag.includes("=") || tag.trim() === "" ? split(tag) : [tag.trim(), "true"]
