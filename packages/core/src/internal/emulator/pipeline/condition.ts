/** Parses the conditions of steps: `if: build.branch == "main" && build.tag =~ /^v/`. */
import * as Result from "effect/Result"

export type Expression =
  | { readonly kind: "value"; readonly value: string | number | boolean | null }
  | { readonly kind: "regexp"; readonly regexp: RegExp }
  | { readonly kind: "list"; readonly items: ReadonlyArray<Expression> }
  | { readonly kind: "variable"; readonly name: string }
  | { readonly kind: "call"; readonly name: string; readonly args: ReadonlyArray<Expression> }
  | { readonly kind: "not"; readonly operand: Expression }
  | { readonly kind: "and" | "or"; readonly left: Expression; readonly right: Expression }
  | {
      readonly kind: "compare"
      readonly operator: Comparator
      readonly left: Expression
      readonly right: Expression
    }
  | { readonly kind: "choice"; readonly test: Expression; readonly then: Expression; readonly otherwise: Expression }

export type Comparator = "==" | "!=" | "=~" | "!~" | "includes"

type Parsed<A> = Result.Result<A, string>

/** Fails with what is wrong, as a sentence. */
export const parse = (text: string): Parsed<Expression> =>
  Result.gen(function* () {
    const parser = new Parser(yield* tokenize(text))
    const expression = yield* parser.choice()
    return parser.isAtEnd ? expression : yield* parser.unexpected()
  })

// -----------------------------------------------------------------------------
// Tokens
// -----------------------------------------------------------------------------

type Token =
  | { readonly kind: "symbol" | "name"; readonly text: string }
  | { readonly kind: "string"; readonly text: string; readonly value: string }
  | { readonly kind: "integer"; readonly text: string; readonly value: number }
  | { readonly kind: "regexp"; readonly text: string; readonly value: RegExp }

const space = /(?:\s+|\/\/[^\n]*)*/uy
const symbol = /==|!=|=~|!~|&&|\|\||[!()[\],?:]/uy
const name = /[A-Za-z_][\w.]*/uy
const integer = /\d+/uy
const quoted = /"(?:[^"\\]|\\[\s\S])*"|'(?:[^'\\]|\\[\s\S])*'/uy
const regexp = /\/((?:[^/\\\n]|\\.)*)\/([A-Za-z]*)/uy

const tokenize = (text: string): Parsed<ReadonlyArray<Token>> =>
  Result.gen(function* () {
    const tokens: Array<Token> = []
    let at = 0
    const take = (pattern: RegExp) => {
      pattern.lastIndex = at
      const found = pattern.exec(text)
      at += found?.[0].length ?? 0
      return found
    }
    for (take(space); at < text.length; take(space)) {
      const found = take(symbol) ?? take(name) ?? take(integer) ?? take(quoted) ?? take(regexp)
      if (found === null) {
        const rest = text.slice(at, at + 20)
        return yield* Result.fail(
          rest.startsWith("$")
            ? `It has the variable ${rest}, which the upload did not expand.`
            : `It has ${JSON.stringify(rest)}, which means nothing.`
        )
      }
      tokens.push(yield* toToken(found))
    }
    return tokens
  })

const toToken = (found: RegExpExecArray): Parsed<Token> => {
  const [text, source, flags = ""] = found
  const start = text[0] ?? ""
  if (source !== undefined) {
    return Result.map(toRegExp(source, flags), (value): Token => ({ kind: "regexp", text, value }))
  }
  if (start === '"' || start === "'") return Result.succeed({ kind: "string", text, value: unquote(text) })
  if (/\d/.test(start)) return Result.succeed({ kind: "integer", text, value: Number(text) })
  return Result.succeed({ kind: /[A-Za-z_]/.test(start) ? "name" : "symbol", text })
}

const escapes: Readonly<Record<string, string>> = {
  n: "\n",
  s: " ",
  r: "\r",
  t: "\t",
  v: "\v",
  f: "\f",
  b: "\b",
  a: "\u0007",
  e: "\u001b"
}

/** In single quotes only the quote and the backslash are escaped. */
const unquote = (text: string): string => {
  const inner = text.slice(1, -1)
  return text.startsWith("'")
    ? inner.replaceAll(/\\([\\'])/g, "$1")
    : inner.replaceAll(/\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|([\s\S]))/g, (_, hex, octal, other: string) => {
        if (hex !== undefined) return String.fromCharCode(Number.parseInt(String(hex), 16))
        return octal === undefined ? (escapes[other] ?? other) : String.fromCharCode(Number.parseInt(String(octal), 8))
      })
}

/** Anchors match at each line, as they do in Ruby, which the service is written in. `\A` and `\z` match at the ends of the text. */
const toRegExp = (pattern: string, outerFlags: string): Parsed<RegExp> => {
  // Flags may also stand at the start of the expression.
  const [inline = "", innerFlags = ""] = /^\(\?([imx]+)\)/.exec(pattern) ?? []
  const [source, flags] = [pattern.slice(inline.length), outerFlags + innerFlags]
  const unknown = flags.replaceAll(/[imx]/g, "")
  if (unknown !== "") return Result.fail(`The regular expression has an unknown flag: ${unknown}.`)
  const compact = flags.includes("x")
    ? source.replaceAll(/\\.|\s+/g, (part) => (part.startsWith("\\") ? part : ""))
    : source
  const translated = compact.replaceAll(/\\([AzZhH])|\\./g, (whole, letter: string | undefined) =>
    letter === undefined ? whole : (rubyEscapes[letter] ?? whole)
  )
  const options = `m${flags.includes("i") ? "i" : ""}${flags.includes("m") ? "s" : ""}`
  return Result.try({
    try: () => new RegExp(translated, options),
    catch: () => `/${source}/ is no regular expression.`
  })
}

const rubyEscapes: Readonly<Record<string, string>> = {
  A: "(?<![\\s\\S])",
  z: "(?![\\s\\S])",
  Z: "(?=\\n?(?![\\s\\S]))",
  h: "[0-9a-fA-F]",
  H: "[^0-9a-fA-F]"
}

// -----------------------------------------------------------------------------
// Grammar
// -----------------------------------------------------------------------------

const comparators: ReadonlySet<string> = new Set(["==", "!=", "=~", "!~", "includes"])

const literals: ReadonlyMap<string, boolean | null> = new Map([
  ["true", true],
  ["false", false],
  ["null", null]
])

/** How deep an expression may be nested. */
const maxDepth = 100

class Parser {
  readonly #tokens: ReadonlyArray<Token>
  #at = 0
  #depth = 0

  constructor(tokens: ReadonlyArray<Token>) {
    this.#tokens = tokens
  }

  get isAtEnd(): boolean {
    return this.#at === this.#tokens.length
  }

  unexpected(): Result.Result<never, string> {
    const found = this.#tokens[this.#at]
    return Result.fail(found === undefined ? "It ends too early." : `It has ${found.text} where it can't be.`)
  }

  #takes(text: string): boolean {
    const token = this.#tokens[this.#at]
    const isTaken = token?.text === text && (token.kind === "symbol" || token.kind === "name")
    if (isTaken) this.#at++
    return isTaken
  }

  #expect(text: string): Parsed<void> {
    return this.#takes(text) ? Result.void : this.unexpected()
  }

  choice(): Parsed<Expression> {
    return Result.gen(this, function* () {
      if (++this.#depth > maxDepth) return yield* Result.fail("It is nested too deeply.")
      const test = yield* this.#or()
      this.#depth--
      if (!this.#takes("?")) return test
      const then = yield* this.choice()
      yield* this.#expect(":")
      return { kind: "choice", test, then, otherwise: yield* this.choice() } as const
    })
  }

  #or(): Parsed<Expression> {
    return Result.gen(this, function* () {
      let left = yield* this.#and()
      while (this.#takes("||")) left = { kind: "or", left, right: yield* this.#and() }
      return left
    })
  }

  #and(): Parsed<Expression> {
    return Result.gen(this, function* () {
      let left = yield* this.#comparison()
      while (this.#takes("&&")) left = { kind: "and", left, right: yield* this.#comparison() }
      return left
    })
  }

  #comparison(): Parsed<Expression> {
    return Result.gen(this, function* () {
      let left = yield* this.#prefixed()
      for (;;) {
        const operator = this.#tokens[this.#at]
        if (operator === undefined || operator.kind === "string" || !comparators.has(operator.text)) return left
        this.#at++
        const right = yield* this.#prefixed()
        left = { kind: "compare", operator: operator.text as Comparator, left, right }
      }
    })
  }

  #prefixed(): Parsed<Expression> {
    let count = 0
    while (this.#takes("!")) count++
    return Result.map(this.#operand(), (operand) => {
      let expression = operand
      for (let i = 0; i < count; i++) expression = { kind: "not", operand: expression }
      return expression
    })
  }

  #operand(): Parsed<Expression> {
    return Result.gen(this, function* () {
      const token = this.#tokens[this.#at]
      if (token === undefined) return yield* this.unexpected()
      if (this.#takes("(")) {
        const inner = yield* this.choice()
        yield* this.#expect(")")
        return inner
      }
      if (this.#takes("[")) return { kind: "list", items: yield* this.#items("]") } as const
      if (token.kind === "symbol") return yield* this.unexpected()
      this.#at++
      if (token.kind === "regexp") return { kind: "regexp", regexp: token.value } as const
      if (token.kind === "string" || token.kind === "integer") return { kind: "value", value: token.value } as const
      const literal = literals.get(token.text)
      if (literal !== undefined) return { kind: "value", value: literal } as const
      return this.#takes("(")
        ? ({ kind: "call", name: token.text, args: yield* this.#items(")") } as const)
        : ({ kind: "variable", name: token.text } as const)
    })
  }

  #items(end: string): Parsed<ReadonlyArray<Expression>> {
    return Result.gen(this, function* () {
      const items: Array<Expression> = []
      if (this.#takes(end)) return items
      do items.push(yield* this.choice())
      while (this.#takes(","))
      yield* this.#expect(end)
      return items
    })
  }
}
