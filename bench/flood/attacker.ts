/**
 * Floods a server with requests: `node bench/flood/attacker.ts <port> <attack>`. When it is stopped, it prints the number of refused
 * and closed connections, and the bytes that it has read.
 */
import * as Net from "node:net"

const [port = "0", name = "unread", path = "/metrics"] = process.argv.slice(2)

const head = `GET ${path} HTTP/1.1\r\nhost: localhost\r\n`
const pipelined = (bytes: number): string => {
  const request = `${head}\r\n`
  return request.repeat(Math.ceil(bytes / request.length))
}

interface Attack {
  readonly connections: number
  /** The bytes that each connection sends, repeatedly if it reads. */
  readonly sent: string
  readonly reads: boolean
}

const attacks: Readonly<Record<string, Attack>> = {
  unread: { connections: 200, sent: pipelined(70_000), reads: false },
  read: { connections: 200, sent: pipelined(70_000), reads: true },
  many: { connections: 2000, sent: pipelined(7_000), reads: false },
  idle: { connections: 5000, sent: "", reads: false },
  slow: { connections: 2000, sent: head, reads: false }
}

const { connections, reads, sent } = attacks[name] ?? { connections: 0, sent: "", reads: false }
const counts = { connected: 0, closed: 0, bytesRead: 0 }
for (let index = 0; index < connections; index++) {
  const socket = Net.connect(Number(port), "127.0.0.1", () => {
    counts.connected++
    if (!reads) socket.pause()
    if (sent !== "") socket.write(sent)
  })
  socket.on("error", () => {})
  socket.on("close", () => counts.closed++)
  if (reads) {
    socket.on("data", (bytes) => {
      counts.bytesRead += bytes.length
    })
  }
}

process.on("SIGTERM", () => {
  console.log(JSON.stringify(counts))
  process.exit(0)
})
// Keep running after the server has closed all connections.
setInterval(() => {}, 1000)
