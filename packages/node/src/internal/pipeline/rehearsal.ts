/** Reads pipeline files, and adds them to a build of an emulator: as an agent uploads them, and as the service takes them. */
import type * as StacksEmulator from "@stacksapi/core/StacksEmulator"
import * as Effect from "effect/Effect"
import { type PipelineError, read, type Upload } from "./upload.ts"

export interface PipelineFile {
  readonly name: string
  readonly text: string
}

export interface RehearsalOptions {
  readonly build: StacksEmulator.NewBuild
  /** The queue of jobs whose `agents` name none. */
  readonly queueKey: string
}

export interface Rehearsal {
  readonly jobs: ReadonlyArray<StacksEmulator.Job>
  /** The steps that are blocked until someone unblocks them. */
  readonly held: ReadonlyArray<StacksEmulator.Step>
  /** What is left out, held, or ignored, with files and lines. */
  readonly notes: ReadonlyArray<string>
}

/** Makes one build of all files. Their steps may depend on each other. */
export const rehearse = Effect.fnUntraced(function* (
  emulator: StacksEmulator.Service,
  files: ReadonlyArray<PipelineFile>,
  { build: newBuild, queueKey }: RehearsalOptions
): Effect.fn.Return<Rehearsal, PipelineError> {
  const build = yield* emulator.startBuild(newBuild)
  const uploads: Array<Upload> = []
  for (const { name, text } of files) {
    uploads.push(...(yield* Effect.fromResult(read(text, { file: name, env: build.env }))))
  }
  const { jobs, notes, steps } = yield* emulator
    .uploadPipelines(
      uploads.map(({ pipeline }) => pipeline),
      { buildUuid: build.uuid, queueKey }
    )
    .pipe(
      Effect.catchTag("InvalidPipeline", (error) => {
        const upload = uploads[error.pipeline]
        return upload === undefined ? Effect.die(error) : Effect.fail(upload.error(error.path, error.problem))
      })
    )
  return {
    jobs,
    held: steps.filter(({ hold, state }) => hold !== undefined && state !== "skipped"),
    notes: describe([
      ...uploads.flatMap(agentNotes),
      ...notes.flatMap(({ path, pipeline, text }) => {
        const upload = uploads[pipeline]
        return upload === undefined ? [] : [{ file: upload.file, line: upload.lineOf(path), text }]
      })
    ])
  }
})

interface PlacedNote {
  readonly file: string
  readonly line: number
  readonly text: string
}

/** What the agent warns about, and the variables that it does not know. */
const agentNotes = ({ file, unset, warnings }: Upload): ReadonlyArray<PlacedNote> => [
  ...warnings.map(({ line, problem }) => ({ file, line, text: `the agent uploads this as it is: ${problem}` })),
  ...Array.from(unset).flatMap(([name, lines]) =>
    lines.map((line) => ({
      file,
      line,
      text: `$${name} is not set when the pipeline is uploaded, so it becomes empty; $$${name} is a variable of the job`
    }))
  )
]

/** One line for each text, with all the lines that it is about. */
const describe = (notes: ReadonlyArray<PlacedNote>): ReadonlyArray<string> => {
  const linesOf = new Map<string, { readonly note: PlacedNote; readonly lines: Set<number> }>()
  for (const note of notes) {
    const key = JSON.stringify([note.file, note.text])
    const same = linesOf.get(key) ?? { note, lines: new Set() }
    linesOf.set(key, same)
    same.lines.add(note.line)
  }
  return Array.from(linesOf.values(), ({ lines, note: { file, text } }) => {
    const numbers = Array.from(lines).sort((a, b) => a - b)
    return `${file}: ${numbers.length === 1 ? "line" : "lines"} ${numbers.join(", ")}: ${text}`
  })
}
