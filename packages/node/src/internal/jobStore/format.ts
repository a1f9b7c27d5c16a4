/**
 * The file of a job store as text. It begins with a header, and has one line for each write:
 *
 * ```text
 * stacksapi-job-store 1 <id> <checksum>
 * <checksum> <sequence number> [{"stack":"key","save":[…]},{"stack":"key","remove":["id"]}]
 * ```
 *
 * A line is valid if its checksum is right and its number follows that of the line before. The checksum covers the file's id, so
 * that a line of an older file, which a crash can bring back, is not valid here. Fields that this version does not know are kept
 * within a saved job, and ignored elsewhere.
 */
import type { Buffer } from "node:buffer"
import { crc32 } from "node:zlib"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

const magic = "stacksapi-job-store "
const version = 1

// -----------------------------------------------------------------------------
// Writing
// -----------------------------------------------------------------------------

const hex = (checksum: number): string => checksum.toString(16).padStart(8, "0")

const header = (id: string): string => withChecksum(`${magic}${version} ${id} `)

/** The header of every version ends with a checksum. */
const withChecksum = (start: string): string => `${start}${hex(crc32(start))}\n`

/** The JSON of one call of `save`, of jobs that are JSON already. */
export const saveEntry = (stackKey: string, jobs: ReadonlyArray<string>): string =>
  `{"stack":${JSON.stringify(stackKey)},"save":[${jobs.join(",")}]}`

/** The JSON of one call of `remove`. */
export const removeEntry = (stackKey: string, jobUuids: ReadonlyArray<string>): string =>
  `{"stack":${JSON.stringify(stackKey)},"remove":${JSON.stringify(jobUuids)}}`

export const line = (id: string, sequence: number, entries: ReadonlyArray<string>): string => {
  const rest = ` ${sequence} [${entries.join(",")}]`
  return `${hex(crc32(rest, crc32(id)))}${rest}\n`
}

// -----------------------------------------------------------------------------
// The saved jobs
// -----------------------------------------------------------------------------

/** The jobs of each stack by their ids, each as JSON, in the order in which they were saved first. */
export class SavedJobs {
  readonly #stacks = new Map<string, Map<string, string>>()
  /** About how many bytes the jobs take in a file. */
  size = 0

  of(stackKey: string): ReadonlyArray<string> {
    return Array.from(this.#stacks.get(stackKey)?.values() ?? [])
  }

  save(stackKey: string, jobUuid: string, json: string): void {
    const jobs = this.#stacks.get(stackKey) ?? new Map<string, string>()
    this.#stacks.set(stackKey, jobs)
    this.size += json.length - (jobs.get(jobUuid)?.length ?? 0)
    jobs.set(jobUuid, json)
  }

  remove(stackKey: string, jobUuid: string): void {
    const jobs = this.#stacks.get(stackKey)
    this.size -= jobs?.get(jobUuid)?.length ?? 0
    jobs?.delete(jobUuid)
    if (jobs?.size === 0) this.#stacks.delete(stackKey)
  }

  /** A whole file with these jobs and nothing else. */
  toLines(id: string): ReadonlyArray<string> {
    const entries = Array.from(this.#stacks).flatMap(([stackKey, jobs]) => {
      const all = Array.from(jobs.values())
      return Array.from({ length: Math.ceil(all.length / jobsPerLine) }, (_, index) =>
        saveEntry(stackKey, all.slice(index * jobsPerLine, (index + 1) * jobsPerLine))
      )
    })
    return [header(id), ...entries.map((entry, index) => line(id, index, [entry]))]
  }
}

const jobsPerLine = 500

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

/** What a file holds. */
export type Content =
  /** Nothing yet: its creation was interrupted. */
  | { readonly _tag: "Empty" }
  | {
      readonly _tag: "Sound"
      readonly id: string
      readonly jobs: SavedJobs
      readonly nextSequence: number
      /** How many bytes are valid. What follows was not written whole. */
      readonly size: number
    }
  | { readonly _tag: "NotAJobStore" }
  | { readonly _tag: "NewerVersion"; readonly version: string }
  /** Bytes before valid lines are wrong: no crash does that. */
  | { readonly _tag: "Damaged"; readonly offset: number }

const newline = 0x0a

const Entries = Schema.fromJsonString(
  Schema.Array(
    Schema.Struct({
      stack: Schema.String,
      save: Schema.optional(Schema.Array(Schema.Unknown)),
      remove: Schema.optional(Schema.Array(Schema.String))
    })
  )
)
const decodeEntries = Schema.decodeUnknownOption(Entries)

export const read = (bytes: Buffer): Content => {
  const headerEnd = bytes.indexOf(newline) + 1
  if (headerEnd === 0) {
    const start = bytes.toString("latin1", 0, magic.length)
    return start === magic || magic.startsWith(start) ? { _tag: "Empty" } : { _tag: "NotAJobStore" }
  }
  const text = bytes.toString("latin1", 0, headerEnd)
  if (!text.startsWith(magic)) return { _tag: "NotAJobStore" }
  if (text !== withChecksum(text.slice(0, -checksumLength - 1))) return { _tag: "Damaged", offset: 0 }
  const [, itsVersion = "", id = ""] = text.split(" ")
  if (itsVersion !== String(version)) return { _tag: "NewerVersion", version: itsVersion }

  const jobs = new SavedJobs()
  let nextSequence = 0
  let size = headerEnd
  for (const [start, end] of linesOf(bytes, headerEnd)) {
    const found = readLine(bytes, start, end, id)
    if (found === undefined || found.sequence !== nextSequence || !replay(jobs, found.json)) {
      return hasLine(bytes, end, id) || found !== undefined
        ? { _tag: "Damaged", offset: start }
        : { _tag: "Sound", id, jobs, nextSequence, size }
    }
    nextSequence++
    size = end
  }
  return { _tag: "Sound", id, jobs, nextSequence, size }
}

/** Where lines begin and end, each with its newline. */
function* linesOf(bytes: Buffer, from: number): Iterable<readonly [start: number, end: number]> {
  for (let start = from; ; ) {
    const end = bytes.indexOf(newline, start) + 1
    if (end === 0) return
    yield [start, end]
    start = end
  }
}

const hasLine = (bytes: Buffer, from: number, id: string): boolean => {
  for (const [start, end] of linesOf(bytes, from)) if (readLine(bytes, start, end, id) !== undefined) return true
  return false
}

const checksumLength = 8

/** A line whose checksum is right. */
const readLine = (
  bytes: Buffer,
  start: number,
  end: number,
  id: string
): { readonly sequence: number; readonly json: string } | undefined => {
  const rest = bytes.subarray(start + checksumLength, end - 1)
  const checksum = bytes.toString("latin1", start, start + checksumLength)
  if (checksum !== hex(crc32(rest, crc32(id)))) return undefined
  const match = /^ (\d+) (.*)$/s.exec(rest.toString("utf8"))
  return match === null ? undefined : { sequence: Number(match[1]), json: match[2] ?? "" }
}

/** Does again what a line says. */
const replay = (jobs: SavedJobs, json: string): boolean => {
  const entries = decodeEntries(json)
  if (Option.isNone(entries)) return false
  for (const { remove = [], save = [], stack } of entries.value) {
    for (const saved of save) {
      const jobUuid = idOf(saved)
      if (jobUuid !== undefined) jobs.save(stack, jobUuid, JSON.stringify(saved))
    }
    for (const jobUuid of remove) jobs.remove(stack, jobUuid)
  }
  return true
}

const idOf = (saved: unknown): string | undefined =>
  Predicate.hasProperty(saved, "job") && Predicate.hasProperty(saved.job, "id") && Predicate.isString(saved.job.id)
    ? saved.job.id
    : undefined
