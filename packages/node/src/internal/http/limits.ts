/** The limits of a server's connections. */
export interface Limits {
  /**
   * Beyond this, each new connection closes another one: the one that has been idle for longest, else the one that has sent more requests
   * than it has read responses for longest. If there is none, the new connection is refused.
   */
  readonly maxConnections: number
  /** The bytes of requests and unread responses of all connections together. Beyond this, the connection with the most is closed. */
  readonly maxHeldBytes: number
  /** How long a client may take to send the headers of a request, in milliseconds. */
  readonly headersMillis: number
  /** How long a client may take to send a request, in milliseconds. */
  readonly requestMillis: number
  /** How long a client may take to read a response, or a part of a streamed one, in milliseconds. */
  readonly responseMillis: number
}

/** Long enough that no idle connection closes while a client is about to use it again. */
export const keepAliveMillis = 60_000

/** How often Node checks for requests that take too long, in milliseconds. */
export const checkMillis = 2_000

/** Node's own default: headers that are longer get 431. */
export const maxHeaderBytes = 16 * 1024

/** How much of a connection is read ahead, and how much of a response is buffered before a stream pauses. */
export const highWaterMark = 16 * 1024

/**
 * How many bytes are parsed at a time. Node parses all requests of a chunk, up to 64 KiB, before it does anything else. With this limit a
 * chunk has at most some 40 of the shortest requests.
 */
export const pieceBytes = 1024

/** How many pieces are parsed, and requests started, in one turn of the event loop. */
export const workPerTurn = 16
