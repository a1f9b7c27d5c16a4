/** What an agent must be able to do with the emulator. Each scenario returns what was not as expected. */
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { chmodSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import * as Agent from "./agent.ts"

type Problems = ReadonlyArray<string>

const lines = (...commands: ReadonlyArray<string>) => ["set -e", ...commands].join("\n")

/** Expectations that do not hold, as sentences. */
const expect = (
  ...expectations: ReadonlyArray<readonly [what: string, actual: unknown, expected: unknown]>
): Problems =>
  expectations.flatMap(([what, actual, expected]) =>
    JSON.stringify(actual) === JSON.stringify(expected)
      ? []
      : [`${what} is ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`]
  )

const contains = (output: string, ...texts: ReadonlyArray<string>): Problems =>
  texts.filter((text) => !output.includes(text)).map((text) => `the output lacks ${JSON.stringify(text)}`)

/**
 * A job that must pass, with what its output must contain. Agents print a job's command first, so texts of the command prove
 * nothing. On a failure, the end of the output says more.
 */
const passes = Effect.fnUntraced(function* (
  agent: string,
  command: string,
  texts: ReadonlyArray<string>,
  options: Partial<StacksEmulator.NewJob> = {}
) {
  const { agentOutput, exitCode, job, output } = yield* Agent.run(agent, command, options)
  const problems = [
    ...texts.filter((text) => command.includes(text)).map((text) => `the command itself has ${JSON.stringify(text)}`),
    ...expect(
      ["the agent's exit code", exitCode, 0],
      ["the state", job.state, "finished"],
      ["the exit status", job.exitStatus, 0]
    ),
    ...contains(output, ...texts)
  ]
  return problems.length === 0
    ? problems
    : [...problems, `output: ${output.slice(-600)}`, ...(output === "" ? [`agent: ${agentOutput.slice(-600)}`] : [])]
})

const build = Effect.flatMap(StacksEmulator.StacksEmulator, ({ builds }) => builds)

const buildOf = (jobUuid: string) =>
  Effect.map(build, (builds) => builds.find(({ jobUuids }) => jobUuids.includes(jobUuid)))

const fails = Effect.fnUntraced(function* (agent: string) {
  const { exitCode, job } = yield* Agent.run(agent, "exit 7")
  return expect(
    ["the agent's exit code", exitCode, 0],
    ["the state", job.state, "finished"],
    ["the exit status", job.exitStatus, 7]
  )
})

const canceled = Effect.fnUntraced(function* (agent: string) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const running = yield* Agent.start(agent, yield* Agent.add('echo "started $((1 + 1))"; sleep 600'))
  yield* running.seen("started 2")
  yield* emulator.cancelJob(running.id)
  const { job } = yield* running.ended
  return expect(["the state", job.state, "canceled"], ["the signal reason", job.signalReason, "cancel"])
})

const timesOut = Effect.fnUntraced(function* (agent: string) {
  const { job } = yield* Agent.run(agent, 'echo "started $((1 + 1))"; sleep 600', { timeout: "3 seconds" })
  return expect(["the state", job.state, "timed_out"], ["the signal reason", job.signalReason, "cancel"])
})

const sha1 = (text: string) => createHash("sha1").update(text).digest("hex")

const largeBytes = 12 * 1024 * 1024

const artifacts = Effect.fnUntraced(function* (agent: string) {
  const inBuild = { build: { uuid: "artifacts-build" } }
  const first = yield* passes(
    agent,
    lines(
      "mkdir -p out paths",
      "printf 'small file' > out/small.txt",
      `head -c ${largeBytes} /dev/zero > out/large.bin`,
      "printf 'by path' > paths/one.log",
      "buildkite-agent artifact upload 'out/*'"
    ),
    [],
    { ...inBuild, step: { key: "make" }, env: { BUILDKITE_ARTIFACT_PATHS: "paths/**/*.log" } }
  )
  const second = yield* passes(
    agent,
    lines(
      "mkdir got",
      "buildkite-agent artifact download '*' got",
      "cat got/out/small.txt",
      "wc -c < got/out/large.bin",
      "cat got/paths/one.log",
      "buildkite-agent artifact search 'out/*' --format 'found %p\\n'",
      "echo sha $(buildkite-agent artifact shasum 'out/small.txt' --step make)"
    ),
    ["small file", String(largeBytes), "by path", "found out/small.txt", `sha ${sha1("small file")}`],
    inBuild
  )
  const found = (yield* build).find(({ id }) => id === "artifacts-build")?.artifacts ?? []
  return [
    ...first,
    ...second,
    ...expect([
      "the artifacts",
      found.map(({ path, state }) => `${path} ${state}`).toSorted(),
      ["out/large.bin finished", "out/small.txt finished", "paths/one.log finished"]
    ])
  ]
})

const uploads = Effect.fnUntraced(function* (agent: string) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const inBuild = { build: { uuid: "uploads-build" } }
  const id = yield* Agent.add(
    lines(
      "cat > steps.yml <<'END'",
      "steps:",
      '  - label: "First of $$BUILDKITE_BUILD_NUMBER"',
      "    key: first",
      "    command: echo first",
      "  - wait",
      "  - command: echo second",
      "    agents: { queue: other }",
      "END",
      "buildkite-agent pipeline upload steps.yml"
    ),
    inBuild
  )
  const after = yield* Agent.add("echo after", { ...inBuild, dependsOn: [id], isAfterWait: true })
  const { job, output } = yield* (yield* Agent.start(agent, id)).ended
  const all = new Map((yield* emulator.jobs).map((job) => [job.id, job]))
  const order = (yield* buildOf(id))?.jobUuids.map((id) => {
    const job = all.get(id)
    return id === after ? `after ${job?.state}` : `${job?.command.split("\n")[0]} ${job?.queueKey} ${job?.state}`
  })
  const wrong = yield* Agent.run(
    agent,
    "echo 'steps: [{ command: x, key: same }, { command: y, key: same }]' | buildkite-agent pipeline upload"
  )
  return [
    ...expect(
      ["the exit status", job.exitStatus, 0],
      [
        "the order",
        order,
        ["set -e q finished", "echo first q scheduled", "echo second other waiting", "after waiting"]
      ],
      ["the exit status of a wrong upload", wrong.job.exitStatus === 0, false]
    ),
    ...(job.exitStatus === 0 ? [] : [output.slice(-600)]),
    ...contains(wrong.output, "pipeline upload rejected")
  ]
})

const annotates = Effect.fnUntraced(function* (agent: string) {
  const problems = yield* passes(
    agent,
    lines(
      "buildkite-agent annotate 'one' --context a --style info",
      "buildkite-agent annotate ', two' --context a --append",
      "buildkite-agent annotate 'gone' --context b",
      "buildkite-agent annotation remove --context b"
    ),
    [],
    { build: { uuid: "annotations-build" } }
  )
  const annotations = (yield* build).find(({ id }) => id === "annotations-build")?.annotations ?? []
  const shown = annotations.map(({ body, context, style }) => [context, style, body])
  return [...problems, ...expect(["the annotations", shown, [["a", "info", "one, two"]]])]
})

const metaData = Effect.fnUntraced(function* (agent: string) {
  const problems = yield* passes(
    agent,
    lines(
      "buildkite-agent meta-data set name value",
      'echo "got <$(buildkite-agent meta-data get name)>"',
      'echo "default <$(buildkite-agent meta-data get unknown --default fallback)>"',
      "buildkite-agent meta-data exists name",
      "buildkite-agent meta-data exists unknown || echo missing $?",
      // Agents have it since 3.120 or so.
      "if buildkite-agent meta-data set-batch --help 2>/dev/null | grep -q set-batch; then",
      "  buildkite-agent meta-data set-batch a=1 b=2",
      "else buildkite-agent meta-data set a 1; buildkite-agent meta-data set b 2; fi",
      'echo "keys <$(buildkite-agent meta-data keys | sort | xargs)>"'
    ),
    ["got <value>", "default <fallback>", "missing 100", "keys <a b name>"],
    { build: { uuid: "meta-data-build" } }
  )
  const stored = (yield* build).find(({ id }) => id === "meta-data-build")?.metaData
  return [...problems, ...expect(["the meta-data", stored, { name: "value", a: "1", b: "2" }])]
})

const steps = Effect.fnUntraced(function* (agent: string) {
  const inBuild = { build: { uuid: "steps-build" } }
  const waits = yield* Agent.add("echo never", { ...inBuild, step: { key: "waits" } })
  const problems = yield* passes(
    agent,
    lines(
      'test -n "$BUILDKITE_STEP_ID"',
      "echo label $(buildkite-agent step get label)",
      "buildkite-agent step update label 'New label'",
      "echo label $(buildkite-agent step get label)",
      "echo state $(buildkite-agent step get state --step waits)",
      "echo 'steps: [{ block: Approve, key: go-on }]' | buildkite-agent pipeline upload",
      'echo "type <$(buildkite-agent step get type --step go-on)>"',
      "if buildkite-agent step cancel --help >/dev/null 2>&1; then buildkite-agent step cancel --step waits; fi"
    ),
    ["label Steps", "label New label", "state ready", "type <block>"],
    { ...inBuild, label: "Steps" }
  )
  return [...problems, ...expect(["the other step's job", (yield* Agent.jobOf(waits)).state, "canceled"])]
})

/** The job outlives the timeout that it began with. Old agents can't change it. */
const longerTimeout = (agent: string) =>
  passes(
    agent,
    lines(
      "if buildkite-agent job update --help 2>/dev/null | grep -q timeout; then",
      "  buildkite-agent job update timeout 9; sleep 20",
      "fi",
      'echo "alive $((1 + 1))"'
    ),
    ["alive 2"],
    { timeout: "20 seconds" }
  )

const secret = Effect.fnUntraced(function* (agent: string) {
  const { job, output } = yield* Agent.run(
    agent,
    lines(
      "value=$(buildkite-agent secret get interop_secret)",
      // The agent shows the command before it knows the secret, so the command must not contain it.
      'echo sha $(printf %s "$value" | sha1sum)',
      'echo "shown: $value"',
      "buildkite-agent secret get unknown || echo refused $?"
    )
  )
  return [
    ...expect(["the exit status", job.exitStatus, 0]),
    ...contains(output, `sha ${sha1("s3cret-for-interop")}`, "refused 1"),
    ...(output.includes("s3cret-for-interop") ? ["the output has the secret"] : [])
  ]
})

const cancelsBuild = Effect.fnUntraced(function* (agent: string) {
  const inBuild = { build: { uuid: "0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9c01" } }
  const other = yield* Agent.add("echo never", inBuild)
  const { job } = yield* Agent.run(agent, "buildkite-agent build cancel && sleep 600", inBuild)
  return expect(["the state", job.state, "canceled"], ["the other job", (yield* Agent.jobOf(other)).state, "canceled"])
})

/** A plugin in a git repository on this machine. */
const plugin = Effect.fnUntraced(function* (agent: string) {
  const folder = yield* temporaryFolder
  const repository = join(folder, "hello-buildkite-plugin")
  mkdirSync(join(repository, "hooks"), { recursive: true })
  writeFileSync(join(repository, "hooks/pre-command"), '#!/bin/sh\necho "plugin says $BUILDKITE_PLUGIN_HELLO_TEXT"\n')
  chmodSync(join(repository, "hooks/pre-command"), 0o755)
  const git = (...args: ReadonlyArray<string>) =>
    execFileSync("git", ["-c", "user.name=interop", "-c", "user.email=interop@example.com", ...args], {
      cwd: repository
    })
  git("init", "--quiet", "--initial-branch=main")
  git("add", ".")
  git("commit", "--quiet", "-m", "A plugin")
  const plugins = JSON.stringify([{ [`file://${repository}#main`]: { text: "hello" } }])
  return yield* passes(agent, 'echo "command $((1 + 1))"', ["plugin says hello", "command 2"], {
    env: { BUILDKITE_PLUGINS: plugins }
  })
})

const manyLines = Effect.fnUntraced(function* (agent: string) {
  const { job, output } = yield* Agent.run(agent, "seq 1 20000")
  const numbers = output.split("\n").filter((line) => /^\d+$/.test(line))
  const complete = numbers.every((line, index) => line === String(index + 1))
  return expect(
    ["the exit status", job.exitStatus, 0],
    ["the lines", numbers.length, 20_000],
    ["their order", complete, true]
  )
})

/** The service considers an agent lost after three minutes. */
const killed = Effect.fnUntraced(function* (agent: string) {
  const running = yield* Agent.start(agent, yield* Agent.add('echo "started $((1 + 1))"; sleep 600'))
  yield* running.seen("started 2")
  Agent.kill(running.child)
  yield* running.ended
  let job = yield* Agent.jobOf(running.id)
  for (let second = 0; second < 240 && job.state === "running"; second++) {
    yield* Effect.sleep("1 second")
    job = yield* Agent.jobOf(running.id)
  }
  return expect(
    ["the state", job.state, "finished"],
    ["the exit status", job.exitStatus, -1],
    ["the signal reason", job.signalReason, "agent_stop"]
  )
})

const passing = (agent: string) =>
  passes(agent, 'echo "hello from $BUILDKITE_LABEL"', ["hello from Passing"], { label: "Passing" })

export const scenarios = {
  killed,
  passing,
  failing: fails,
  canceled,
  "timing out": timesOut,
  "artifacts both ways": artifacts,
  "uploading steps": uploads,
  annotating: annotates,
  "meta-data": metaData,
  steps: steps,
  "a longer timeout": longerTimeout,
  secrets: secret,
  "canceling the build": cancelsBuild,
  "a plugin from a local path": plugin,
  "20,000 lines of output": manyLines
}
