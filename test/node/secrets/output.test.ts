/** In how many ways a job may print a secret, and what is shown of it. */
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as Redactor from "../../../packages/node/src/internal/secrets/redactor.ts"
import { runCommand } from "../../support/commands.ts"

const linesOf = (command: string, options?: Parameters<typeof runCommand>[1]) =>
  Effect.map(runCommand(command, { shell: ["/bin/bash", "-c"], ...options }), ({ lines }) => lines)

const json = '{"id":1,"key":"c2VjcmV0"}'
const words = `it's 100% "my" $own pa\\ss/wörd & <more>`
const key = "-----BEGIN KEY-----\n1234\n5678\n90ab\n-----END KEY-----"

describe("A secret is redacted", () => {
  const ways: ReadonlyArray<readonly [way: string, command: string]> = [
    ["as it is", 'echo "<$S>"'],
    ["in JSON", `${process.execPath} -p 'JSON.stringify({ key: process.env.S })'`],
    ["in JSON within JSON", `${process.execPath} -p 'JSON.stringify(JSON.stringify({ key: process.env.S }))'`],
    [
      "in JSON of ASCII only",
      `${process.execPath} -p 'JSON.stringify(process.env.S).replace(/[^ -~]|[<>&]/g, (c) => "\\\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"))'`
    ],
    ["by %q", `printf '%q\\n' "$S"`],
    ["by %q where a system knows ASCII only", `LC_ALL=C printf '%q\\n' "$S"`],
    ["by set -x", 'set -x; : "$S"'],
    ["by set -x of another shell", `/bin/sh -c 'set -x; : "$S"'`],
    ["by declare", "declare -p S"],
    ["in a URL", `${process.execPath} -p 'encodeURIComponent(process.env.S)'`],
    ["in a URL in lower case", `${process.execPath} -p 'encodeURIComponent(process.env.S).toLowerCase()'`],
    ["in a form", `${process.execPath} -p 'String(new URLSearchParams({ key: process.env.S }))'`],
    ["in a URL within a URL", `${process.execPath} -p 'encodeURIComponent(encodeURIComponent(process.env.S))'`],
    ["without its line ends", "echo $S"],
    ["with line ends of Windows", 'echo "$S" | sed "s/$/\\r/"'],
    ["in Base64", 'printf %s "$S" | base64 -w 0; echo'],
    ["in Base64 in lines", '(head -c 100 /dev/zero; printf %s "$S") | base64'],
    ["in Base64 after one more byte", 'printf "u%s" "$S" | base64 -w 0; echo'],
    ["in Base64 after two more bytes", 'printf "u:%s" "$S" | base64 -w 0; echo'],
    ["in Base64 for URLs", `printf "us:%s" "$S" | base64 -w 0 | tr '+/' '-_' | tr -d '='; echo`],
    ["on the other channel", 'echo "<$S>" >&2']
  ]
  /** What tells the secret: in none of the ways more of it than that is left. */
  const traces: Readonly<Record<string, RegExp>> = {
    [json]: /VjcmV|c2Vj|c3VjY/,
    [words]: /wörd|more|c29t|own/,
    [key]: /5678|90ab|KEY|NTY3O|U2Nzg/
  }
  for (const [way, command] of ways) {
    // The case of letters is a part of what is hidden.
    const secrets = way.includes("lower case") ? [key.toLowerCase(), words] : [json, words, key]
    it.live(way, () =>
      Effect.forEach(
        secrets,
        (secret) =>
          Effect.map(
            linesOf(`echo begin; ${command}; sleep 0.05; echo end`, { env: { S: secret }, redactedVars: ["S"] }),
            (lines) => {
              const text = lines.join("\n")
              assert.include(text, "[REDACTED]")
              assert.notMatch(text, traces[secret] ?? /5678|90ab/)
              assert.include(lines, "begin")
              assert.include(lines, "end")
            }
          ),
        { concurrency: 3, discard: true }
      )
    )
  }

  it.live("with everything that overlaps it", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf("echo '<first-partsecond-half>'", {
        env: { ONE_SECRET: "first-part", TWO_SECRET: "partsecond-half", THREE_SECRET: "second" }
      })
      assert.deepStrictEqual(lines, ["<[REDACTED]>"])
    })
  )

  it.live("if the other channel prints between its parts", () =>
    Effect.gen(function* () {
      const pause = "sleep 0.05"
      const lines = yield* linesOf(
        `printf '<open '; ${pause}; echo noise >&2; ${pause}; echo 'sesame>'; echo 1234; ${pause}; echo more >&2; ${pause}; echo 5678; echo last`,
        { env: { A_PASSWORD: "open sesame", B_SECRET: "1234\n5678" } }
      )
      assert.sameMembers(Array.from(lines), ["noise", "<[REDACTED]>", "more", "[REDACTED]", "last"])
    })
  )

  it.live("in the detail of its job", () =>
    Effect.gen(function* () {
      const { detail } = yield* runCommand("printf '1234\\n5678\\n'; exit 3", { env: { PINS_SECRET: "1234\n5678" } })
      assert.include(detail, "[REDACTED]")
      assert.notMatch(detail, /1234|5678/)
    })
  )

  it.live("if its line is cropped within it", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf(`head -c 65530 /dev/zero | tr '\\0' ' '; echo "$KEY_SECRET"`, {
        env: { KEY_SECRET: "first\nsecond" }
      })
      assert.notMatch(lines.join("\n"), /first/)
    })
  )
})

describe("The beginning of a secret", () => {
  it.live("is shown if something else follows", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf("echo 1234; echo 5678; echo 9999; echo 1234", {
        env: { PINS_SECRET: "1234\n5678\n90ab" }
      })
      assert.deepStrictEqual(lines, ["1234", "5678", "9999", "1234"])
    })
  )
})

describe("Variables with secrets", () => {
  it.live.each([
    "DB_PASSWORD",
    "db_password",
    "My_Secret",
    "github_token",
    "A_PRIVATE_KEY",
    "a_ssh_key",
    "AWS_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "some_Api_Key",
    "SQL_CONNECTION_STRING"
  ])("are those that the agent hides too, in any case: %s", (name) =>
    Effect.map(linesOf(`echo "<$${name}>"`, { env: { [name]: "open sesame" } }), (lines) =>
      assert.deepStrictEqual(lines, ["<[REDACTED]>"])
    )
  )

  it.live.each([
    ["V?LUE", "<[REDACTED]>"],
    ["[t-v]alue", "<[REDACTED]>"],
    ["[^t-v]alue", "<open sesame>"],
    ["\\value", "<[REDACTED]>"],
    ["[z-", "<open sesame>"],
    ["VAL", "<open sesame>"]
  ] as const)("can be named by patterns of the agent: %s", ([pattern, shown]) =>
    Effect.map(linesOf('echo "<$VALUE>"', { env: { VALUE: "open sesame" }, redactedVars: [pattern] }), (lines) =>
      assert.deepStrictEqual(lines, [shown])
    )
  )

  it.live("are redacted from 6 bytes on", () =>
    Effect.gen(function* () {
      const env = { A_TOKEN: "12345", B_TOKEN: "123456", C_TOKEN: "ünïö" }
      assert.deepStrictEqual(yield* linesOf('echo "<$A_TOKEN> <$B_TOKEN> <$C_TOKEN>"', { env }), [
        "<12345> <[REDACTED]5> <[REDACTED]>".replace("[REDACTED]5", "[REDACTED]")
      ])
    })
  )

  it.live("may contain a URL, whose password is redacted too", () =>
    Effect.gen(function* () {
      const env = {
        A_CONNECTION_STRING: "postgres://me:open%20sesame@db.test/x",
        PLAIN_URL: "redis://:p@ss/w0rd@db.test"
      }
      const lines = yield* linesOf('echo "$A_CONNECTION_STRING"; echo "<open sesame> <open%20sesame>"', { env })
      assert.deepStrictEqual(lines, ["[REDACTED]", "<[REDACTED]> <[REDACTED]>"])
    })
  )
})

describe("A Buildkite token is redacted to its end", () => {
  const body = "abcDEF123456789"
  it.live.each([
    `bkct_MTA.${body}`,
    `bkaa_MTA.Miyf6S3a3g9j8pyBGT-yLC1frg9k6gDHT_JdL9`,
    `bkaj_eyJhbGciOiJIUzUxMiJ9.eyJzdWIiOiIwMTk2.p-IZUkRW_JOkbTuVrxa4`,
    `bkar_MTA.${body}`,
    `bkua_MTA.4f6ccde8c73e26244d73c5a77c91c242c0c818ce`,
    `bkjat_eyJhbGciOiJIUzI1NiJ9.eyJqb2IiOiJ4In0.a-b_c-DEF.`.slice(0, -1),
    `bkct_${body}`
  ])("%s", (token) =>
    Effect.gen(function* () {
      const lines = yield* linesOf(`echo 'token=${token}, "\\n${token}". ${token}.'`, { redactedVars: [] })
      assert.deepStrictEqual(lines, ['token=[REDACTED], "\\n[REDACTED]". [REDACTED].'])
    })
  )
})

// -----------------------------------------------------------------------------
// Any secret, and any text around it
// -----------------------------------------------------------------------------

/** Mulberry32: the same numbers every time. */
const random = (seed: number) => {
  let state = seed
  return (below: number) => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return Math.floor((((value ^ (value >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

const alphabets = ["ab", "aB3-_./~", "ab\"'\\$`%+ \t{}:,&<>|;()*?[]#!=@^", "äé€👍ab c", "ab\ncd\n  e", "xyz\\nrtu%2F"]

const wrapped = (text: string, width: number) => text.match(new RegExp(`.{1,${width}}`, "gs"))?.join("\n") ?? ""

const encodings: Readonly<Record<string, (secret: string) => string>> = {
  plain: (secret) => secret,
  json: (secret) => JSON.stringify(secret),
  "json in json": (secret) => JSON.stringify({ text: JSON.stringify(secret) }),
  "json in ascii": (secret) =>
    JSON.stringify(secret).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`),
  inspect: (secret) => inspect(secret),
  url: (secret) => encodeURIComponent(secret),
  "url in lower case": (secret) => encodeURIComponent(secret).replace(/%../g, (code) => code.toLowerCase()),
  form: (secret) => new URLSearchParams({ secret }).toString(),
  "single quotes": (secret) => `'${secret.replaceAll("'", "'\\''")}'`,
  backslashes: (secret) => secret.replace(/[^\w\n]/gu, "\\$&"),
  base64: (secret) => Buffer.from(`u:${secret}`).toString("base64"),
  "base64 in lines": (secret) => wrapped(Buffer.from(`${"-".repeat(50)}${secret}`).toString("base64"), 76),
  "base64 in json": (secret) =>
    JSON.stringify(wrapped(Buffer.from(`${"-".repeat(51)}${secret}`).toString("base64url"), 64))
}

describe("Random secrets in random texts", () => {
  it.effect.each(Object.keys(encodings))("leaves nothing of it but quotes: %s", (name) =>
    Effect.sync(() => {
      const next = random(20)
      const textOf = (alphabet: string, length: number) =>
        Array.from({ length }, () => Array.from(alphabet)[next(Array.from(alphabet).length)] ?? "").join("")
      for (let round = 0; round < 200; round++) {
        const secret = `Q${textOf(alphabets[next(alphabets.length)] ?? "", 8 + next(40))}QQQQQ`
        const others = Array.from({ length: next(4) }, () => `other ${textOf(alphabets[0] ?? "", 20)}`)
        const around = textOf('xyz {}":=,.\t', next(100))
        const encoded = encodings[name]?.(secret) ?? ""
        const output = Redactor.make([secret, ...others]).open(10_000)
        const text = `first ${around}\n<${encoded}>\nlast ${around}`
        const lines = text.split("\n").flatMap((line) => output.push({ text: line, isCut: false }))
        const shown = [...lines, ...output.end()].join("\n")
        const begin = `first ${around}\n<`
        const end = `>\nlast ${around}`
        assert.isTrue(shown.startsWith(begin) && shown.endsWith(end), shown)
        const left = shown.slice(begin.length, -end.length)
        assert.include(left, "[REDACTED]", JSON.stringify({ secret, encoded }))
        // What was encoded before the secret, and what stands around it, is no part of it.
        const rest = left.replaceAll("[REDACTED]", "").replace(/dTo|secret=|text|\n|[{}"'`:\\]|\\n|LS0t\S*|-+/g, "")
        assert.isBelow(rest.length, 5, JSON.stringify({ secret, encoded, left }))
      }
    })
  )

  it.effect("that do not occur leave the text unchanged", () =>
    Effect.sync(() => {
      const next = random(7)
      const text = Array.from({ length: 20_000 }, () => 'ab \n"\\%Q'.charAt(next(8))).join("")
      const redactor = Redactor.make(["aQaQaQaQaQaQbbQQbQ", "ab ab ab ab\nQQQQQQQQab\nb", 'aa"bb\\bb%bbQ"Qaabb'])
      assert.strictEqual(redactor.redact(text), text)
    })
  )

  it.effect("take time that is linear in the text", () =>
    Effect.sync(() => {
      // Of each line the next secret begins: nothing is decided before the end, and little is held.
      const secret = `${"a\n".repeat(2000)}b`
      const output = Redactor.make([secret, "a".repeat(1000)]).open(10_000)
      let shown = 0
      for (let line = 0; line < 50_000; line++) shown += output.push({ text: "a", isCut: false }).length
      assert.isAtLeast(shown, 47_999)
      assert.strictEqual(shown + output.end().length, 50_000)
    })
  )
})

describe("A secret of the option secrets", () => {
  it.live("is redacted in every spelling if it is long enough", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf(`echo '<a"b> <a\\"b> <it\\u0027s me> <aXQncyBtZSE=>'`, {
        secrets: [Redacted.make('a"b'), Redacted.make("it's me!"), Redacted.make("it's me")]
      })
      assert.deepStrictEqual(lines, ['<[REDACTED]> <a\\"b> <[REDACTED]> <[REDACTED]=>'])
    })
  )
})
