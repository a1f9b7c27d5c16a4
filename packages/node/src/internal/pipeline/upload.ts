/** What `buildkite-agent pipeline upload` makes of a file: the plain data that it sends to the service. */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import { Emitter, type Positions } from "./emit.ts"
import { readPipeline } from "./steps.ts"
import { type Item, Mapping, type Problem, type Read } from "./value.ts"
import { readDocuments } from "./yaml.ts"

/** A pipeline file is invalid, and where. */
export class PipelineError extends Data.TaggedError("PipelineError")<{
  readonly file: string
  /** From 1. */
  readonly line: number
  /** From 1. */
  readonly column: number
  /** What is wrong, and how to write it. */
  readonly problem: string
}> {
  override get message(): string {
    return `${this.file}:${this.line}:${this.column}: ${this.problem}`
  }
}

export interface UploadOptions {
  /** The file's name, for errors. */
  readonly file: string
  /** The variables of the job that uploads the file. */
  readonly env: Readonly<Record<string, string>>
}

/** One document of the file: an upload of its own. */
export interface Upload {
  /** The file's name. */
  readonly file: string
  /** A value of JSON. */
  readonly pipeline: unknown
  /** An error at a part of the pipeline, such as `/steps/0/label`, or at the nearest part around it. */
  readonly error: (path: string, problem: string) => PipelineError
  /** The line of a part of the pipeline, or of the nearest part around it. */
  readonly lineOf: (path: string) => number
  /** What the agent warns about, with lines. */
  readonly warnings: ReadonlyArray<{ readonly line: number; readonly problem: string }>
  /** The variables that are not set and became empty, with the lines where they are. */
  readonly unset: ReadonlyMap<string, ReadonlyArray<number>>
}

/** The uploads of a file, in their order: one for each document. */
export const read = (
  text: string,
  { env, file }: UploadOptions
): Result.Result<ReadonlyArray<Upload>, PipelineError> => {
  const source = sourceOf(file, text)
  if (text === "") return Result.fail(source.toError({ at: 0, problem: "The file is empty." }))
  // A document sees the variables of those before it.
  const variables = new Map(Object.entries(env))
  return Result.mapError(
    Result.flatMap(readDocuments(text), (documents) =>
      Result.all(documents.map((document) => readUpload(document, variables, source)))
    ),
    source.toError
  )
}

/** A file, for errors. */
interface Source {
  readonly file: string
  readonly lines: Position
  readonly toError: (problem: Problem) => PipelineError
}

const sourceOf = (file: string, text: string): Source => {
  const lines = positions(text)
  return { file, lines, toError: ({ at, problem }) => new PipelineError({ file, ...lines(at), problem }) }
}

type Position = (offset: number) => { readonly line: number; readonly column: number }

const positions = (text: string): Position => {
  const starts = [0]
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1)
  return (offset) => {
    let low = 0
    let high = starts.length
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if ((starts[middle] ?? 0) <= offset) low = middle
      else high = middle
    }
    return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 }
  }
}

const readUpload = (document: Item, variables: Map<string, string>, { file, lines, toError }: Source): Read<Upload> =>
  Result.gen(function* () {
    const shape = yield* readPipeline(document)
    const emitter = new Emitter(variables)
    const env = shape.env && (yield* emitEnv(shape.env, shape.envAt, variables, emitter))
    const body = yield* emitter.emit(shape.body, document.at, "")
    const positionOf = (path: string) => nearest(emitter.positions, path) ?? document.at
    return {
      file,
      pipeline: env === undefined ? body : { ...(body as object), env },
      error: (path, problem) => toError({ at: positionOf(path), problem }),
      lineOf: (path) => lines(positionOf(path)).line,
      warnings: shape.warnings.map(({ at, problem }) => ({ line: lines(at).line, problem })),
      unset: new Map(
        Array.from(emitter.unset, ([name, offsets]) => [
          name,
          Array.from(new Set(Array.from(offsets, (at) => lines(at).line)))
        ])
      )
    }
  })

/** Each variable of the pipeline's environment may use those before it, and then counts for the rest of the file. */
const emitEnv = (
  env: Mapping,
  at: number,
  variables: Map<string, string>,
  emitter: Emitter
): Read<Readonly<Record<string, unknown>>> =>
  Result.gen(function* () {
    const entries = new Map<string, unknown>()
    const left = new Map(env.entries)
    for (const [name, item] of env.entries) {
      if (!left.has(name)) continue
      const one = yield* emitter.emit(new Mapping(new Map([[name, item]])), at, "/env")
      for (const [expanded, value] of Object.entries(one as Record<string, string>)) {
        if (expanded !== name) left.delete(expanded)
        entries.delete(expanded)
        entries.set(expanded, value)
        variables.set(expanded, value)
      }
    }
    emitter.positions.set("/env", at)
    return Object.fromEntries(entries)
  })

const nearest = (positions: Positions, path: string): number | undefined => {
  for (let at = path; ; at = at.slice(0, at.lastIndexOf("/"))) {
    const found = positions.get(at)
    if (found !== undefined || at === "") return found
  }
}
