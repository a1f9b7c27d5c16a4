import type * as Net from "node:net"

/**
 * Breaks a connection with a reset. One that is being ended already is closed instead: Node (24.21) never lets go of a
 * socket that is reset meanwhile, and spins for ever when the process is to exit.
 */
export const reset = (socket: Net.Socket): void => {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}
