/**
 * Compares what this library makes of pipeline files with what the real agent makes of them.
 *
 *     node test/interop/pipelines.ts buildkite-agent 1000    compares 1000 generated files
 *     node test/interop/pipelines.ts buildkite-agent --write writes the expected values that the tests use
 */
import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { isDeepStrictEqual } from "node:util"
import { Result } from "effect"
import { read } from "../../packages/node/src/internal/pipeline/upload.ts"
import { pipelineFile, variables } from "../support/pipelineFiles.ts"
import { samples } from "../support/pipelineSamples.ts"

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
const uploadsOfAgent = (agentPath: string, folder: string, name: string, text: string): Promise<Uploads> => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return new Promise((resolve, reject) => {
    execFile(
      agentPath,
      ["pipeline", "upload", "--dry-run", "--format", "json", "--agent-access-token", "none", path],
      // Outside of a git repository `if_changed` and the commit are left alone.
      { cwd: folder, env: { ...variables }, maxBuffer: 2 ** 26 },
      (error, stdout) => {
        if (error === null) resolve(documentsOf(stdout))
        else if (typeof error.code === "number") resolve(null)
        else reject(error)
      }
    )
  })
}

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
export const differences = async (agentPath: string, count: number): Promise<ReadonlyArray<Difference>> => {
  const found: Array<Difference> = []
  await eachFile(agentPath, filesOf(count), (name, file, agents) => {
    const ours = uploadsOf(file)
    if (!isDeepStrictEqual(ours, agents)) found.push({ name, file, ours, agents })
  })
  return found
}

const workers = 4

const eachFile = async (
  agentPath: string,
  files: ReadonlyArray<readonly [name: string, text: string]>,
  use: (name: string, text: string, uploads: Uploads) => void
): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), "stacksapi-pipelines-"))
  const left = Array.from(files.entries()).reverse()
  const work = async () => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const [index, [name, text]] = next
      use(name, text, await uploadsOfAgent(agentPath, folder, `${index}.yml`, text))
    }
  }
  await Promise.all(Array.from({ length: workers }, work))
  rmSync(folder, { recursive: true })
}

// -----------------------------------------------------------------------------
// Expected values
// -----------------------------------------------------------------------------

const expectedPath = fileURLToPath(new URL("../support/pipelineUploads.json", import.meta.url))

/** How many generated files have their expected value in the repository. */
const expectedCount = 150

/** What the agent makes of the samples and the first generated files, by their names. */
export const expected = (): Readonly<Record<string, Uploads>> => JSON.parse(readFileSync(expectedPath, "utf8"))

export const expectedFiles = () => filesOf(expectedCount)

const writeExpected = async (agentPath: string): Promise<void> => {
  const byName = new Map<string, Uploads>()
  await eachFile(agentPath, expectedFiles(), (name, _, uploads) => void byName.set(name, uploads))
  const lines = expectedFiles().map(([name]) => `${JSON.stringify(name)}: ${JSON.stringify(byName.get(name))}`)
  writeFileSync(expectedPath, `{\n${lines.join(",\n")}\n}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [agentPath = "buildkite-agent", count = "1000"] = process.argv.slice(2)
  if (count === "--write") {
    await writeExpected(agentPath)
  } else {
    const found = await differences(agentPath, Number(count))
    for (const { agents, file, name, ours } of found.slice(0, 20)) {
      console.log(`--- ${name}\n${file}\nours:   ${JSON.stringify(ours)}\nagent's: ${JSON.stringify(agents)}`)
    }
    console.log(`${count} generated files: ${found.length} differ`)
    process.exitCode = found.length === 0 ? 0 : 1
  }
}
