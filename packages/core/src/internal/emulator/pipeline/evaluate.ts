/** Evaluates the conditions of steps. */
import * as Result from "effect/Result"
import { type Comparator, type Expression, parse } from "./condition.ts"

export type Value = string | number | boolean | null | RegExp | ReadonlyArray<Value>

/** What a condition can name. */
export interface Scope {
  /** Undefined for a variable that the emulator does not know. */
  readonly variable: (name: string) => Value | undefined
  readonly env: (name: string) => string | undefined
}

type Evaluated<A> = Result.Result<A, string>

/** Whether a condition holds. Fails with the reason why that can't be said, as a sentence. */
export const evaluate = (text: string, scope: Scope): Evaluated<boolean> =>
  Result.gen(function* () {
    const value = yield* valueOf(yield* parse(text), scope)
    return typeof value === "boolean" ? value : yield* Result.fail("It is neither true nor false.")
  })

const valueOf = (expression: Expression, scope: Scope): Evaluated<Value> =>
  Result.gen(function* () {
    switch (expression.kind) {
      case "value":
        return expression.value
      case "regexp":
        return expression.regexp
      case "list":
        return yield* Result.all(expression.items.map((item) => valueOf(item, scope)))
      case "variable": {
        const value = scope.variable(expression.name)
        return value === undefined ? yield* Result.fail(`The emulator does not know ${expression.name}.`) : value
      }
      case "call":
        return yield* call(expression, scope)
      case "not":
        return !isTrue(yield* valueOf(expression.operand, scope))
      case "and":
      case "or":
        return yield* connect(expression, scope)
      case "choice":
        return yield* valueOf(
          isTrue(yield* valueOf(expression.test, scope)) ? expression.then : expression.otherwise,
          scope
        )
      case "compare":
        return yield* compare(
          expression.operator,
          yield* valueOf(expression.left, scope),
          yield* valueOf(expression.right, scope)
        )
    }
  })

/** The right side counts only where the left one does not decide. If the left one is unknown, the right one may decide. */
const connect = (
  { kind, left, right }: Extract<Expression, { readonly kind: "and" | "or" }>,
  scope: Scope
): Evaluated<Value> => {
  const decides = (value: Value) => isTrue(value) === (kind === "or")
  const first = valueOf(left, scope)
  if (Result.isSuccess(first)) return decides(first.success) ? first : valueOf(right, scope)
  const second = valueOf(right, scope)
  return Result.isSuccess(second) && decides(second.success) ? second : first
}

/** Only false and null are false. */
const isTrue = (value: Value): boolean => value !== false && value !== null

const call = ({ args, name }: Extract<Expression, { readonly kind: "call" }>, scope: Scope): Evaluated<string | null> =>
  Result.gen(function* () {
    if (name !== "build.env" && name !== "env") return yield* Result.fail(`There is no function ${name}().`)
    const [variable, ...others] = yield* Result.all(args.map((arg) => valueOf(arg, scope)))
    if (typeof variable !== "string" || others.length > 0) {
      return yield* Result.fail(`${name}() takes the name of one variable.`)
    }
    return scope.env(variable) ?? (name === "env" ? "" : null)
  })

const compare = (operator: Comparator, left: Value, right: Value): Evaluated<boolean> => {
  switch (operator) {
    case "==":
      return Result.succeed(isEqual(left, right))
    case "!=":
      return Result.succeed(!isEqual(left, right))
    case "=~":
      return matches(left, right)
    case "!~":
      return Result.map(matches(left, right), (isMatch) => !isMatch)
    case "includes":
      return includes(left, right)
  }
}

const isEqual = (left: Value, right: Value): boolean =>
  isList(left) && isList(right)
    ? left.length === right.length && left.every((item, index) => isEqual(item, right[index] ?? null))
    : left === right

const isList = (value: Value): value is ReadonlyArray<Value> => Array.isArray(value)

/** Nothing matches no regular expression. */
const matches = (left: Value, right: Value): Evaluated<boolean> => {
  if (!(right instanceof RegExp)) return Result.fail("A regular expression must be on the right side of =~ and !~.")
  if (left === null) return Result.succeed(false)
  return typeof left === "string"
    ? Result.succeed(right.test(left))
    : Result.fail("Only texts match regular expressions.")
}

const includes = (left: Value, right: Value): Evaluated<boolean> => {
  if (left === null) return Result.succeed(false)
  if (!isList(left)) return Result.fail("Only a list includes something.")
  return Result.succeed(
    left.some((item) => (right instanceof RegExp ? typeof item === "string" && right.test(item) : isEqual(item, right)))
  )
}
