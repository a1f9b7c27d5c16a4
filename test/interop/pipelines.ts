/**
 * Compares what this library makes of pipeline files with what the real agent makes of them.
 *
 *     node test/interop/pipelines.ts buildkite-agent 1000    compares 1000 generated files
 *     node test/interop/pipelines.ts buildkite-agent --write writes the expected values that the tests use
 */
import { execFile } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { isDeepStrictEqual } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Result } from "effect"
import { read } from "../../packages/node/src/internal/pipeline/upload.ts"
import { pipelineFile, variables } from "../support/pipelineFiles.ts"
import { samples } from "../support/pipelineSamples.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

/** The documents that are uploaded, or null if the file is refused. */
export type Uploads = ReadonlyArray<unknown> | null

interface Difference {
  readonly name: string
  readonly file: string
  readonly ours: Uploads
  readonly agents: Uploads
}

/** What this library makes of a file. */
export const uploadsOf = (text: string): Uploads =>
  Result.match(read(text, { file: "pipeline.yml", env: variables }), {
    onFailure: () => null,
    // As JSON, which knows no undefined, and one zero.
    onSuccess: (uploads) =>
      JSON.parse(
        JSON.stringify(
          uploads.map(({ pipeline }) => pipeline),
          withoutIfChanged
        )
      )
  })

/** The agent decides on `if_changed`, and takes it out. A rehearsal can't decide, and keeps it. */
const withoutIfChanged = (_: string, value: unknown): unknown => {
  if (typeof value !== "object" || value === null || !("if_changed" in value) || "block" in value) return value
  const { if_changed: _left, ...rest } = value
  return rest
}

/** What the agent makes of a file. */
const uploadsOfAgent = (agentPath: string, folder: string, name: string, text: string) =>
  Effect.callback<Uploads, Error>((resume) => {
    const path = join(folder, name)
    writeFileSync(path, text)
    const child = execFile(
      agentPath,
      ["pipeline", "upload", "--dry-run", "--format", "json", "--agent-access-token", "none", path],
      // Outside of a git repository `if_changed` and the commit are left alone.
      { cwd: folder, env: { ...variables }, maxBuffer: 2 ** 26 },
      (error, stdout) => {
        if (error === null) resume(Effect.sync(() => documentsOf(stdout)))
        else if (typeof error.code === "number") resume(Effect.succeed(null))
        else resume(Effect.fail(error))
      }
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** The output is one indented object after the other. JSON has one zero. */
const documentsOf = (stdout: string): ReadonlyArray<unknown> =>
  stdout.trim() === ""
    ? []
    : JSON.parse(`[${stdout.trim().replaceAll(/\n\}\n\{/g, "\n},\n{")}]`, (_, value) => (value === 0 ? 0 : value))

const filesOf = (count: number) => [
  ...Object.entries(samples),
  ...Array.from({ length: count }, (_, index) => [`seed ${index + 1}`, pipelineFile(index + 1)] as const)
]

/** The files of which the agent makes something else: the samples, and as many generated ones. */
export const differences = Effect.fnUntraced(function* (agentPath: string, count: number) {
  const found: Array<Difference> = []
  yield* eachFile(agentPath, filesOf(count), (name, file, agents) => {
    const ours = uploadsOf(file)
    if (!isDeepStrictEqual(ours, agents)) found.push({ name, file, ours, agents })
  })
  return found
})

const workers = 4

const eachFile = (
  agentPath: string,
  files: ReadonlyArray<readonly [name: string, text: string]>,
  use: (name: string, text: string, uploads: Uploads) => void
): Effect.Effect<void, Error> =>
  Effect.flatMap(temporaryFolder, (folder) =>
    Effect.forEach(
      files,
      ([name, text], index) =>
        Effect.map(uploadsOfAgent(agentPath, folder, `${index}.yml`, text), (uploads) => use(name, text, uploads)),
      { concurrency: workers, discard: true }
    )
  ).pipe(Effect.scoped)

// -----------------------------------------------------------------------------
// Expected values
// -----------------------------------------------------------------------------

const expectedPath = fileURLToPath(new URL("../support/pipelineUploads.json", import.meta.url))

/** How many generated files have their expected value in the repository. */
const expectedCount = 150

/** What the agent makes of the samples and the first generated files, by their names. */
export const expected = (): Readonly<Record<string, Uploads>> => JSON.parse(readFileSync(expectedPath, "utf8"))

export const expectedFiles = () => filesOf(expectedCount)

const writeExpected = Effect.fnUntraced(function* (agentPath: string) {
  const byName = new Map<string, Uploads>()
  yield* eachFile(agentPath, expectedFiles(), (name, _, uploads) => void byName.set(name, uploads))
  const lines = expectedFiles().map(([name]) => `${JSON.stringify(name)}: ${JSON.stringify(byName.get(name))}`)
  writeFileSync(expectedPath, `{\n${lines.join(",\n")}\n}\n`)
})

const printDifferences = Effect.fnUntraced(function* (agentPath: string, count: number) {
  const found = yield* differences(agentPath, count)
  for (const { agents, file, name, ours } of found.slice(0, 20)) {
    console.log(`--- ${name}\n${file}\nours:   ${JSON.stringify(ours)}\nagent's: ${JSON.stringify(agents)}`)
  }
  console.log(`${count} generated files: ${found.length} differ`)
  process.exitCode = found.length === 0 ? 0 : 1
})

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [agentPath = "buildkite-agent", count = "1000"] = process.argv.slice(2)
  NodeRuntime.runMain(count === "--write" ? writeExpected(agentPath) : printDifferences(agentPath, Number(count)))
}
