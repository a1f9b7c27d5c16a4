/** What becomes of a pipeline file: jobs as the service would make them, or an error that points at the place. */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { parse as parsePipeline } from "../../packages/node/src/internal/pipeline/pipeline.ts"

const parse = (text: string) => parsePipeline(text, { file: "pipeline.yml", queueKey: "_default", slug: "my-app" })

const pipelineOf = (text: string) => Result.getOrThrow(parse(text))
const jobsOf = (text: string) => pipelineOf(text).jobs
const problemOf = (text: string): string => Result.getOrThrow(Result.flip(parse(text))).message

/** The jobs by their labels, with the labels of those that each depends on. */
const dependencies = (text: string) => {
  const jobs = jobsOf(text)
  const labelOf = (job: (typeof jobs)[number]) => job.env?.["BUILDKITE_LABEL"] ?? ""
  const labels = new Map(jobs.map((job) => [job.id, labelOf(job)]))
  return Object.fromEntries(jobs.map((job) => [labelOf(job), (job.dependsOn ?? []).map((id) => labels.get(id))]))
}

describe("a command step", () => {
  it("is a job with the environment that the service would give it", () => {
    const [job] = jobsOf(`
      env: { STAGE: test, VERSION: 3.10, DEBUG: true }
      agents: { queue: linux, os: debian }
      steps:
        - { label: ":go: Test", key: test, command: make test, env: { STAGE: unit }, priority: 3 }
    `)
    assert.deepInclude(job, {
      queueKey: "linux",
      command: "make test",
      priority: 3,
      agentQueryRules: ["queue=linux", "os=debian"],
      step: { key: "test" }
    })
    assert.deepInclude(job?.pipeline, { slug: "my-app" })
    assert.deepInclude(job?.build, { number: 1, branch: "main" })
    const { BUILDKITE_JOB_ID, BUILDKITE_BUILD_ID, BUILDKITE_PIPELINE_ID, ...env } = job?.env ?? {}
    assert.strictEqual(BUILDKITE_JOB_ID, job?.id)
    assert.strictEqual(BUILDKITE_BUILD_ID, job?.build?.uuid ?? undefined)
    assert.strictEqual(BUILDKITE_PIPELINE_ID, job?.pipeline?.uuid ?? undefined)
    assert.deepStrictEqual(env, {
      STAGE: "unit",
      VERSION: "3.10",
      DEBUG: "true",
      CI: "true",
      BUILDKITE: "true",
      BUILDKITE_LABEL: ":go: Test",
      BUILDKITE_COMMAND: "make test",
      BUILDKITE_STEP_KEY: "test",
      BUILDKITE_PIPELINE_SLUG: "my-app",
      BUILDKITE_BUILD_NUMBER: "1",
      BUILDKITE_BRANCH: "main",
      BUILDKITE_COMMIT: "HEAD",
      BUILDKITE_SOURCE: "api"
    })
  })

  it("has the queue that it names, else the pipeline's, else the default", () => {
    const queues = (text: string) => jobsOf(text).map(({ agentQueryRules, queueKey }) => [queueKey, agentQueryRules])
    assert.deepStrictEqual(queues("steps: [{ command: a }, { command: b, agents: [queue=mac, xcode=16] }]"), [
      ["_default", []],
      ["mac", ["queue=mac", "xcode=16"]]
    ])
    assert.deepStrictEqual(
      queues("{ agents: { queue: linux }, steps: [{ command: a }, { command: b, agents: { gpu: 1 } }] }"),
      [
        ["linux", ["queue=linux"]],
        ["_default", ["gpu=1"]]
      ]
    )
  })

  it("may have rules that any value meets", () => {
    const rules = (agents: string) =>
      jobsOf(`steps: [{ command: a, agents: ${agents} }]`).map(({ agentQueryRules, queueKey }) => [
        queueKey,
        agentQueryRules
      ])
    assert.deepStrictEqual(rules("{ postgres: , queue: mac }"), [["mac", ["postgres=", "queue=mac"]]])
    assert.deepStrictEqual(rules("{ postgres: null, os: ~ }"), [["_default", ["postgres=", "os="]]])
    assert.deepStrictEqual(rules('{ postgres: "*" }'), [["_default", ["postgres=*"]]])
    assert.deepStrictEqual(rules('["postgres=", docker, "os=*"]'), [["_default", ["postgres=", "docker", "os=*"]]])
    // Any queue is the default one.
    for (const any of ["{ queue: }", '["queue="]', "[queue]", '["queue=*"]']) {
      assert.strictEqual(rules(any)[0]?.[0], "_default")
    }
    assert.deepStrictEqual(rules('["queue = mac"]')[0]?.[0], "mac")
  })

  it("may have several commands; what is escaped for an upload is not any more", () => {
    const [job] = jobsOf('steps: [{ commands: [cd app, "echo $$HOME $HOME \\\\$USER"] }]')
    assert.strictEqual(job?.command, "cd app\necho $HOME $HOME $USER")
    for (const env of ["{ AT: $$HOME/$x }", "[AT=$$HOME/$x]"]) {
      assert.strictEqual(jobsOf(`steps: [{ command: a, env: ${env} }]`)[0]?.env?.["AT"], "$HOME/$x")
    }
  })

  it("is as many jobs as its parallelism, each of which knows its number", () => {
    const jobs = jobsOf('steps: [{ command: test, parallelism: 3, label: "Shard %N/%t (%n)" }]')
    assert.deepStrictEqual(
      jobs.map(({ env }) => [
        env?.["BUILDKITE_LABEL"],
        env?.["BUILDKITE_PARALLEL_JOB"],
        env?.["BUILDKITE_PARALLEL_JOB_COUNT"]
      ]),
      [
        ["Shard 1/3 (0)", "0", "3"],
        ["Shard 2/3 (1)", "1", "3"],
        ["Shard 3/3 (2)", "2", "3"]
      ]
    )
    assert.strictEqual(new Set(jobs.map(({ id }) => id)).size, 3)
  })

  it("may be skipped, with a note", () => {
    const { jobs, notes } = pipelineOf(
      "steps:\n- { command: a, skip: not now }\n- { command: b, skip: '' }\n- { command: c, skip: false }"
    )
    assert.deepStrictEqual(
      jobs.map(({ command }) => command),
      ["b", "c"]
    )
    assert.deepStrictEqual(notes, ["line 2: the step is skipped"])
  })

  it("says what of it is ignored", () => {
    const { notes } = pipelineOf(
      "steps:\n- { command: a, plugins: [docker#v5] }\n- command: b\n  plugins: [x]\n  if: build.branch == 'main'\n- trigger: deploy\n- block: Sure?"
    )
    assert.deepStrictEqual(notes, [
      "line 6: the trigger step is left out",
      "line 7: the block step lets everything through",
      "`plugins` is ignored (lines 2, 4)",
      "`if` is ignored (line 5)"
    ])
  })
})

describe("a matrix", () => {
  it("of one list is a job for each value", () => {
    const jobs = jobsOf(
      'steps: [{ command: "test {{matrix}}", label: "{{ matrix }}", env: { V: "{{matrix}}" }, matrix: [1.10, b] }]'
    )
    assert.deepStrictEqual(
      jobs.map(({ command, env }) => [command, env?.["BUILDKITE_LABEL"], env?.["V"]]),
      [
        ["test 1.10", "1.10", "1.10"],
        ["test b", "b", "b"]
      ]
    )
  })

  it("of several dimensions is a job for each combination, with adjustments", () => {
    const jobs = jobsOf(`
      steps:
        - command: "{{matrix.os}} {{matrix.arch}}"
          agents: { queue: "{{matrix.os}}" }
          matrix:
            setup: { os: [linux, mac], arch: [arm, x86] }
            adjustments:
              - { with: { os: mac, arch: x86 }, skip: true }
              - { with: { os: linux, arch: arm }, soft_fail: true }
              - { with: { os: windows, arch: x86 }, soft_fail: [{ exit_status: 3 }] }
    `)
    assert.deepStrictEqual(
      jobs.map(({ command, queueKey, softFail }) => [command, queueKey, softFail]),
      [
        ["linux arm", "linux", true],
        ["linux x86", "linux", false],
        ["mac arm", "mac", false],
        ["windows x86", "windows", [3]]
      ]
    )
  })
})

it("a matrix with a dimension that is empty makes no job, however long the others are", () => {
  const long = `&l [${"x, ".repeat(1000)}]`
  const text = `steps: [{ command: a }, { command: b, matrix: { setup: { x: ${long}, y: *l, z: *l, none: [] } } }]`
  assert.lengthOf(jobsOf(text), 1)
})

describe("the order of jobs", () => {
  it("is none, but for what a `wait` or a `block` keeps back", () => {
    assert.deepStrictEqual(
      dependencies("steps: [{ command: a }, { command: b }, wait, { command: c }, { block: Sure? }, { command: d }]"),
      { a: [], b: [], c: ["a", "b"], d: ["a", "b", "c"] }
    )
  })

  it("follows `depends_on`, whatever stands between", () => {
    assert.deepStrictEqual(
      dependencies(`
        steps:
          - { command: later, depends_on: [{ step: first }] }
          - { command: first, key: first, parallelism: 2, label: "first %n" }
          - wait
          - { command: second, depends_on: first }
          - { command: free, depends_on: null }
      `),
      {
        later: ["first 0", "first 1"],
        "first 0": [],
        "first 1": [],
        second: ["first 0", "first 1"],
        free: []
      }
    )
  })

  it("holds for groups as a whole", () => {
    assert.deepStrictEqual(
      dependencies(`
        steps:
          - { command: install, key: install }
          - group: Checks
            key: checks
            depends_on: install
            steps: [{ command: lint }, wait, { command: types }]
          - { command: ship, depends_on: checks }
      `),
      { install: [], lint: ["install"], types: ["install"], ship: ["lint", "types"] }
    )
  })

  it("may allow failures", () => {
    const allowed = jobsOf(`
      steps:
        - { command: a, key: a }
        - { wait: null, continue_on_failure: true }
        - { command: b }
        - { command: c, depends_on: [{ step: a, allow_failure: true }] }
        - { command: d, depends_on: a, allow_dependency_failure: true }
        - { command: e, depends_on: a }
    `).map(({ allowDependencyFailure }) => allowDependencyFailure)
    assert.deepStrictEqual(allowed, [undefined, true, true, true, false])
  })
})

describe("a file that can't be used", () => {
  const problems: Readonly<Record<string, readonly [text: string, problem: string]>> = {
    "is empty": ["", "1:1: The file is empty. A pipeline has a list of `steps`."],
    "has no steps": ["env: { A: 1 }", "1:1: There are no `steps`. A pipeline has a list of them."],
    "has steps that are no list": ["steps: make", '1:8: Expected a list, not "make".'],
    "has no jobs": ["steps: [wait]", "1:1: These steps have no command to run, so there are no jobs."],
    "is no YAML": ["steps:\n  - command: [a", "2:16: Not YAML: Flow sequence"],
    "has a field twice": ["steps:\n  - command: a\n    command: b", "3:5: Not YAML: Map keys must be unique."],
    "has an alias of nothing": ["steps: *shared", "1:8: There is no anchor &shared."],
    "merges a map into itself": ["steps:\n  - &a { command: b, <<: *a }", "This map is merged into itself."],
    "has a step of an unknown kind": ["steps:\n  - foo", "2:5: This step is of no known kind."],
    "has a text where there must be a number": [
      "steps:\n  - { command: a, priority: high }",
      '2:29: Expected a whole number, not "high".'
    ],
    "has a list where there must be a text": [
      "steps:\n  - { command: a, label: [b] }",
      "2:26: Expected a text, not a list."
    ],
    "asks for too many jobs": [
      "steps: [{ command: a, parallelism: 5000 }]",
      "1:36: `parallelism` is from 0 to 1000, not 5000."
    ],
    "has a matrix with too many combinations": [
      "steps: [{ command: a, matrix: { setup: { x: &l [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], y: *l, z: *l, u: [1, 2] } } }]",
      "1:40: A matrix has at most 1000 combinations, not 2000."
    ],
    "has a matrix with more combinations than anybody could count": [
      `steps: [{ command: a, matrix: { setup: { a: &l [${"x, ".repeat(1000)}], ${Array.from({ length: 200 }, (_, i) => `d${i}: *l`).join(", ")} } } }]`,
      "A matrix has at most 1000 combinations, not Infinity."
    ],
    "has a matrix that is a long list": [
      `steps: [{ command: a, matrix: [${"x, ".repeat(1001)}] }]`,
      "1:31: A matrix has at most 1000 combinations, not 1001."
    ],
    "has a matrix with too many adjustments": [
      `steps: [{ command: a, matrix: { setup: { os: [a] }, adjustments: [${Array.from({ length: 1000 }, (_, i) => `{ with: { os: ${i} } }`).join(", ")}] } }]`,
      "1:31: A matrix has at most 1000 combinations, not 1001."
    ],
    "asks for too many jobs of each combination": [
      "steps: [{ command: a, parallelism: 1000, matrix: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] }]",
      "1:9: A step makes at most 10000 jobs, not 11000."
    ],
    "depends on an unknown step": ["steps: [{ command: a, depends_on: b }]", '1:35: No step has the key "b".'],
    "has a key twice": [
      "steps: [{ command: a, key: k }, { command: b, key: k }]",
      '1:33: The key "k" is that of an earlier step.'
    ],
    "depends on itself": [
      "steps:\n  - { command: a, key: a, depends_on: b }\n  - { command: b, key: b, depends_on: a }",
      "2:5: This step depends on itself, by way of `depends_on`."
    ],
    "names a dimension that its matrix lacks": [
      'steps: [{ command: "{{matrix.os}}", matrix: [a] }]',
      "1:9: The step's matrix has no value for {{matrix.os}}."
    ],
    "adjusts what its matrix lacks": [
      "steps: [{ command: a, matrix: { setup: { os: [b] }, adjustments: [{ with: { arch: c } }] } }]",
      "1:75: `with` names a value for each dimension of the setup: `os`."
    ],
    "has groups in groups": [
      "steps: [{ group: a, steps: [{ group: b, steps: [] }] }]",
      "1:29: A group can't have groups in it."
    ],
    "has an environment of another form": [
      "{ env: [A], steps: [{ command: a }] }",
      '1:9: Expected NAME=VALUE, not "A".'
    ]
  }
  for (const [name, [text, problem]] of Object.entries(problems)) {
    it(name, () => assert.include(problemOf(text), problem))
  }

  it("is named, with the line and the column", () => {
    assert.match(problemOf("steps:\n  - foo"), /^pipeline\.yml:2:5: /)
  })
})

it("anchors and merged maps are followed, and a bare list of steps will do", () => {
  const jobs = jobsOf(`
    - &base { command: a, agents: { queue: mac } }
    - { <<: *base, command: b }
    - { <<: [*base, { priority: 2 }] }
  `)
  assert.deepStrictEqual(
    jobs.map(({ command, priority, queueKey }) => [command, queueKey, priority]),
    [
      ["a", "mac", undefined],
      ["b", "mac", undefined],
      ["a", "mac", 2]
    ]
  )
})

it("a file has the same ids in every run", () => {
  const text = "steps: [{ command: a }, { command: b }]"
  assert.deepStrictEqual(jobsOf(text), jobsOf(text))
})
