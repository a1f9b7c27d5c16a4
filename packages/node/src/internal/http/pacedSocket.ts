/** A connection that passes received bytes to Node's parser in small pieces, and only while the server asks for more. */
import type * as Net from "node:net"
import { Duplex } from "node:stream"
import { highWaterMark, pieceBytes } from "./limits.ts"

type Callback = (error?: Error | null) => void

/** What a connection reports to the server. */
export interface Observer {
  /** Bytes have arrived, or can be taken again: call `handOver` when there is time. */
  readonly onArrival: () => void
  /** The connection sends a number of bytes, or, if negative, has sent them. */
  readonly onSending: (bytes: number) => void
}

export class PacedSocket extends Duplex {
  readonly #raw: Net.Socket
  readonly #observer: Observer
  #isAskedForMore = false
  #writes = 0
  #pendingWrite: number | undefined

  constructor(raw: Net.Socket, observer: Observer) {
    super({ allowHalfOpen: true, decodeStrings: false, highWaterMark })
    this.#raw = raw
    this.#observer = observer
    raw.on("readable", observer.onArrival)
    raw.on("end", () => this.push(null))
    raw.on("timeout", () => this.emit("timeout"))
    raw.on("error", (error) => this.destroy(error))
    raw.on("close", () => this.destroy())
  }

  /** Passes a piece to the parser. Returns its length. */
  handOver(): number {
    if (this.destroyed || !this.#isAskedForMore) return 0
    const length = Math.min(this.#raw.readableLength, pieceBytes)
    // Reading nothing lets the end of the connection be noticed.
    const piece: Uint8Array | null = this.#raw.read(length)
    if (piece === null) return 0
    this.#isAskedForMore = this.push(piece)
    if (this.#raw.readableLength === 0) this.#raw.read(0)
    return piece.length
  }

  get hasMore(): boolean {
    return this.#isAskedForMore && this.#raw.readableLength > 0
  }

  /** The number of the current write; undefined if there is none. */
  get pendingWrite(): number | undefined {
    return this.#pendingWrite
  }

  // -----------------------------------------------------------------------------
  // A stream
  // -----------------------------------------------------------------------------

  override _read(): void {
    this.#isAskedForMore = true
    if (this.#raw.readableLength > 0) this.#observer.onArrival()
  }

  override _write(chunk: Uint8Array | string, encoding: BufferEncoding, callback: Callback): void {
    const onSent = this.#sending(chunk.length, callback)
    this.#raw.write(chunk, encoding, onSent)
    if (this.#raw.writableLength === 0) onSent()
  }

  override _writev(chunks: Array<{ chunk: Uint8Array | string; encoding: BufferEncoding }>, callback: Callback): void {
    const bytes = chunks.reduce((sum, { chunk }) => sum + chunk.length, 0)
    const onSent = this.#sending(bytes, callback)
    const last = chunks.length - 1
    this.#raw.cork()
    for (const [index, { chunk, encoding }] of chunks.entries()) {
      if (index === last) this.#raw.write(chunk, encoding, onSent)
      else this.#raw.write(chunk, encoding)
    }
    this.#raw.uncork()
    if (this.#raw.writableLength === 0) onSent()
  }

  /**
   * Records a write until the system has taken it. If the system takes it at once, the callback runs at once, like for Node's sockets:
   * Node's server writes an error and destroys the socket, which loses pending writes.
   */
  #sending(bytes: number, callback: Callback): Callback {
    const write = ++this.#writes
    let isSent = false
    this.#pendingWrite = write
    this.#observer.onSending(bytes)
    return (error) => {
      if (isSent) return
      isSent = true
      this.#pendingWrite = undefined
      this.#observer.onSending(-bytes)
      callback(error)
    }
  }

  override _final(callback: Callback): void {
    this.#raw.end(callback)
  }

  override _destroy(error: Error | null, callback: Callback): void {
    this.#raw.destroy()
    callback(error)
  }

  // -----------------------------------------------------------------------------
  // Other members of a socket that the servers use
  // -----------------------------------------------------------------------------

  get remoteAddress(): string | undefined {
    return this.#raw.remoteAddress
  }

  setTimeout(millis: number): this {
    this.#raw.setTimeout(millis)
    return this
  }

  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once("finish", this.destroy)
  }

  resetAndDestroy(): this {
    this.#raw.resetAndDestroy()
    return this.destroy()
  }
}
