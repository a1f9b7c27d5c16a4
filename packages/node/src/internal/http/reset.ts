import type * as Net from "node:net"

/**
 * Breaks a connection with a reset. Closes one that is ending already: Node (24.21) never releases a socket that is reset then, and spins for
 * ever when the process exits.
 */
export const reset = (socket: Net.Socket): void => {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}
