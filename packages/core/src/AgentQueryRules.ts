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
 * Whether every rule is met by the tags.
 *
 * **Details**
 *
 * - A rule `key=value` is met by a tag with that key and that value, exactly as they are written, upper and lower case
 *   included. Blanks around a key or a value don't count; what follows the first `=` is the value.
 * - A rule `key=*` is met by any value of that key, but not without a tag of that key. In a tag, `*` is a value like others.
 * - A key may have several values among the tags: one of them has to be the rule's. Two rules about one key have to be met
 *   both.
 * - A text without `=` is short for `key=true`, in a rule as in a tag. An empty rule asks for nothing.
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
  for (const [key, value] of isTexts(tags) ? tags.map(parse) : Object.entries(tags).map(trimmed)) {
    const values = valuesByKey.get(key)
    if (values === undefined) valuesByKey.set(key, new Set([value]))
    else values.add(value)
  }
  const isMet = (rule: string): boolean => {
    const [key, value] = parse(rule)
    if (key === "" && value === "") return true
    const values = valuesByKey.get(key)
    if (values === undefined) return key === "queue"
    return value === "*" || values.has(value)
  }
  return (rules) => rules.every(isMet)
}

const isTexts = (tags: Tags): tags is ReadonlyArray<string> => Array.isArray(tags)

const trimmed = ([key, value]: readonly [key: string, value: string]) => [key.trim(), value.trim()] as const

const parse = (text: string): readonly [key: string, value: string] => {
  const separator = text.indexOf("=")
  if (separator >= 0) return trimmed([text.slice(0, separator), text.slice(separator + 1)])
  const key = text.trim()
  return [key, key === "" ? "" : "true"]
}
