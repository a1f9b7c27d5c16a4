/** Stacks on processes and on a batch system, as their users run them. */
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { AgentProvider } from "@stacksapi/core"
import { AgentProviderContract, StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect } from "effect"
import { makeProvider as makeDetached } from "../../examples/detached-agents.ts"
import { makeProvider as makeSlurm } from "../../examples/slurm-agents.ts"
import { environmentOf, start } from "../support/cli.ts"
import { standInOnPath } from "../support/standInAgentSetup.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const until = <E, R>(isSo: Effect.Effect<boolean, E, R>) =>
  isSo.pipe(Effect.delay("50 millis"), Effect.repeat({ until: (so) => so }), Effect.asVoid)

// -----------------------------------------------------------------------------
// Slurm: as much of its commands as the example needs
// -----------------------------------------------------------------------------

const commands = {
  sbatch: `job=$(mktemp -d "$SLURM/job-XXXXXX")
for arg; do case $arg in
  --job-name=*) echo "\${arg#*=}" > "$job/name" ;;
  --comment=*) echo "\${arg#*=}" > "$job/comment" ;;
esac; done
cat > "$job/script"
cd "$job"
setsid sh script > output 2>&1 < /dev/null &
echo $! > pid
echo "\${job##*-}"`,
  squeue: `for job in "$SLURM"/job-*; do
  kill -0 "$(cat "$job/pid" 2>/dev/null)" 2>/dev/null || continue
  echo "$(cat "$job/name")|RUNNING|$(cat "$job/comment")"
done
echo "other|PENDING|somebody's own"`,
  scancel: `for arg; do case $arg in --name=*) name=\${arg#*=} ;; esac; done
for job in "$SLURM"/job-*; do
  [ "$(cat "$job/name" 2>/dev/null)" = "$name" ] || continue
  kill -KILL -- "-$(cat "$job/pid")" 2>/dev/null
  rm -rf "$job"
done
exit 0`
}

/** A folder for the PATH with these commands, and one for what they keep. */
const slurm = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  const [bin, jobs] = [join(folder, "bin"), join(folder, "jobs")]
  mkdirSync(bin)
  mkdirSync(jobs)
  for (const [name, script] of Object.entries(commands)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`)
    chmodSync(join(bin, name), 0o755)
  }
  return { folder, bin, env: { SLURM: jobs, PATH: `${bin}:${process.env["PATH"]}` } }
})

/** This process has these variables until the scope closes. */
const withVariables = (variables: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = { ...process.env }
      Object.assign(process.env, variables)
      return before
    }),
    (before) =>
      Effect.sync(() => {
        for (const name of Object.keys(variables)) delete process.env[name]
        Object.assign(process.env, before)
      })
  )

// -----------------------------------------------------------------------------
// The contract
// -----------------------------------------------------------------------------

/** An agent that can't register: there is nobody to register with. It takes its time for that. */
const agentOf = (folder: string) => {
  const path = join(folder, "agent")
  writeFileSync(path, `#!/bin/sh\n[ -n "$BUILDKITE_AGENT_TOKEN" ] && sleep 1\nexit 1\n`)
  chmodSync(path, 0o755)
  return path
}

describe("Agents as detached processes keep the contract:", () => {
  const cases = AgentProviderContract.cases({ pollInterval: "50 millis", endedWithin: "30 seconds" })
  for (const [rule, check] of Object.entries(cases)) {
    it.live(rule, () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const provider = yield* makeDetached(join(folder, "agents"), agentOf(folder))
        yield* Effect.provideService(check, AgentProvider.AgentProvider, provider)
        assert.isEmpty(readdirSync(join(folder, "agents")))
      }).pipe(Effect.scoped)
    )
  }
})

describe("Agents as jobs of Slurm keep the contract:", () => {
  const cases = AgentProviderContract.cases({ pollInterval: "50 millis" })
  for (const [rule, check] of Object.entries(cases)) {
    it.live(rule, () =>
      Effect.gen(function* () {
        const { env, folder } = yield* slurm
        yield* withVariables(env)
        // It must be there as long as the case lasts: what has ended is in the queue no more.
        writeFileSync(join(folder, "agent"), "#!/bin/sh\nexec sleep 600\n")
        chmodSync(join(folder, "agent"), 0o755)
        const provider = yield* makeSlurm(join(folder, "agent"))
        yield* Effect.provideService(check, AgentProvider.AgentProvider, provider)
        assert.isEmpty(readdirSync(env.SLURM))
      }).pipe(Effect.scoped)
    )
  }
})

// -----------------------------------------------------------------------------
// Whole stacks
// -----------------------------------------------------------------------------

/** Runs 12 jobs by an example that is killed three times meanwhile. */
const survives = Effect.fnUntraced(function* (example: string, env: Readonly<Record<string, string>>) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const agents = yield* standInOnPath({ "*": { millis: 1000, jobExits: 3 } })
  yield* emulator.addJobs(Array.from({ length: 12 }, () => ({ queueKey: "q" })))
  const launch = start(process.execPath, [join(import.meta.dirname, "../../examples", example)], {
    ...environmentOf(emulator),
    STACK_QUEUE: "q",
    AGENT_PATH: agents.path,
    ...env
  })
  const finished = Effect.map(emulator.jobs, (jobs) => jobs.filter(({ state }) => state === "finished").length)
  let running = yield* launch
  for (const count of [1, 4, 7]) {
    yield* until(Effect.map(finished, (length) => length >= count))
    yield* running.kill("SIGKILL")
    yield* running.ended
    running = yield* launch
  }
  yield* until(Effect.map(finished, (length) => length === 12))
  assert.deepStrictEqual(
    (yield* emulator.jobs).map(({ exitStatus }) => exitStatus),
    Array.from({ length: 12 }, () => 3)
  )
  return running
})

describe("A stack that is killed three times runs each job once, and leaves nothing", () => {
  it.live("with agents as detached processes", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const running = yield* survives("detached-agents.ts", { AGENTS_FOLDER: folder })
      yield* until(Effect.sync(() => readdirSync(join(folder, "agents")).length === 0))
      yield* running.kill("SIGTERM")
      assert.notMatch((yield* running.ended).stderr, /bkct_|bkjat_/)
    }).pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer()))
  )

  it.live("with agents as jobs of Slurm", () =>
    Effect.gen(function* () {
      const { env, folder } = yield* slurm
      const running = yield* survives("slurm-agents.ts", { ...env, STACK_STORE: join(folder, "store") })
      yield* until(
        Effect.map(
          Effect.flatMap(start("squeue", [], env), ({ ended }) => ended),
          ({ stdout }) => !stdout.includes("agent-")
        )
      )
      yield* running.kill("SIGTERM")
      assert.notMatch((yield* running.ended).stderr, /bkct_|bkjat_/)
    }).pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer()))
  )
})
