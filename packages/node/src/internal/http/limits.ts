/** What clients can make a server of ours hold and do. */
export interface Limits {
  /**
   * Beyond this one is closed for each new one: the one that has been idle for longest, else the one that has asked for more
   * than it reads for longest. Where there is no such connection, the new one is refused.
   */
  readonly maxConnections: number
  /**
   * Bytes that all connections together hold: of requests that are being received or answered, and of answers that are not
   * read. Beyond this the connection that holds most is closed.
   */
  readonly maxHeldBytes: number
  /** How long a client may take to send the headers of a request, in milliseconds. */
  readonly headersMillis: number
  /** How long a client may take to send a request, in milliseconds. */
  readonly requestMillis: number
  /** How long a client may take to read an answer, or a part of one that is sent in parts, in milliseconds. */
  readonly answerMillis: number
}

/** Long enough that no idle connection ends while a client is about to use it again. */
export const keepAliveMillis = 60_000

/** How often Node looks for requests that take too long, in milliseconds. */
export const checkMillis = 2_000

/** Node's own default: headers that are longer get 431. */
export const maxHeaderBytes = 16 * 1024

/** How much of a connection is read ahead, and how much of an answer waits for its reader before a stream pauses. */
export const highWaterMark = 16 * 1024

/**
 * How much of what has arrived is parsed at a time. Node parses all requests of a chunk before it does anything else, up to
 * 64 KiB; with this it is some 40 of the shortest requests.
 */
export const pieceBytes = 1024

/** How many pieces are parsed, and requests begun, in one turn of the event loop. */
export const workPerTurn = 16
