/** What agents upload of their jobs' output: the last of it, in bounded memory. */

/** Of each job this many last bytes are kept, give or take a chunk. */
const maxBytesPerJob = 4 * 1024 * 1024
/** Of all jobs together this many; the logs that began first are forgotten first. */
const maxBytes = 128 * 1024 * 1024

interface Chunk {
  /** Where in the log it begins, in bytes. */
  readonly offset: number
  readonly bytes: Uint8Array
}

interface Log {
  /** In the order of their offsets: an agent uploads several at once, so that they may arrive in any order. */
  readonly chunks: Array<Chunk>
  /** How many bytes the chunks hold. */
  kept: number
  /** Where the log ends, in bytes, as far as it has arrived. */
  size: number
}

export class JobLogs {
  readonly #logs = new Map<string, Log>()
  #kept = 0

  /** Keeps a chunk, unless it is there already: an agent sends one again whose answer was lost. */
  add(jobUuid: string, chunk: Chunk): void {
    const log = this.#logs.get(jobUuid) ?? { chunks: [], kept: 0, size: 0 }
    this.#logs.set(jobUuid, log)
    const index = log.chunks.findLastIndex(({ offset }) => offset <= chunk.offset)
    if (log.chunks[index]?.offset === chunk.offset) return
    log.chunks.splice(index + 1, 0, chunk)
    log.size = Math.max(log.size, chunk.offset + chunk.bytes.length)
    this.#count(log, chunk.bytes.length)
    while (log.kept > maxBytesPerJob && log.chunks.length > 1) {
      this.#count(log, -(log.chunks.shift()?.bytes.length ?? 0))
    }
    for (const [id, oldest] of this.#logs) {
      if (this.#kept <= maxBytes || oldest === log) break
      this.#logs.delete(id)
      this.#kept -= oldest.kept
    }
  }

  /** How many bytes of a job's output have arrived, kept or not. */
  size(jobUuid: string): number {
    return this.#logs.get(jobUuid)?.size ?? 0
  }

  /** The last of a job's output; empty where nothing has arrived or nothing is left. */
  text(jobUuid: string): string {
    // One decoder for all: a chunk may end within a character.
    const decoder = new TextDecoder()
    const texts = this.#logs.get(jobUuid)?.chunks.map(({ bytes }) => decoder.decode(bytes, { stream: true })) ?? []
    return texts.join("") + decoder.decode()
  }

  #count(log: Log, bytes: number): void {
    log.kept += bytes
    this.#kept += bytes
  }
}
