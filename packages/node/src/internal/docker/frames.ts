/** What a container without a terminal prints: frames of a header and bytes, of its standard output or its standard error. */

export interface Chunk {
  readonly channel: "stdout" | "stderr"
  readonly bytes: Uint8Array
}

const headerSize = 8

/** Takes the bytes of a response in pieces of any size. It keeps no more than a part of a header. */
export class Frames {
  #channel: Chunk["channel"] = "stdout"
  /** How much of the current frame is missing. */
  #rest = 0
  #header = new Uint8Array(0)

  push(piece: Uint8Array): ReadonlyArray<Chunk> {
    const chunks: Array<Chunk> = []
    let bytes = piece
    while (bytes.length > 0) {
      if (this.#rest === 0) {
        const missing = headerSize - this.#header.length
        this.#header = Buffer.concat([this.#header, bytes.subarray(0, missing)])
        bytes = bytes.subarray(missing)
        if (this.#header.length < headerSize) break
        this.#channel = this.#header[0] === 2 ? "stderr" : "stdout"
        this.#rest = Buffer.from(this.#header).readUInt32BE(4)
        this.#header = new Uint8Array(0)
        continue
      }
      const part = bytes.subarray(0, this.#rest)
      chunks.push({ channel: this.#channel, bytes: part })
      this.#rest -= part.length
      bytes = bytes.subarray(part.length)
    }
    return chunks
  }
}
