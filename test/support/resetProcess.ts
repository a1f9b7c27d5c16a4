/** A process that breaks a connection which it has begun to end, and then has nothing left to do. */
import * as Net from "node:net"
import { reset } from "../../packages/node/src/internal/http/reset.ts"

const server = Net.createServer((socket) => {
  socket.on("error", () => {})
  socket.once("data", () => {
    socket.end()
    reset(socket)
    server.close()
  })
})
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  const client = Net.connect(typeof address === "object" && address !== null ? address.port : 0, "127.0.0.1")
  client.on("error", () => {}).resume()
  client.write("x")
})
