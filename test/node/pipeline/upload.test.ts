/** What an upload makes of a pipeline file: the same as the agent, whose results are in `pipelineUploads.json`. */
import { assert, describe, it } from "@effect/vitest"
import { expected, expectedFiles, uploadsOf } from "../../interop/pipelines.ts"

const uploads = expected()

describe("as the agent uploads it, goes a file with", () => {
  for (const [name, text] of expectedFiles().filter(([name]) => !name.startsWith("seed "))) {
    it(name, () => assert.deepStrictEqual(uploadsOf(text), uploads[name] ?? null))
  }
})

it("as the agent uploads them, go generated files", () => {
  const generated = expectedFiles().filter(([name]) => name.startsWith("seed "))
  assert.isAbove(generated.length, 100)
  for (const [name, text] of generated) assert.deepStrictEqual(uploadsOf(text), uploads[name], `${name}\n${text}`)
})
