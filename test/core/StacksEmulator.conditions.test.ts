/** The conditions of steps: `if` and `branches`. */
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"

interface Build {
  readonly branch?: string
  readonly env?: Readonly<Record<string, string>>
}

/** The states of steps with these fields. */
const statesOf = (steps: ReadonlyArray<Readonly<Record<string, unknown>>>, build: Build = {}) =>
  Effect.gen(function* () {
    const emulator = yield* StacksEmulator.make()
    const { uuid } = yield* emulator.startBuild({ pipelineSlug: "my-app", ...build })
    const uploaded = yield* emulator.uploadPipelines([{ steps: steps.map((step) => ({ command: "make", ...step })) }], {
      buildUuid: uuid
    })
    return uploaded.steps.map(({ hold, state }) => (hold === undefined ? state : "held"))
  }).pipe(Effect.scoped)

/** Whether a step with a condition runs. */
const whetherRuns = (condition: string, build?: Build) =>
  Effect.map(statesOf([{ if: condition }], build), ([state]) =>
    state === "running" ? true : state === "skipped" ? false : "held"
  )

const build: Build = {
  branch: "feature/login",
  env: {
    BUILDKITE_MESSAGE: "Add it\n[skip tests] please",
    BUILDKITE_TAG: "v1.0",
    BUILDKITE_PULL_REQUEST: "12",
    BUILDKITE_PULL_REQUEST_BASE_BRANCH: "main",
    BUILDKITE_PULL_REQUEST_LABELS: "bug,ui",
    STAGE: "production",
    NOTHING: ""
  }
}

const table = (expected: boolean | "held", conditions: ReadonlyArray<string>, of?: Build) =>
  Effect.forEach(conditions, (condition) =>
    Effect.map(whetherRuns(condition, of), (runs) => assert.strictEqual(runs, expected, condition))
  )

describe("a condition", () => {
  it.effect("compares what is known of the build", () =>
    Effect.gen(function* () {
      yield* table(
        true,
        [
          'build.branch == "feature/login"',
          "build.branch != 'main'",
          "build.number == 1",
          'build.tag == "v1.0" && build.source == "api"',
          'pipeline.slug == "my-app"',
          'pipeline.default_branch == "main"',
          'build.pull_request.base_branch == "main"',
          'build.pull_request.id == "12"',
          "!build.pull_request.draft",
          'build.pull_request.labels includes "ui"',
          "build.pull_request.labels includes /^b/",
          '["main", "feature/login"] includes build.branch'
        ],
        build
      )
      yield* table(
        false,
        [
          'build.branch == "main"',
          "build.tag == null",
          'build.pull_request.labels includes "docs"',
          "build.number == '1'"
        ],
        build
      )
    })
  )

  it.effect("knows nothing of a tag or a pull request where there is none", () =>
    Effect.gen(function* () {
      yield* table(true, [
        "build.tag == null",
        "build.tag !~ /^v/",
        "build.pull_request.id == null",
        "build.pull_request.base_branch == null",
        "!build.pull_request.draft",
        'build.env("BUILDKITE_TAG") == null'
      ])
      yield* table(false, ["build.tag != null", "build.tag =~ /^v/", 'build.pull_request.labels includes "x"'])
    })
  )

  it.effect("matches regular expressions, whose anchors are those of lines", () =>
    Effect.gen(function* () {
      yield* table(
        true,
        [
          String.raw`build.branch =~ /^feature\//`,
          String.raw`build.message =~ /\[SKIP TESTS\]/i`,
          String.raw`build.message =~ /(?i)^add\s+it/`,
          "build.message =~ /^Add it$/",
          String.raw`build.message =~ /\AAdd/ && build.message =~ /please\z/`,
          String.raw`build.tag =~ /^v[0-9]+\.0$/`,
          "build.message =~ /it.\\[skip/m"
        ],
        build
      )
      yield* table(
        false,
        [String.raw`build.message =~ /\A\[skip/`, "build.message =~ /it.\\[skip/", "build.branch !~ /login/"],
        build
      )
    })
  )

  it.effect("reads variables of the build, of the file, and of the service", () =>
    Effect.gen(function* () {
      yield* table(
        true,
        [
          'build.env("STAGE") == "production"',
          'build.env("NOTHING") == ""',
          'build.env("MISSING") == null',
          'env("MISSING") == ""',
          "build.env('BUILDKITE_BRANCH') =~ /^feature/",
          'build.env("BUILDKITE_PIPELINE_SLUG") == "my-app"'
        ],
        build
      )
    })
  )

  it.effect("connects parts with !, &&, ||, ? and brackets, and has comments", () =>
    Effect.gen(function* () {
      yield* table(true, [
        "true || false && false",
        "!(true && false)",
        "!!true",
        "!null",
        'build.branch == "main" ? true : false',
        "(false || true) && // for now\n true",
        "// a comment\nbuild.branch == 'main' &&\n  !build.tag",
        String.raw`"a\"b\n" == 'a"b' || 'it\'s' == "it's"`,
        ""
      ])
      yield* table(false, ["true && false", "!true", "null == false", "'a' == 1"])
    })
  )

  it.effect("that can't be evaluated holds its step, which somebody may let through", () =>
    Effect.gen(function* () {
      yield* table("held", [
        'build.creator.teams includes "deploy"',
        "build.author.name == 'me'",
        "build.state == 'passed'",
        "build.branch = 'main'",
        "build.branch",
        "build.branch == ",
        "build.branch =~ 'main'",
        "build.number =~ /1/",
        "build.branch includes 'a'",
        "(build.branch == 'main'",
        "unknown('x')",
        "build.env() == 'x'",
        "build.branch =~ /(/",
        "build.branch =~ /a/q",
        "$UNKNOWN == 'x'",
        "'open"
      ])
      // What is known may decide.
      yield* table(false, ["build.author.name == 'me' && build.branch != 'main'"])
      yield* table(true, ["build.author.name == 'me' || build.branch == 'main'"])

      const emulator = yield* StacksEmulator.make()
      yield* emulator.uploadPipelines([
        { steps: [{ key: "deploy", command: "deploy", if: 'build.creator.teams includes "deploy"' }] }
      ])
      const states = Effect.map(emulator.jobs, (jobs) => jobs.map(({ state }) => state))
      assert.deepStrictEqual(yield* states, ["blocked"])
      const [step] = yield* emulator.steps
      assert.strictEqual(
        step?.hold,
        "the command step is held: its condition can't be evaluated. The emulator does not know build.creator.teams."
      )
      yield* emulator.unblock("deploy")
      assert.deepStrictEqual(yield* states, ["scheduled"])
    }).pipe(Effect.scoped)
  )

  it.effect("may be that of any step; what depends on a step that is left out runs all the same", () =>
    Effect.gen(function* () {
      const never = { if: "false" }
      assert.deepStrictEqual(
        yield* statesOf([
          { command: undefined, block: "Sure?", ...never },
          { command: undefined, wait: null, ...never },
          { command: undefined, trigger: "other", ...never },
          { command: undefined, group: "g", key: "g", steps: [{ command: "a" }], ...never },
          { depends_on: "g" },
          {}
        ]),
        ["skipped", "skipped", "skipped", "skipped", "running", "running"]
      )
    })
  )
})

describe("a branch filter", () => {
  const filters: ReadonlyArray<readonly [branches: string | ReadonlyArray<string>, yes: string, no: string]> = [
    ["main", "main", "main2"],
    ["!production", "main", "production"],
    ["main features/*", "features/a/b", "feature"],
    ["*-test", "rails-test", "test"],
    ["stages/* !stages/production", "stages/demo", "stages/production"],
    ["v*.0", "v1.0", "v1x0"],
    [["main", "release/*"], "release/1", "other"],
    ["a.b", "a.b", "axb"]
  ]
  for (const [branches, yes, no] of filters) {
    it.effect(`of ${JSON.stringify(branches)} lets ${yes} through, and not ${no}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* statesOf([{ branches }], { branch: yes }), ["running"])
        assert.deepStrictEqual(yield* statesOf([{ branches }], { branch: no }), ["skipped"])
      })
    )
  }
})
