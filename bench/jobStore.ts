/**
 * Measures the saves a second of a `FileJobStore`, with and without waiting for the disk: `node bench/jobStore.ts [FOLDER]`. The
 * folder decides which disk is used. The default is the folder for temporary files.
 */
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as FileJobStore from "@stacksapi/node/FileJobStore"
import { DateTime, Effect, FileSystem, Layer } from "effect"

const folder = Fs.mkdtempSync(join(process.argv[2] ?? tmpdir(), "stacksapi-bench-"))
const rounds = 5
const seconds = 1

const saved = (id: string) => ({
  job: {
    id: `0193b1a6-6a2c-4f4e-9d1a-${id.padStart(12, "0")}`,
    priority: 0,
    agentQueryRules: ["queue=default", "os=linux"],
    scheduledAt: DateTime.makeUnsafe(1_790_000_000_000),
    pipeline: { slug: "web", uuid: "0193b1a6-6a2c-4f4e-9d1a-00000000000a" },
    build: { uuid: "0193b1a6-6a2c-4f4e-9d1a-00000000000b", number: 42, branch: "main" },
    step: { key: "test" }
  }
})

/** The same file system, without waiting for the disk. */
const withoutSync = Layer.effect(
  FileSystem.FileSystem,
  Effect.map(
    FileSystem.FileSystem,
    (fs): FileSystem.FileSystem => ({
      ...fs,
      open: (path, options) =>
        Effect.map(fs.open(path, options), (file) => Object.create(file, { sync: { value: Effect.void } }))
    })
  )
).pipe(Layer.provide(NodeFileSystem.layer))

/** The saves a second of concurrent callers, each of which saves one job after the other. */
const store = (callers: number, fileSystem: Layer.Layer<FileSystem.FileSystem>) =>
  Effect.gen(function* () {
    const { save } = yield* FileJobStore.make({ path: join(folder, "jobs") })
    const start = performance.now()
    const end = start + 1000 * seconds
    let count = 0
    const caller = Effect.fnUntraced(function* (index: number) {
      for (let n = 0; performance.now() < end; n++) {
        yield* save("stack", [saved(String(1000 * index + (n % 100)))])
        count++
      }
    })
    yield* Effect.forEach(Array.from({ length: callers }).keys(), caller, { concurrency: "unbounded", discard: true })
    return (count / (performance.now() - start)) * 1000
  }).pipe(
    Effect.ensuring(Effect.sync(() => Fs.rmSync(join(folder, "jobs")))),
    Effect.scoped,
    Effect.provide([fileSystem, NodePath.layer]),
    Effect.runPromise
  )

/** The limit of the disk: writes the same bytes, and waits for the disk each time. */
const disk = async (): Promise<number> => {
  const file = await Fs.promises.open(join(folder, "plain"), "w")
  const line = Buffer.from(`${JSON.stringify(saved("1"))}\n`)
  const start = performance.now()
  let count = 0
  for (; performance.now() < start + 1000 * seconds; count++) {
    await file.write(line)
    await file.datasync()
  }
  await file.close()
  return (count / (performance.now() - start)) * 1000
}

const contenders: Readonly<Record<string, () => Promise<number>>> = {
  "write + fdatasync": disk,
  "1 caller": () => store(1, NodeFileSystem.layer),
  "1 caller, without sync": () => store(1, withoutSync),
  "25 callers": () => store(25, NodeFileSystem.layer),
  "25 callers, without sync": () => store(25, withoutSync),
  "250 callers": () => store(250, NodeFileSystem.layer),
  "250 callers, without sync": () => store(250, withoutSync)
}

const results = new Map<string, Array<number>>()
for (let round = 0; round < rounds; round++) {
  for (const [name, measure] of Object.entries(contenders)) {
    results.set(name, [...(results.get(name) ?? []), await measure()])
  }
}
const baseline = median(results.get("write + fdatasync") ?? [])
for (const [name, figures] of results) {
  const middle = median(figures)
  console.log(`${name.padEnd(28)} ${middle.toFixed(0).padStart(6)} a second  × ${(middle / baseline).toFixed(2)}`)
}
Fs.rmSync(folder, { recursive: true })

function median(figures: ReadonlyArray<number>): number {
  return Array.from(figures).sort((a, b) => a - b)[Math.floor(figures.length / 2)] ?? Number.NaN
}
