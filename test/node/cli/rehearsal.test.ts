/** A rehearsal in two terminals: `stacksapi emulator --pipeline`, and what unblocks its steps and runs its jobs. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { registration } from "../../support/agents.ts"
import { run, stacksapi } from "../../support/cli.ts"
import { emulator, folderOf } from "../../support/emulatorProcess.ts"

describe("a rehearsal in the terminal", () => {
  it.live("does not run what is behind a block, a condition or a branch filter, until it is unblocked", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({
        "pipeline.yml": `
steps:
  - command: touch tested
  - { block: "Deploy?", key: deploy, fields: [{ text: Name, key: name }] }
  - command: touch deployed
  - { command: touch released, if: build.tag != null }
  - { command: touch fixed, branches: "hotfix/*" }
  - { command: touch approved, if: 'build.creator.teams includes "deploy"', depends_on: ~, label: Approved }
`
      })
      const has = (file: string) => existsSync(join(folder, file))
      const { env, stderr } = yield* emulator("--pipeline", join(folder, "pipeline.yml"))
      assert.include(stderr, "pipeline.yml: line 6: the step is left out: its condition is false")
      assert.include(stderr, "pipeline.yml: line 7: the step is left out: it is not for the branch main")
      assert.include(stderr, "line 8: the command step is held: its condition can't be evaluated.")
      assert.include(stderr, "2 steps wait for you: unblock on the page, or with `stacksapi emulator unblock`.")
      const runAll = run(["run", "--runner", "command", "--directory", folder, "--until-idle"], env)
      assert.strictEqual((yield* runAll).status, 0)
      assert.deepStrictEqual(["tested", "deployed", "released", "fixed", "approved"].filter(has), ["tested"])

      const unblock = (...args: ReadonlyArray<string>) => stacksapi(["emulator", "unblock", ...args], { env })
      const waiting = yield* unblock("--json")
      assert.deepStrictEqual(
        waiting.stdout
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line))
          .map(({ name, state }) => [name, state]),
        [
          ["Deploy?", "blocked"],
          ["Approved", "blocked"]
        ]
      )
      assert.include(
        (yield* unblock("deploy")).stderr,
        "Not unblocked: the field name needs a value: Name. Its fields: --field name=VALUE\n"
      )
      assert.strictEqual((yield* unblock("nothing")).status, 1)
      assert.include((yield* unblock("deploy", "--field", "name=Dolphin")).stdout, "deploy is unblocked")
      assert.strictEqual((yield* unblock("Approved")).status, 0)
      assert.strictEqual((yield* runAll).status, 0)
      assert.deepStrictEqual(["tested", "deployed", "released", "fixed", "approved"].filter(has), [
        "tested",
        "deployed",
        "approved"
      ])
      assert.include((yield* unblock()).stderr, "No step waits for you.")
      const silent = yield* unblock("--endpoint", "http://user:password@127.0.0.1:1/v3/")
      assert.strictEqual(silent.stderr, "stacksapi: Nothing answers at http://127.0.0.1:1/. Is the emulator running?\n")
    }).pipe(Effect.scoped)
  )

  it.live("takes another build, and everything at once, if it is told so", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({
        "pipeline.yml": `
steps:
  - block: "Sure?"
  - { command: "touch $NAME", if: 'build.branch =~ /^release/ && build.tag == "v1" && build.env("NAME") == "x"' }
  - { label: Plugins only, plugins: [docker#v5] }
`
      })
      const { env, stderr } = yield* emulator(
        ...["--pipeline", join(folder, "pipeline.yml"), "--branch", "release/1", "--tag", "v1", "--env", "NAME=x"],
        "--unblock-all"
      )
      assert.notInclude(stderr, "wait for you")
      const { status } = yield* run(["run", "--runner", "command", "--directory", folder, "--until-idle"], env)
      assert.strictEqual(status, 0)
      assert.isTrue(existsSync(join(folder, "x")))
    }).pipe(Effect.scoped)
  )

  it.live("asks for what a step needs, and takes several options of a field", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({
        "pipeline.yml": `
steps:
  - block: Release
    key: release
    prompt: Sure?
    fields:
      - { text: Release name, key: release-name, format: "[A-Z][a-z]+" }
      - { select: Stream, key: stream, multiple: true, options: [{ label: Beta, value: beta }, { label: Stable, value: stable }] }
      - { text: Notes, key: notes, required: false, hint: For the changelog }
`
      })
      const { env } = yield* emulator("--pipeline", join(folder, "pipeline.yml"))
      const unblock = (...args: ReadonlyArray<string>) => stacksapi(["emulator", "unblock", ...args], { env })
      const { id, pipeline, ...step } = JSON.parse((yield* unblock("--json")).stdout)
      assert.deepStrictEqual(step, {
        kind: "block",
        name: "Release",
        key: "release",
        state: "blocked",
        hold: "the block step waits until somebody unblocks it",
        build: 1,
        prompt: "Sure?",
        fields: [
          {
            key: "release-name",
            label: "Release name",
            isRequired: true,
            isMultiple: false,
            format: "[A-Z][a-z]+"
          },
          { key: "stream", label: "Stream", isRequired: true, isMultiple: true, options: ["beta", "stable"] },
          { key: "notes", label: "Notes", hint: "For the changelog", isRequired: false, isMultiple: false }
        ]
      })
      const [heading = "", row = ""] = (yield* unblock()).stdout
        .split("\n")
        .map((line) => line.split(/ {2,}/).join("|"))
      assert.strictEqual(heading, "STEP|KEY|STATE|BUILD|FIELDS|WHY")
      assert.strictEqual(row, `Release|release|blocked|${pipeline}#1|release-name stream=beta|stable [notes]|Sure?`)

      const fields = (...values: ReadonlyArray<string>) =>
        unblock("release", ...values.flatMap((value) => ["--field", value]))
      const hint = "Its fields: --field release-name=VALUE --field stream=VALUE [--field notes=VALUE]"
      assert.strictEqual(
        (yield* fields("release-name=Dolphin")).stderr,
        `stacksapi: Not unblocked: the field stream needs a value: Stream; one or more of beta, stable. ${hint}\n`
      )
      const wrong = (yield* fields("release-name=dolphin", "stream=beta")).stderr
      assert.include(wrong, "the field release-name needs a text that matches [A-Z][a-z]+")
      const twice = yield* fields("release-name=A", "release-name=B", "stream=beta")
      assert.strictEqual(twice.status, 2)
      assert.include(twice.stderr, "The field release-name takes one value: give --field release-name=VALUE only once")
      assert.strictEqual((yield* fields("release-name")).status, 2)
      assert.strictEqual(
        (yield* unblock("nope")).stderr,
        "stacksapi: Not unblocked: there is no step nope; these wait: release\n"
      )
      const released = yield* fields("release-name=Dolphin", "stream=beta", "stream=stable")
      assert.deepStrictEqual([released.status, released.stdout], [0, "release is unblocked\n"])
    }).pipe(Effect.scoped)
  )

  it.live("leaves a step blocked if no value is known for its field, even if all are to be unblocked", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({
        "pipeline.yml": `
steps:
  - block: Release
    fields: [{ select: S, key: s, default: zzz, options: [{ label: A, value: a }] }]
  - { command: echo released }
  - block: Version
    fields: [{ text: Version, key: version, format: "[0-9]+" }]
  - { command: echo versioned }
`
      })
      const { env, stderr } = yield* emulator("--pipeline", join(folder, "pipeline.yml"), "--unblock-all")
      assert.include(
        stderr,
        'pipeline.yml: line 4: the default "zzz" is left out: the field s has no option "zzz": it has a'
      )
      assert.include(
        stderr,
        "--unblock-all leaves the step Version blocked: the field version needs a text that matches [0-9]+"
      )
      assert.include(stderr, "1 step waits for you")
      const { stdout } = yield* stacksapi(["emulator", "unblock", "--json"], { env })
      assert.strictEqual(JSON.parse(stdout).name, "Version")
    }).pipe(Effect.scoped)
  )

  it.live("refuses a file that is not in UTF-8, and reads one in UTF-16", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({
        "latin1.yml": Buffer.from('steps:\n  - command: "caf\xE9"\n', "latin1"),
        "utf16.yml": Buffer.from("\uFEFFsteps: [{ command: a }, { command: b }]\n", "utf16le")
      })
      const refused = yield* stacksapi(["emulator", "--pipeline", join(folder, "latin1.yml")])
      assert.deepStrictEqual([refused.status, refused.stdout], [1, ""])
      assert.include(refused.stderr, "latin1.yml:2:18: The byte 0xE9 is not UTF-8 here. Save the file as UTF-8.")
      const { stderr } = yield* emulator("--pipeline", join(folder, "utf16.yml"))
      assert.include(stderr, "The emulator is running, with 2 jobs")
    }).pipe(Effect.scoped)
  )

  it.live("says what is unknown in a pipeline that an agent uploads", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({
        "jobs.jsonl": '{"id":"upload","command":"buildkite-agent pipeline upload","env":{"BUILDKITE_LABEL":"Upload"}}'
      })
      const { env, seen } = yield* emulator("--jobs", join(folder, "jobs.jsonl"))
      const ask = (token: string, method: string, path: string, body: object) =>
        Effect.promise(async (): Promise<Readonly<Record<string, unknown>>> => {
          const headers = { authorization: `Token ${token}`, "content-type": "application/json" }
          const url = `${env["BUILDKITE_AGENT_ENDPOINT"]}${path}`
          const response = await fetch(url, { method, headers, body: JSON.stringify(body) })
          assert.strictEqual(response.status, 200, path)
          return await response.json()
        })
      const agent = String((yield* ask("bkct_emulator", "POST", "register", registration))["access_token"])
      yield* ask(agent, "POST", "connect", {})
      yield* ask(agent, "PUT", "jobs/upload/acquire", {})
      const steps = [
        { block: "Approve", key: "approve" },
        { command: "deploy", depends_on: "aprove" }
      ]
      yield* ask(agent, "POST", "jobs/upload/pipelines", { uuid: "1", pipeline: { steps } })
      const { stderr } = yield* seen("aprove")
      const upload = "The upload of the job Upload: "
      assert.include(stderr, `${upload}/steps/0: the block step waits until somebody unblocks it\n`)
      assert.include(
        stderr,
        `${upload}/steps/1/depends_on: no step has the key "aprove": that dependency counts as passed`
      )
    }).pipe(Effect.scoped)
  )
})
