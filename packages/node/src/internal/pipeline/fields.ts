/** Reads fields that steps and matrix adjustments share. */
import * as Result from "effect/Result"
import type { Node, PipelineError } from "./node.ts"

export type Read<A> = Result.Result<A, PipelineError>

export type Fields = ReadonlyMap<string, Node>

/** Whether a step may fail: always, or with these exit statuses. */
export type SoftFail = boolean | ReadonlyArray<number>

/** The first of several fields that has a value. */
export const first = (fields: Fields, ...names: ReadonlyArray<string>): Node | undefined =>
  names.map((name) => fields.get(name)).find((node) => node !== undefined && !node.isNull)

export const optional = <A>(node: Node | undefined, read: (node: Node) => Read<A>): Read<A | undefined> =>
  node === undefined || node.isNull ? Result.succeed(undefined) : read(node)

export const readFlag = (node: Node | undefined): Read<boolean> =>
  Result.map(
    optional(node, (node) => {
      const value = node.boolean
      return value === undefined ? node.fail("Expected true or false.") : Result.succeed(value)
    }),
    (flag) => flag ?? false
  )

/** True, false, or a reason; an empty one does not skip. */
export const readSkip = (node: Node | undefined): Read<boolean> =>
  Result.map(
    optional(
      node,
      (node): Read<string | boolean> => (node.boolean === undefined ? node.text() : Result.succeed(node.boolean))
    ),
    (skip) => skip !== undefined && skip !== false && skip !== ""
  )

export const readSoftFail = (node: Node | undefined): Read<SoftFail> =>
  Result.gen(function* () {
    if (node === undefined || node.isNull) return false
    if (!node.isList) return yield* readFlag(node)
    const statuses: Array<number> = []
    for (const item of yield* node.list()) {
      const status = item.isMap ? (yield* item.fields()).get("exit_status") : item
      if (status === undefined) return yield* item.fail('Expected `exit_status: NUMBER`, or "*" for any.')
      const text = yield* status.text()
      if (text === "*") return true
      statuses.push(yield* status.integer())
    }
    return statuses
  })
