/** Writes trees as YAML, in random styles. */
import type { SeededRandom } from "./random.ts"

export type Node =
  | { readonly kind: "scalar"; readonly text: string }
  | { readonly kind: "list"; readonly items: ReadonlyArray<Node>; readonly anchor?: string }
  | {
      readonly kind: "map"
      readonly pairs: ReadonlyArray<readonly [key: string, value: Node]>
      readonly anchor?: string
    }

export const scalar = (text: string): Node => ({ kind: "scalar", text })
export const list = (items: ReadonlyArray<Node>): Node => ({ kind: "list", items })
export const map = (pairs: ReadonlyArray<readonly [key: string, value: Node]>): Node => ({ kind: "map", pairs })

export class YamlWriter {
  readonly #random: SeededRandom

  constructor(random: SeededRandom) {
    this.#random = random
  }

  block(node: Node, indent: number): string {
    const pad = " ".repeat(indent)
    if (node.kind === "list") return node.items.map((item) => this.#item(`${pad}-`, item, indent)).join("")
    if (node.kind === "scalar") return `${pad}${inBlock(node.text, indent)}\n`
    return node.pairs.map(([key, value]) => this.#comment(pad) + this.#item(`${pad}${key}:`, value, indent)).join("")
  }

  #item(start: string, node: Node, indent: number): string {
    if (node.kind === "scalar") return `${start}${node.text === "" ? "" : ` ${inBlock(node.text, indent)}`}\n`
    const anchor = node.anchor === undefined ? "" : ` &${node.anchor}`
    const isEmpty = (node.kind === "list" ? node.items : node.pairs).length === 0
    if (isEmpty || (canFlow(node) && this.#random.chance(0.25))) return `${start}${anchor} ${flow(node)}\n`
    const step = this.#random.pick([2, 2, 4])
    return `${start}${anchor}\n${this.block(node, indent + step)}`
  }

  #comment(pad: string): string {
    return this.#random.chance(0.05) ? `${pad}# a comment: $ALPHA\n` : ""
  }
}

/** The lines of a block scalar are indented. */
const inBlock = (text: string, indent: number): string => text.replaceAll("\n", `\n${" ".repeat(indent + 2)}`)

/** Whether a node has only scalars that can stand between brackets. */
const canFlow = (node: Node): boolean => {
  if (node.kind === "scalar")
    return node.text !== "" && !/^[|>*]/.test(node.text) && (isQuoted(node.text) || !/[,[\]{}:#]/.test(node.text))
  if (node.anchor !== undefined) return false
  return node.kind === "list"
    ? node.items.every(canFlow)
    : node.pairs.every(([key, value]) => !/[,[\]{}:#<]/.test(key) && canFlow(value))
}

const isQuoted = (text: string): boolean => /^(["']).*\1$/s.test(text)

const flow = (node: Node): string => {
  if (node.kind === "scalar") return node.text
  return node.kind === "list"
    ? `[${node.items.map(flow).join(", ")}]`
    : `{ ${node.pairs.map(([key, value]) => `${key}: ${flow(value)}`).join(", ")} }`
}
