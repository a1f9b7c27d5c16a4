/** The fields of block and input steps: which values a person may give, and what the emulator says about others. */
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import { problemOf, started } from "../support/startedPipeline.ts"

const blockWith = (...fields: ReadonlyArray<unknown>) => ({ block: "Release", key: "release", fields })

const stream = { select: "Stream", key: "stream", options: [{ label: "Beta", value: "beta" }, { value: "stable" }] }

/** The notes about a block with this field, each with its path. */
const notesOf = (field: unknown) =>
  Effect.gen(function* () {
    const emulator = yield* StacksEmulator.make()
    const { notes, steps } = yield* emulator.uploadPipelines([{ steps: [blockWith(field)] }])
    const defaultValue = steps[0]?.fields[0]?.defaultValue
    return {
      defaultValue,
      notes: notes.slice(1).map(({ path, text }) => [path.replace("/steps/0/fields/0", ""), text])
    }
  }).pipe(Effect.scoped)

/** The problem with a value for a block with this field, and the meta-data if there is none. */
const unblocked = (field: unknown, values: Readonly<Record<string, string>> = {}) =>
  Effect.gen(function* () {
    const emulator = yield* started(blockWith(field))
    const problem = yield* problemOf(emulator.unblock("release", values))
    return problem === "no problem" ? (yield* emulator.builds)[0]?.metaData : problem.split("\n")[0]
  }).pipe(Effect.scoped)

describe("a default", () => {
  it.effect("that is none of a select's options is told at the upload, and left out", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* notesOf({ ...stream, default: "zzz" }), {
        defaultValue: undefined,
        notes: [
          ["/default", 'the default "zzz" is left out: the field stream has no option "zzz": it has beta, stable']
        ]
      })
      assert.include(yield* unblocked({ ...stream, default: "zzz" }), "needs a value: Stream; one of beta, stable")
      assert.deepStrictEqual(yield* notesOf({ ...stream, default: "beta" }), { defaultValue: "beta", notes: [] })
    })
  )

  it.effect("of several options keeps those that the select has", () =>
    Effect.gen(function* () {
      const several = { ...stream, multiple: true, default: ["stable", "zzz", "beta"] }
      const { defaultValue, notes } = yield* notesOf(several)
      assert.strictEqual(defaultValue, "stable\nbeta")
      assert.deepStrictEqual(
        notes.map(([path]) => path),
        ["/default"]
      )
      assert.deepStrictEqual(yield* unblocked(several), { stream: "stable\nbeta" })
      // Of a select with one choice it is none.
      assert.strictEqual((yield* notesOf({ ...stream, default: ["stable", "beta"] })).defaultValue, undefined)
    })
  )

  it.effect("that has not the format of its text is told, and left out", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* notesOf({ text: "Release", key: "r", format: "[0-9]+", default: "v1" }), {
        defaultValue: undefined,
        notes: [["/default", 'the default "v1" is left out: the field r needs a text that matches [0-9]+']]
      })
    })
  )
})

describe("a format", () => {
  it.effect("has to match the whole text", () =>
    Effect.gen(function* () {
      const field = { text: "Color", key: "hex", format: "[0-9a-f]+|none" }
      for (const value of ["0f", "none"])
        assert.deepStrictEqual(yield* unblocked(field, { hex: value }), { hex: value })
      for (const value of ["x0f", "0fx", "nonexx", "0f\n"]) {
        assert.include(
          yield* unblocked(field, { hex: value }),
          "the field hex needs a text that matches [0-9a-f]+|none"
        )
      }
      assert.include(yield* unblocked(field), "the field hex needs a value: Color; a text that matches [0-9a-f]+|none")
      // A field that needs no value may stay empty.
      assert.deepStrictEqual(yield* unblocked({ ...field, required: false }), {})
    })
  )

  it.effect("may be written as browsers take it now, or as they took it before", () =>
    Effect.gen(function* () {
      const matches = (format: string, key: string) => unblocked({ text: "T", key, format }, { [key]: "a-b_1" })
      assert.deepStrictEqual(yield* matches("[a-z0-9_-]+", "old"), { old: "a-b_1" })
      assert.deepStrictEqual(yield* matches("[a-z0-9_\\-]+", "new"), { new: "a-b_1" })
    })
  )

  it.effect("that is no regular expression is ignored, and reported", () =>
    Effect.gen(function* () {
      for (const format of ["[0-9", "a)(b"]) {
        assert.deepStrictEqual((yield* notesOf({ text: "T", key: "t", format })).notes, [
          ["/format", `\`format\` is ignored: ${format} is not a regular expression that browsers know`]
        ])
      }
      assert.deepStrictEqual(yield* unblocked({ text: "T", key: "t", format: "[0-9" }, { t: "x" }), { t: "x" })
      assert.deepStrictEqual((yield* notesOf({ ...stream, format: "x" })).notes, [["/format", "`format` is ignored"]])
    })
  )

  it.effect("is not tried on long texts", () =>
    Effect.gen(function* () {
      const problem = yield* unblocked({ text: "T", key: "t", format: "(a+)+" }, { t: `${"a".repeat(5000)}b` })
      assert.include(problem, "the field t takes at most 1000 characters, as it has a `format`")
    })
  )
})

describe("a value", () => {
  it.effect("of a select is one of its options, or several if it takes several", () =>
    Effect.gen(function* () {
      const value = { stream: "beta\nstable" }
      assert.include(yield* unblocked(stream, value), 'the field stream has no option "beta\\nstable"')
      assert.deepStrictEqual(yield* unblocked({ ...stream, multiple: true }, value), value)
      assert.deepStrictEqual(yield* unblocked({ ...stream, options: ["", "a"] }, { stream: "" }), { stream: "" })
    })
  )

  it.effect("of a select without options is any text: that is told", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* notesOf({ select: "S", key: "s", options: [] })).notes, [
        ["", "Buildkite requires `options` in a select; here the field takes any text"]
      ])
      assert.deepStrictEqual(yield* unblocked({ select: "S", key: "s" }, { s: "x" }), { s: "x" })
    })
  )

  it.effect("has the line ends of Unix", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* unblocked({ text: "T", key: "t" }, { t: "a\r\nb" }), { t: "a\nb" })
    })
  )
})

it.effect("who unblocks a step that does not exist learns which ones wait", () =>
  Effect.gen(function* () {
    const emulator = yield* started({ block: "Sure?", key: "ok" }, { block: "Release" }, { block: "Again" })
    assert.include(yield* problemOf(emulator.unblock("nope")), "there is no step nope; these wait: ok, Release, Again")
    const other = yield* started({ command: "make", label: "Make" })
    assert.include(yield* problemOf(other.unblock("nope")), "there is no step nope; no step waits for anybody")
    assert.include(yield* problemOf(other.unblock("Make")), "the step Make is not blocked: it waits for nobody")
  }).pipe(Effect.scoped)
)
