/** The encodings of pipeline files that `buildkite-agent pipeline upload` reads, and those that it refuses. */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { decode } from "../../../packages/node/src/internal/pipeline/encoding.ts"

const text = 'steps:\n  - label: "é→😀"\n'

const utf16 = (text: string) => Buffer.from(text, "utf16le")

const withBytes = (...bytes: ReadonlyArray<number>) =>
  Buffer.concat([Buffer.from('steps:\n  - command: "é'), Buffer.from(bytes), Buffer.from('b"\n')])

describe("a pipeline file is read", () => {
  const files: Readonly<Record<string, Buffer>> = {
    "in UTF-8": Buffer.from(text),
    "in UTF-8 with a byte order mark": Buffer.from(`\uFEFF${text}`),
    "in UTF-16, little endian, with its mark": utf16(`\uFEFF${text}`),
    "in UTF-16, big endian, with its mark": utf16(`\uFEFF${text}`).swap16()
  }
  for (const [name, bytes] of Object.entries(files)) {
    it(name, () => {
      assert.strictEqual(Result.getOrThrow(decode("pipeline.yml", bytes)).replace("\uFEFF", ""), text)
    })
  }

  it("with replacement characters of its own", () => {
    assert.strictEqual(Result.getOrThrow(decode("pipeline.yml", Buffer.from("a\uFFFDb"))), "a\uFFFDb")
  })
})

describe("a pipeline file is refused, with the place,", () => {
  const utf8 = (byte: string) => `pipeline.yml:2:16: The byte ${byte} is not UTF-8 here. Save the file as UTF-8.`
  const files: Readonly<Record<string, readonly [bytes: Buffer, problem: string]>> = {
    "with a byte that begins no character": [withBytes(0xff, 0xfe), utf8("0xFF")],
    "in Latin-1": [withBytes(0xe9), utf8("0xE9")],
    "with a character that is too long": [withBytes(0xc0, 0x80), utf8("0xC0")],
    "with a surrogate": [withBytes(0xed, 0xa0, 0x80), utf8("0xED")],
    "with a character beyond the last one": [withBytes(0xf4, 0x90, 0x80, 0x80), utf8("0xF4")],
    "whose last character is cut": [
      Buffer.concat([Buffer.from("steps: []\n#"), Buffer.from([0xe2, 0x82])]),
      "pipeline.yml:2:2: The byte 0xE2 is not UTF-8 here. Save the file as UTF-8."
    ],
    "in UTF-16 with half of a pair": [
      utf16('\uFEFFsteps:\n  - command: "a\uD800b"\n'),
      "pipeline.yml:2:16: Half of a character is not UTF-16. Save the file as UTF-8."
    ],
    "in UTF-16 with a pair that ends the file too early": [
      utf16("\uFEFFsteps: []\n#\uD800"),
      "pipeline.yml:2:2: Half of a character is not UTF-16. Save the file as UTF-8."
    ],
    "in UTF-16, big endian, with a last byte alone": [
      Buffer.concat([utf16("\uFEFFsteps: []\n").swap16(), Buffer.from([0x20])]),
      "pipeline.yml:2:1: The last byte is not UTF-16. Save the file as UTF-8."
    ]
  }
  for (const [name, [bytes, problem]] of Object.entries(files)) {
    it(name, () => {
      const { message } = Result.getOrThrow(Result.flip(decode("pipeline.yml", bytes)))
      assert.strictEqual(message, problem)
    })
  }
})
