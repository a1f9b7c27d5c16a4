/** What a rehearsal says about files that Buildkite does not take as they are, and about values of a wrong type. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { labelOf, rehearse } from "../../support/rehearse.ts"

const numbers = (count: number) => `[${Array.from({ length: count }, (_, index) => index).join(", ")}]`

describe("a rehearsal says that Buildkite", () => {
  const notes: Readonly<Record<string, readonly [step: string, line: number, note: string]>> = {
    "requires a concurrency group": [
      "command: a\n  concurrency: 1",
      3,
      "Buildkite requires a `concurrency_group` with `concurrency`; here the step has no limit"
    ],
    "requires the concurrency of a group": [
      "command: a\n  concurrency_group: g",
      3,
      "Buildkite requires `concurrency` with a `concurrency_group`; here the step has no limit"
    ],
    "does not take a matrix and parallelism together": [
      "command: a\n  matrix: [1, 2]\n  parallelism: 2",
      4,
      "Buildkite does not allow `parallelism` and `matrix` in one step; here each combination has that many jobs"
    ],
    "limits the jobs of a matrix": [
      `command: a\n  matrix: { setup: { x: ${numbers(8)}, y: ${numbers(8)} } }`,
      3,
      "Buildkite allows at most 50 jobs of a matrix, not 64"
    ],
    "limits the dimensions of a matrix": [
      "command: a\n  matrix: { setup: { a: [1], b: [1], c: [1], d: [1], e: [1], f: [1], g: [1] } }",
      3,
      "Buildkite allows at most 6 dimensions of a matrix, not 7"
    ],
    "limits the values of a dimension": [
      `command: a\n  matrix: ${numbers(21)}`,
      3,
      "Buildkite allows at most 20 values in a dimension of a matrix, not 21"
    ],
    "limits the adjustments of a matrix": [
      `command: a\n  matrix: { setup: [1], adjustments: [${"{ with: 1, soft_fail: true }, ".repeat(13)}] }`,
      3,
      "Buildkite allows at most 12 adjustments of a matrix, not 13"
    ],
    "requires steps in a group": ["group: g\n  steps: []", 3, "Buildkite requires at least one step in a group"],
    "does not take a condition and branches together": [
      "command: a\n  if: build.tag == null\n  branches: main",
      3,
      "Buildkite does not allow `if` and `branches` in one step; here both have to be met"
    ],
    "does not take keys that look like a UUID": [
      "command: a\n  key: 8ec0d1d8-3d6b-4f0e-9a1b-0b6a4f4f1a11",
      3,
      "Buildkite does not allow a key that looks like a UUID"
    ],
    "does not take every key of a field": [
      'input: Name\n  fields: [{ text: T, key: "a b" }]',
      3,
      'Buildkite allows letters, digits, "/", "-" and "_" in the key of a field, not "a b"'
    ],
    "knows no such exit status": [
      "command: a\n  retry: { automatic: [{ exit_status: [1, 300] }, { exit_status: 300 }] }",
      3,
      "Buildkite allows the exit statuses -1 and 0 to 255: 300 never matches"
    ]
  }
  for (const [name, [step, line, note]] of Object.entries(notes)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const { notes } = yield* rehearse(`steps:\n- ${step}`)
        assert.include(notes, `pipeline.yml: line ${line}: ${note}`)
        assert.lengthOf(
          notes.filter((note) => note.includes("Buildkite")),
          1
        )
      })
    )
  }

  it.effect("takes a file that keeps to its limits, without a note", () =>
    Effect.gen(function* () {
      const { jobs, notes } = yield* rehearse(`
        steps:
          - command: a
            key: 8ec0d1d8
            concurrency: 1
            concurrency_group: g
            branches: main
            retry: { automatic: [{ exit_status: -1 }, { exit_status: [0, 255] }] }
            matrix: { setup: { x: ${numbers(10)}, y: ${numbers(5)} } }
          - { command: b, parallelism: 2, if: build.tag == null, branches: ~ }
          - group: g
            steps: [{ command: c, skip: true }]
      `)
      assert.lengthOf(jobs, 52)
      assert.deepStrictEqual(notes, ["pipeline.yml: line 12: the step is skipped"])
    })
  )
})

it.effect("a field of a block that means nothing to the emulator is ignored, and reported", () =>
  Effect.gen(function* () {
    const { notes } = yield* rehearse("steps:\n- block: b\n  fields:\n  - { text: T, key: t, hint: h, multiple: true }")
    assert.include(notes, "pipeline.yml: line 4: `multiple` is ignored")
  })
)

describe("a wrong value is told with all types that it may have:", () => {
  const problems: Readonly<Record<string, readonly [step: string, problem: string]>> = {
    "a concurrency of 0": [
      "command: a\n  concurrency: 0\n  concurrency_group: g",
      "3:3: `concurrency` is at least 1, not 0."
    ],
    "a negative concurrency": ["command: a\n  concurrency: -1", "3:3: `concurrency` is at least 1, not -1."],
    "a list of exit statuses that may fail": [
      "command: a\n  soft_fail: [{ exit_status: [5, 6] }]",
      'Expected a whole number, or "*" for any, not a list. Write an entry with an `exit_status` for each.'
    ],
    "an exit status that may fail": [
      "command: a\n  soft_fail: [{ exit_status: x }]",
      'Expected a whole number, or "*" for any, not "x".'
    ],
    "a soft fail": [
      "command: a\n  soft_fail: { exit_status: 5 }",
      "Expected true, false or a list with an `exit_status` each, not a map."
    ],
    "an exit status to retry": [
      "command: a\n  retry: { automatic: { exit_status: x } }",
      'Expected a whole number, "*" for any, or a list of whole numbers, not "x".'
    ],
    "a signal to retry": [
      "command: a\n  retry: { automatic: { signal: {} } }",
      'Expected a text, "*" for any, or a list of texts, not a map.'
    ],
    "automatic retries": [
      "command: a\n  retry: { automatic: often }",
      'Expected true, false, a map with the conditions of a retry, or a list of such maps, not "often".'
    ],
    "a flag": ["command: a\n  cancel_on_build_failing: maybe", 'Expected true or false, not "maybe".'],
    "a skip": ["command: a\n  skip: [1]", "Expected true, false or a reason, not a list."],
    commands: ["command: { a: b }", "Expected a text or a list of texts, not a map."],
    branches: ["command: a\n  branches: { a: b }", "Expected a text or a list of texts, not a map."],
    "an environment": ["command: a\n  env: b", 'Expected a map of variables, or a list of NAME=VALUE, not "b".'],
    rules: ["command: a\n  agents: [{ queue: b }]", "Expected KEY=VALUE, or KEY for any value, not a map."],
    "a matrix": [
      "command: a\n  matrix: 5",
      "A matrix is a list of values, or a map with a `setup` and perhaps `adjustments`."
    ],
    dependencies: ["command: a\n  depends_on: [[b]]", "Expected the key of a step, or a map with a `step`, not a list."]
  }
  for (const [name, [step, problem]] of Object.entries(problems)) {
    it.effect(name, () =>
      Effect.map(Effect.flip(rehearse(`steps:\n- ${step}`)), ({ message }) => assert.include(message, problem))
    )
  }
})

it.effect("steps in a group without a limit run all at once", () =>
  Effect.gen(function* () {
    const { jobs } = yield* rehearse("steps:\n- { command: a, concurrency: 1 }\n- { command: b, concurrency: 1 }")
    assert.deepStrictEqual(
      jobs.map((job) => [labelOf(job), job.state]),
      [
        ["a", "scheduled"],
        ["b", "scheduled"]
      ]
    )
  })
)
