/** The end of each job's output, in bounded memory. */

/** The bytes that are kept of each job, give or take a chunk. */
const maxBytesPerJob = 4 * 1024 * 1024
/** The bytes that are kept of all jobs together. The logs that began first are removed first. */
const maxBytes = 128 * 1024 * 1024

interface Chunk {
  /** In bytes, from the start of the log. */
  readonly offset: number
  readonly bytes: Uint8Array
}

interface Log {
  /** In the order of their offsets. Agents upload several chunks at once, so they arrive in any order. */
  readonly chunks: Array<Chunk>
  /** The bytes in the chunks. */
  kept: number
  /** The end of the last chunk, in bytes. */
  size: number
}

export class JobLogs {
  readonly #logs = new Map<string, Log>()
  #kept = 0

  /** Adds a chunk, unless it was added before: agents repeat an upload if the response was lost. */
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

  /** The size of a job's output, including what is no longer kept. */
  size(jobUuid: string): number {
    return this.#logs.get(jobUuid)?.size ?? 0
  }

  /** The end of a job's output; empty if nothing is kept. */
  text(jobUuid: string): string {
    // One decoder for all chunks, because a chunk may end inside a character.
    const decoder = new TextDecoder()
    const texts = this.#logs.get(jobUuid)?.chunks.map(({ bytes }) => decoder.decode(bytes, { stream: true })) ?? []
    return texts.join("") + decoder.decode()
  }

  #count(log: Log, bytes: number): void {
    log.kept += bytes
    this.#kept += bytes
  }
}
