/** Limits the memory and work of a server's connections, so that the rest of the process is not affected. */
import type * as Http from "node:http"
import type * as Net from "node:net"
import { type Limits, workPerTurn } from "./limits.ts"
import { PacedSocket } from "./pacedSocket.ts"
import { makeTurns, type Turns } from "./turns.ts"

/** Handles a request. */
export type Handler = (request: Http.IncomingMessage, response: Http.ServerResponse) => void

export class Connections {
  readonly #limits: Limits
  readonly #handler: Handler
  readonly #turns: Turns = makeTurns(workPerTurn)
  /** The connection that has been idle for longest is first. */
  readonly #open = new Set<Connection>()
  readonly #of = new WeakMap<object, Connection>()
  #heldBytes = 0

  /** Takes over the connections of a server that does not listen yet. */
  constructor(server: Http.Server, handler: Handler, limits: Limits) {
    this.#limits = limits
    this.#handler = handler
    // Connections that close in this turn still count; this is for many that arrive at once.
    server.maxConnections = 2 * limits.maxConnections
    // Node's server accepts any stream as a connection.
    const accept = server.listeners("connection")
    server.removeAllListeners("connection")
    server.on("connection", (raw: Net.Socket) => {
      const connection = this.#admit(raw)
      if (connection === undefined) return
      for (const each of accept) Reflect.apply(each, server, [connection.socket])
    })
    server.on("request", (request, response) => {
      const connection = this.#of.get(request.socket)
      if (connection === undefined) this.#handler(request, response)
      else connection.add(request, response)
    })
  }

  /** Closes connections whose reader has not taken the same write for two calls. */
  closeStalled(): void {
    for (const connection of this.#open) if (connection.isStalled()) connection.close()
  }

  #admit(raw: Net.Socket): Connection | undefined {
    if (this.#open.size >= this.#limits.maxConnections) {
      const closable = this.#first(({ isIdle }) => isIdle) ?? this.#first(({ isOverusing }) => isOverusing)
      if (closable === undefined) {
        raw.destroy()
        return undefined
      }
      closable.close()
    }
    const connection: Connection = new Connection(raw, {
      handler: this.#handler,
      turns: this.#turns,
      onHeld: (bytes) => this.#hold(bytes),
      onIdle: () => {
        if (this.#open.delete(connection)) this.#open.add(connection)
      },
      onClose: () => this.#open.delete(connection)
    })
    this.#open.add(connection)
    this.#of.set(connection.socket, connection)
    return connection
  }

  #first(matches: (connection: Connection) => boolean): Connection | undefined {
    for (const connection of this.#open) if (matches(connection)) return connection
    return undefined
  }

  #hold(bytes: number): void {
    this.#heldBytes += bytes
    while (bytes > 0 && this.#heldBytes > this.#limits.maxHeldBytes) {
      const before = this.#heldBytes
      this.#largest()?.close()
      if (this.#heldBytes >= before) return
    }
  }

  #largest(): Connection | undefined {
    let largest: Connection | undefined
    for (const connection of this.#open) {
      if (connection.heldBytes > (largest?.heldBytes ?? 0)) largest = connection
    }
    return largest
  }
}

interface Dependencies {
  readonly handler: Handler
  readonly turns: Turns
  readonly onHeld: (bytes: number) => void
  readonly onIdle: () => void
  readonly onClose: () => void
}

/** A connection. It handles its requests one after the other. */
class Connection {
  readonly socket: PacedSocket
  readonly #dependencies: Dependencies
  /** The requests that are parsed and not started: at most those of one piece. */
  #waiting: Array<() => void> = []
  #isResponding = false
  #isScheduled = false
  #isClosed = false
  #received = 0
  #sending = 0
  /** The write at the last check, and for how many checks it has been the same. */
  #seenWrite: number | undefined
  #stalls = 0

  constructor(raw: Net.Socket, dependencies: Dependencies) {
    this.#dependencies = dependencies
    this.socket = new PacedSocket(raw, {
      onArrival: () => this.#schedule(),
      onSending: (bytes) => {
        this.#sending += bytes
        this.#held(bytes)
      }
    })
    this.socket.once("close", () => this.#end())
  }

  /** Whether it has no request to respond to. It may be sending the headers of one. */
  get isIdle(): boolean {
    return !this.#isResponding && this.#waiting.length === 0
  }

  /** Whether it has several requests waiting, or an unread response. */
  get isOverusing(): boolean {
    return this.#waiting.length > 0 || this.socket.pendingWrite !== undefined
  }

  get heldBytes(): number {
    return this.#received + this.#sending
  }

  add(request: Http.IncomingMessage, response: Http.ServerResponse): void {
    this.#waiting.push(() => {
      if (response.destroyed) return this.#next()
      response.once("close", () => {
        this.#receive(-this.#received)
        this.#next()
      })
      this.#dependencies.handler(request, response)
    })
    if (!this.#isResponding) this.#next()
  }

  isStalled(): boolean {
    const write = this.socket.pendingWrite
    this.#stalls = write !== undefined && write === this.#seenWrite ? this.#stalls + 1 : 0
    this.#seenWrite = write
    return this.#stalls >= 2
  }

  close(): void {
    this.#end()
    this.socket.destroy()
  }

  #next(): void {
    if (this.#isClosed) return
    const begin = this.#waiting.shift()
    this.#isResponding = begin !== undefined
    if (begin === undefined) {
      this.#dependencies.onIdle()
      this.#schedule()
    } else {
      this.#dependencies.turns.run(begin)
    }
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isClosed || this.#waiting.length > 0) return
    this.#isScheduled = true
    this.#dependencies.turns.run(() => {
      this.#isScheduled = false
      if (this.#isClosed || this.#waiting.length > 0) return
      this.#receive(this.socket.handOver())
      if (this.socket.hasMore) this.#schedule()
    })
  }

  #receive(bytes: number): void {
    this.#received += bytes
    this.#held(bytes)
  }

  #held(bytes: number): void {
    if (!this.#isClosed && bytes !== 0) this.#dependencies.onHeld(bytes)
  }

  #end(): void {
    if (this.#isClosed) return
    const { heldBytes } = this
    this.#isClosed = true
    this.#waiting = []
    this.#dependencies.onClose()
    this.#dependencies.onHeld(-heldBytes)
  }
}
