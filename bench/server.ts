/**
 * A server with minimal costs: it reads the path, and writes bytes that it has made before the first request. It supports only GET
 * requests over HTTP/1.1 with keep-alive.
 */
import { createServer } from "node:net"
import { job, page, pageAfter, pageCount, pageJobs, queueOf } from "./workload/fixtures.ts"

const responseWith = (scope: string, limit: number, body: string): Buffer =>
  Buffer.from(
    [
      "HTTP/1.1 200 OK",
      "Content-Type: application/json; charset=utf-8",
      `RateLimit-Scope: ${scope}`,
      `RateLimit-Limit: ${limit}`,
      `RateLimit-Remaining: ${limit - 1}`,
      "RateLimit-Reset: 1",
      `Content-Length: ${Buffer.byteLength(body)}`,
      "",
      body
    ].join("\r\n")
  )

// A limit that no client reaches, so that a limiter has its costs but never waits.
const jobResponse = responseWith("show-job", 1_000_000_000, job)
const jobsOfPages = Array.from({ length: pageCount }, (_, number) => pageJobs(number))
const pageResponse = (number: number, pages: number) =>
  responseWith("list-scheduled-jobs", 10, page(number, jobsOfPages[number % pageCount], pages))
const pageResponses = jobsOfPages.map((_, number) => pageResponse(number, pageCount))
const notFound = Buffer.from("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

const respond = (target: string, pages: number): Buffer => {
  if (target.includes("/jobs/")) return jobResponse
  if (!target.includes("/scheduled-jobs?")) return notFound
  const [, cursor] = /[?&]after=([^&]*)/.exec(target) ?? []
  const number = cursor === undefined ? 0 : pageAfter(cursor)
  if (number >= pages) return notFound
  return pages === pageCount ? (pageResponses[number] ?? notFound) : pageResponse(number, pages)
}

const headEnd = "\r\n\r\n"

const server = createServer({ noDelay: true }, (socket) => {
  let received = ""
  socket.setEncoding("latin1")
  socket.on("data", (chunk: string) => {
    received += chunk
    for (let end = received.indexOf(headEnd); end !== -1; end = received.indexOf(headEnd)) {
      const head = received.slice(0, end)
      const target = head.slice(head.indexOf(" ") + 1, head.indexOf(" HTTP/1.1"))
      const { latency, pages } = queueOf(target)
      // The reference client sends an empty chunked body if the machine is busy while it looks whether there is a body.
      if (head === "0") {
        received = received.slice(end + headEnd.length)
        continue
      }
      if (latency === 0) socket.write(respond(target, pages))
      else setTimeout(() => socket.write(respond(target, pages)), latency)
      received = received.slice(end + headEnd.length)
    }
  })
  // A contender that exits resets its connections.
  socket.on("error", () => {})
})

server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  if (address !== null && typeof address === "object") process.send?.(address.port)
})
process.on("disconnect", () => process.exit())
