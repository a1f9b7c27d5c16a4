/** What becomes of a pipeline file: jobs as the service would make them, or an error that points at the place. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Layer } from "effect"
import { labelOf, type Options, rehearse, rounds, statesOf } from "../../support/rehearse.ts"

const jobsOf = (text: string, options?: Options) => Effect.map(rehearse(text, options), ({ jobs }) => jobs)
const notesOf = (text: string, options?: Options) => Effect.map(rehearse(text, options), ({ notes }) => notes)
const problemOf = (text: string) => Effect.map(Effect.flip(rehearse(text)), ({ message }) => message)

/** The labels of the jobs that run together, if all pass. */
const order = (text: string) => Effect.flatMap(rehearse(text), ({ emulator }) => rounds(emulator))

const rulesOf = (text: string) =>
  Effect.map(jobsOf(text), (jobs) => jobs.map(({ agentQueryRules, queueKey }) => [queueKey, agentQueryRules]))

describe("a command step", () => {
  it.effect("is a job with the environment that the service would give it", () =>
    Effect.gen(function* () {
      const [job] = yield* jobsOf(`
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
      assert.deepInclude(job?.env, {
        STAGE: "unit",
        // A number is the shortest one with its value, as the agent writes it.
        VERSION: "3.1",
        DEBUG: "true",
        CI: "true",
        BUILDKITE: "true",
        BUILDKITE_JOB_ID: job?.id ?? "",
        BUILDKITE_BUILD_ID: job?.build.uuid ?? "",
        BUILDKITE_PIPELINE_ID: job?.pipeline.uuid ?? "",
        BUILDKITE_LABEL: ":go: Test",
        BUILDKITE_COMMAND: "make test",
        BUILDKITE_STEP_KEY: "test",
        BUILDKITE_PIPELINE_SLUG: "my-app",
        BUILDKITE_BUILD_NUMBER: "1",
        BUILDKITE_BRANCH: "main",
        BUILDKITE_TAG: "",
        BUILDKITE_COMMIT: "HEAD"
      })
    })
  )

  it.effect("has its own rules and those of the pipeline that it does not override", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* rulesOf(`
          agents: { queue: linux, memory: 8G }
          steps:
            - command: a
            - { command: b, agents: { memory: 20G } }
            - { command: c, agents: [queue=mac, xcode] }
            - { command: d, agents: {} }
            - { command: e, agents: ~ }
        `),
        [
          ["linux", ["queue=linux", "memory=8G"]],
          ["linux", ["queue=linux", "memory=20G"]],
          ["mac", ["memory=8G", "queue=mac", "xcode"]],
          ["linux", ["queue=linux", "memory=8G"]],
          ["linux", ["queue=linux", "memory=8G"]]
        ]
      )
      assert.deepStrictEqual(yield* rulesOf("steps: [{ command: a, agents: [queue=mac, xcode=16] }]"), [
        ["mac", ["queue=mac", "xcode=16"]]
      ])
      assert.deepStrictEqual(yield* rulesOf("{ agent_query_rules: [queue=mac], steps: [{ command: a }] }"), [
        ["mac", ["queue=mac"]]
      ])
    })
  )

  it.effect("may have rules that any value meets, and rules that all agents meet", () =>
    Effect.gen(function* () {
      const rules = (agents: string) => rulesOf(`steps: [{ command: a, agents: ${agents} }]`)
      assert.deepStrictEqual(yield* rules("{ postgres: , queue: mac }"), [["mac", ["postgres=", "queue=mac"]]])
      assert.deepStrictEqual(yield* rules("{ postgres: null, os: ~ }"), [["_default", ["postgres=", "os="]]])
      assert.deepStrictEqual(yield* rules('{ postgres: "*" }'), [["_default", ["postgres=*"]]])
      assert.deepStrictEqual(yield* rules('["postgres=", docker, "os=*", "", ~]'), [
        ["_default", ["postgres=", "docker", "os=*"]]
      ])
      // Any queue is the default one.
      for (const any of ["{ queue: }", '["queue="]', "[queue]", '["queue=*"]']) {
        assert.strictEqual((yield* rules(any))[0]?.[0], "_default")
      }
      assert.deepStrictEqual((yield* rules('["queue = mac"]'))[0]?.[0], "mac")
    })
  )

  it.effect("has the variables of the file expanded, wherever they are, and those that are escaped kept", () =>
    Effect.gen(function* () {
      const [build, shard] = yield* jobsOf(`
        env:
          SMALL: "\${SMALL_QUEUE:-linux-small}"
          CACHE: "/cache/$BUILDKITE_PIPELINE_SLUG"
        agents:
          queue: "$SMALL"
        steps:
          - label: "Build \${BUILDKITE_BRANCH} for $$HOME"
            key: "build-$BUILDKITE_BRANCH"
            command: echo '\${BUILDKITE_BRANCH}' "$CACHE" \\$USER
          - { label: shard, command: 'echo "shard-\${BUILDKITE_PARALLEL_JOB}"', parallelism: "\${SHARDS:-2}" }
      `)
      assert.deepInclude(build, {
        queueKey: "linux-small",
        agentQueryRules: ["queue=linux-small"],
        command: `echo 'main' "/cache/my-app" $USER`,
        step: { key: "build-main" }
      })
      assert.deepInclude(build?.env, {
        SMALL: "linux-small",
        CACHE: "/cache/my-app",
        BUILDKITE_LABEL: "Build main for $HOME"
      })
      assert.strictEqual(shard?.command, 'echo "shard-"')
      assert.strictEqual(shard?.env["BUILDKITE_PARALLEL_JOB_COUNT"], "2")
    })
  )

  it.effect("tells which variables are not set, so that they become empty", () =>
    Effect.gen(function* () {
      const text = `steps:\n- command: echo $UNKNOWN \${KNOWN:-x} $$LATER\n- { label: $UNKNOWN, command: b }`
      assert.deepStrictEqual(yield* notesOf(text), [
        "pipeline.yml: lines 2, 3: $UNKNOWN is not set when the pipeline is uploaded, so it becomes empty; $$UNKNOWN is a variable of the job"
      ])
      assert.deepStrictEqual(yield* notesOf(text, { env: { UNKNOWN: "x" } }), [])
    })
  )

  it.effect("is as many jobs as its parallelism, each of which knows its number", () =>
    Effect.gen(function* () {
      const jobs = yield* jobsOf('steps: [{ command: test, parallelism: "3", label: "Shard %N/%t (%n)" }]')
      assert.deepStrictEqual(
        jobs.map((job) => [labelOf(job), job.env["BUILDKITE_PARALLEL_JOB"], job.env["BUILDKITE_PARALLEL_JOB_COUNT"]]),
        [
          ["Shard 1/3 (0)", "0", "3"],
          ["Shard 2/3 (1)", "1", "3"],
          ["Shard 3/3 (2)", "2", "3"]
        ]
      )
      assert.strictEqual(new Set(jobs.map(({ id }) => id)).size, 3)
    })
  )

  it.effect("may be skipped, with a note", () =>
    Effect.gen(function* () {
      const { jobs, notes } = yield* rehearse(
        "steps:\n- { command: a, skip: not now }\n- { command: b, skip: '' }\n- { command: c, skip: false }\n- { command: d, parallelism: 0 }"
      )
      assert.deepStrictEqual(
        jobs.map(({ command }) => command),
        ["b", "c"]
      )
      assert.deepStrictEqual(notes, [
        "pipeline.yml: line 2: the step is skipped: not now",
        "pipeline.yml: line 5: the step is skipped: its parallelism is 0"
      ])
    })
  )

  it.effect("says what of it is ignored", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* notesOf("steps:\n- { command: a, image: x }\n- command: b\n  image: y\n  notify: []"),
        ["pipeline.yml: lines 2, 4: `image` is ignored", "pipeline.yml: line 5: `notify` is ignored"]
      )
    })
  )

  it.effect("gives agents its plugins, artifact paths and time limit", () =>
    Effect.gen(function* () {
      const [job] = yield* jobsOf(`
        steps:
          - command: make
            plugins: [{ docker#v5: { image: "node:{{matrix}}" } }, cache]
            artifact_paths: [logs/*, "cov/**/*"]
            timeout_in_minutes: 5
            matrix: ['2"0']
      `)
      assert.deepStrictEqual(JSON.parse(job?.env["BUILDKITE_PLUGINS"] ?? ""), [
        { "github.com/buildkite-plugins/docker-buildkite-plugin#v5": { image: 'node:2"0' } },
        { "github.com/buildkite-plugins/cache-buildkite-plugin": null }
      ])
      assert.deepInclude(job?.env, { BUILDKITE_ARTIFACT_PATHS: "logs/*;cov/**/*", BUILDKITE_TIMEOUT: "5" })
    })
  )
})

describe("a matrix", () => {
  it.effect("of one list is a job for each value", () =>
    Effect.gen(function* () {
      const jobs = yield* jobsOf(
        'steps: [{ command: "test {{matrix}}", label: "{{ matrix }}", env: { V: "{{matrix}}" }, matrix: ["1.10", b] }]'
      )
      assert.deepStrictEqual(
        jobs.map((job) => [job.command, labelOf(job), job.env["V"]]),
        [
          ["test 1.10", "1.10", "1.10"],
          ["test b", "b", "b"]
        ]
      )
    })
  )

  it.effect("of several dimensions is a job for each combination, with adjustments", () =>
    Effect.gen(function* () {
      const { emulator } = yield* rehearse(`
        steps:
          - command: "{{matrix.os.name}} {{matrix.arch}}"
            agents: { queue: "{{matrix.os.name}}" }
            matrix:
              setup: { os.name: [linux, mac], arch: [arm, x86] }
              adjustments:
                - { with: { os.name: mac, arch: x86 }, skip: true }
                - { with: { os.name: linux, arch: arm }, soft_fail: true }
                - { with: { os.name: windows, arch: x86 }, soft_fail: [{ exit_status: 3 }] }
          - wait
          - command: next
      `)
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ command, queueKey }) => [command, queueKey]),
        [
          ["linux arm", "linux"],
          ["linux x86", "linux"],
          ["mac arm", "mac"],
          ["windows x86", "windows"],
          ["next", "_default"]
        ]
      )
      assert.lengthOf(yield* rounds(emulator, { "linux arm": 1, "windows x86": 3 }), 2)
    })
  )

  it.effect("may be adjusted for all combinations with a value; a skip wins over all else", () =>
    Effect.gen(function* () {
      const jobs = yield* jobsOf(`
        steps:
          - command: publish {{matrix.go}} {{matrix.pkg}}
            matrix:
              setup: { go: [amd64, arm64], pkg: [NONE] }
              adjustments:
                - with: { go: amd64, pkg: x86_64 }
                - with: { go: arm64, pkg: aarch64 }
                - with: { pkg: NONE }
                  skip: true
                - with: { go: amd64, pkg: NONE }
                  skip: false
      `)
      assert.deepStrictEqual(
        jobs.map(({ command }) => command),
        ["publish amd64 x86_64", "publish arm64 aarch64"]
      )
    })
  )

  it.effect("with a dimension that is empty makes no job, however long the others are", () =>
    Effect.gen(function* () {
      const long = `&l [${"x, ".repeat(1000)}]`
      const text = `steps: [{ command: a }, { command: b, matrix: { setup: { x: ${long}, y: *l, z: *l, none: [] } } }]`
      assert.lengthOf(yield* jobsOf(text), 1)
    })
  )
})

describe("the order of jobs", () => {
  it.effect("is none, but for what a `wait` keeps back", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* order("steps: [{ command: a }, { command: b }, wait, { command: c }, { waiter: ~ }, { command: d }]"),
        [["a", "b"], ["c"], ["d"]]
      )
    })
  )

  it.effect("follows `depends_on`, whatever stands between", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* order(`
          steps:
            - { command: later, depends_on: [{ step: first }] }
            - { command: first, key: first, parallelism: 2, label: "first %n" }
            - wait
            - { command: second, depends_on: first }
            - { command: free, depends_on: null }
        `),
        [
          ["first 0", "first 1", "free"],
          ["later", "second"]
        ]
      )
    })
  )

  it.effect("holds for groups as a whole", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* order(`
          steps:
            - { command: install, key: install }
            - group: Checks
              key: checks
              depends_on: install
              steps: [{ command: lint }, wait, { command: types }]
            - { command: ship, depends_on: checks }
        `),
        [["install"], ["lint"], ["types"], ["ship"]]
      )
    })
  )

  it.effect("may allow failures", () =>
    Effect.gen(function* () {
      const { emulator } = yield* rehearse(`
        steps:
          - { command: a, key: a }
          - { command: c, depends_on: [{ step: a, allow_failure: true }] }
          - { command: d, depends_on: a, allow_dependency_failure: true }
          - { command: e, depends_on: a }
          - { wait: null, continue_on_failure: true }
          - { command: b }
      `)
      yield* rounds(emulator, { a: 1 })
      assert.deepStrictEqual(yield* statesOf(emulator), {
        a: "finished",
        b: "finished",
        c: "finished",
        d: "finished",
        e: "waiting_failed"
      })
    })
  )

  it.effect("is that of one build, if there are several files or documents", () =>
    Effect.gen(function* () {
      const { emulator } = yield* rehearse([
        "steps: [{ command: e2e, depends_on: fixture }]\n---\nsteps: [{ command: lint }]",
        "steps: [{ command: fixture, key: fixture }]"
      ])
      assert.deepStrictEqual(yield* rounds(emulator), [["lint", "fixture"], ["e2e"]])
    })
  )

  it.effect("does not depend on steps that are in no file: that is told", () =>
    Effect.gen(function* () {
      const { emulator, notes } = yield* rehearse(
        "steps:\n- command: e2e\n  depends_on: fixture\n- command: lint\n- command: ship\n  depends_on: [{ step: other }]"
      )
      assert.deepStrictEqual(yield* rounds(emulator), [["e2e", "lint", "ship"]])
      assert.deepStrictEqual(notes, [
        'pipeline.yml: line 3: no step has the key "fixture": that dependency counts as passed',
        'pipeline.yml: line 6: no step has the key "other": that dependency counts as passed'
      ])
    })
  )
})

describe("a file that can't be used", () => {
  const problems: Readonly<Record<string, readonly [text: string, problem: string]>> = {
    "is empty": ["", "1:1: The file is empty."],
    "has nothing in it": ["--- ~", "The file is empty. A pipeline has a list of `steps`."],
    "has steps that are no list": ["steps: make", '1:1: Expected a list of steps, not "make".'],
    "is no YAML": ["steps:\n  - command: [a", "2:16: Not YAML: Flow sequence"],
    "has an alias of nothing": ["steps: *shared", "1:8: There is no anchor &shared."],
    "has a value that is a part of itself": ["steps:\n  - &a { command: b, c: *a }", "This value is a part of itself."],
    "has a step of an unknown kind": ["steps:\n  - foo", "2:5: This step is of no known kind."],
    "has a variable without a value that it must have": [
      `steps:\n  - command: \${TAG?a tag is needed}`,
      "2:5: $TAG: a tag is needed."
    ],
    "has a text where there must be a number": [
      "steps:\n  - { command: a, priority: high }",
      '2:19: Expected a whole number, not "high".'
    ],
    "asks for too many jobs": [
      "steps: [{ command: a, parallelism: 5000 }]",
      "`parallelism` is from 0 to 1000, not 5000."
    ],
    "has a matrix with too many combinations": [
      "steps: [{ command: a, matrix: { setup: { x: &l [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], y: *l, z: *l, u: [1, 2] } } }]",
      "A matrix has at most 1000 combinations, not 2000."
    ],
    "has a matrix with more combinations than anybody could count": [
      `steps: [{ command: a, matrix: { setup: { a: &l [${"x, ".repeat(100)}], ${Array.from({ length: 200 }, (_, i) => `d${i}: *l`).join(", ")} } } }]`,
      "A matrix has at most 1000 combinations, not Infinity."
    ],
    "has a matrix that is a long list": [
      `steps: [{ command: a, matrix: [${"x, ".repeat(1001)}] }]`,
      "A matrix has at most 1000 combinations, not 1001."
    ],
    "has a matrix with too many adjustments": [
      `steps: [{ command: a, matrix: { setup: { os: [a] }, adjustments: [${Array.from({ length: 1000 }, (_, i) => `{ with: { os: ${i} } }`).join(", ")}] } }]`,
      "A matrix has at most 1000 combinations, not 1001."
    ],
    "asks for too many jobs of each combination": [
      "steps: [{ command: a, parallelism: 1000, matrix: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] }]",
      "A step makes at most 10000 jobs, not 11000."
    ],
    "has a key twice": [
      "steps:\n- { command: a, key: k }\n- { command: b, key: k }",
      '3:3: The key "k" is that of an earlier step.'
    ],
    "depends on itself": [
      "steps:\n  - { command: a, key: a, depends_on: b }\n  - { command: b, key: b, depends_on: a }",
      "2:5: This step depends on itself, by way of `depends_on`."
    ],
    "names a dimension that its matrix lacks": [
      'steps: [{ command: "{{matrix.os}}", matrix: [a] }]',
      "The step's matrix has no value for {{matrix.os}}."
    ],
    "adjusts what its matrix lacks": [
      "steps: [{ command: a, matrix: { setup: { os: [b] }, adjustments: [{ with: { arch: c } }] } }]",
      "`with` names values for dimensions of the setup: `os`."
    ],
    "has groups in groups": [
      "steps: [{ group: a, steps: [{ group: b, steps: [] }] }]",
      "A group can't have groups in it."
    ],
    "has an environment of another form": ["steps: [{ command: a, env: [A] }]", 'Expected NAME=VALUE, not "A".']
  }
  for (const [name, [text, problem]] of Object.entries(problems)) {
    it.effect(name, () => Effect.map(problemOf(text), (message) => assert.include(message, problem)))
  }

  it.effect("is named, with the line and the column", () =>
    Effect.map(problemOf("steps:\n  - foo"), (message) => assert.match(message, /^pipeline\.yml:2:5: /))
  )
})

it.effect("anchors and merged maps are followed, and a bare list of steps will do", () =>
  Effect.gen(function* () {
    const jobs = yield* jobsOf(`
      - &base { command: a, agents: { queue: mac } }
      - { <<: *base, command: b }
      - { <<: [*base, { priority: 2 }] }
    `)
    assert.deepStrictEqual(
      jobs.map(({ command, priority, queueKey }) => [command, queueKey, priority]),
      [
        ["a", "mac", 0],
        ["b", "mac", 0],
        ["a", "mac", 2]
      ]
    )
  })
)

it.effect("a file has the same ids in every run", () =>
  Effect.gen(function* () {
    const text = "steps: [{ command: a }, { command: b }]"
    const ids = Effect.map(jobsOf(text), (jobs) => jobs.map(({ id }) => id))
    assert.deepStrictEqual(yield* ids, yield* ids)
  })
)

describe("a rehearsal of", () => {
  const textOf = (path: string) => readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), "utf8")

  it.effect("this repository's own pipeline runs its steps in order", () =>
    Effect.gen(function* () {
      const { emulator, held, notes } = yield* rehearse(textOf(".buildkite/pipeline.yml"))
      assert.deepStrictEqual([held, notes], [[], []])
      const [first, second, ...others] = yield* rounds(emulator)
      assert.deepStrictEqual(first, ["Install"])
      assert.includeMembers([...(second ?? [])], ["Format", "Lint", "Types", "Unit tests: test/core/StacksError"])
      assert.deepStrictEqual(others, [["Build"]])
    })
  )

  it.effect("a matrix with blocks waits for somebody, twice", () =>
    Effect.gen(function* () {
      const { emulator, held, notes } = yield* rehearse(textOf("examples/pipelines/matrix-and-blocks.yml"))
      assert.deepStrictEqual(
        held.map(({ key }) => key),
        ["staging", "release"]
      )
      assert.include(notes, "pipeline.yml: line 42: the step is left out: its condition is false")
      assert.deepStrictEqual(yield* rounds(emulator, { "Build for freebsd x86": 1 }), [
        ["Build for linux x86", "Build for linux arm", "Build for mac arm", "Build for freebsd x86"]
      ])
      yield* emulator.unblock("staging")
      assert.deepStrictEqual(yield* rounds(emulator), [["Deploy to staging"]])
      yield* emulator.unblock("release", { "release-name": "Dolphin" })
      assert.deepStrictEqual(yield* rounds(emulator), [["Release"]])
      const [build] = yield* emulator.builds
      assert.deepStrictEqual(build?.metaData, { "release-name": "Dolphin", "release-stream": "beta" })
    })
  )

  it.effect("retries with soft fails goes on after what may fail", () =>
    Effect.gen(function* () {
      const { emulator } = yield* rehearse(textOf("examples/pipelines/retries-and-soft-fails.yml"))
      assert.deepStrictEqual(yield* rounds(emulator, { Flaky: 1, Lint: 3 }), [["Flaky", "Lint"], ["Flaky"], ["Flaky"]])
      const again = yield* rehearse(textOf("examples/pipelines/retries-and-soft-fails.yml"))
      assert.deepStrictEqual(yield* rounds(again.emulator, { Lint: 3, Integration: 7 }), [
        ["Flaky", "Lint"],
        ["Integration"],
        ["Report"]
      ])
      assert.strictEqual((yield* statesOf(again.emulator))["Publish"], "waiting_failed")
    })
  )

  it.effect("the retry rule to copy runs a job again that the stack or its machine has ended, and no other", () =>
    Effect.gen(function* () {
      const isRetried = Effect.fnUntraced(function* (exitStatus: number, signalReason?: string) {
        const { emulator } = yield* rehearse(textOf("examples/pipelines/retry-lost-jobs.yml"))
        yield* Effect.gen(function* () {
          const client = yield* StacksClient.StacksClient
          const stackKey = "k"
          const [job] = yield* emulator.jobs
          assert(job)
          yield* client.registerStack({ key: stackKey, type: "custom", queueKey: job.queueKey })
          yield* client.batchReserveJobs({ stackKey, jobUuids: [job.id], reservationExpiry: "5 minutes" })
          yield* client.finishJob({ stackKey, jobUuid: job.id, exitStatus, detail: "ended", signalReason })
        }).pipe(
          Effect.provide(
            StacksEmulator.layerClient.pipe(Layer.provide(Layer.succeed(StacksEmulator.StacksEmulator, emulator)))
          )
        )
        return (yield* emulator.jobs).length === 2
      })
      assert.isTrue(yield* isRetried(-1, "agent_stop"))
      assert.isTrue(yield* isRetried(143, "agent_stop"))
      assert.isTrue(yield* isRetried(-1, "stack_error"))
      assert.isTrue(yield* isRetried(-1))
      assert.isFalse(yield* isRetried(1))
      assert.isFalse(yield* isRetried(0))
    })
  )
})
