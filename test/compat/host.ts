/**
 * The other end of the suite: emulators and bare sockets, opened and told what to do by what the cases post here. For
 * browsers it serves the pages, and passes requests on to those servers, so that all of it is one origin.
 */
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import { join, normalize } from "node:path"
import { text } from "node:stream/consumers"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Deferred, Effect, Exit, Scope } from "effect"
import { reset } from "../../packages/node/src/internal/http/reset.ts"
import * as RawServer from "../support/rawServer.ts"
import type { Outcome } from "./suite.ts"
import type { RawAnswer } from "./support/remote.ts"

/** A service that a case has opened: what can be asked of it. */
interface Service {
  readonly port: string
  readonly methods: Readonly<Record<string, (argument: never) => Effect.Effect<unknown>>>
}

const emulator = Effect.map(
  NodeStacksEmulator.make(),
  ({ addJobs, baseUrl, jobs, notifications, pauseQueue, requests, setFaults }): Service => ({
    port: new URL(baseUrl).port,
    methods: {
      addJobs: (args: Parameters<typeof addJobs>) => addJobs(...args),
      pauseQueue: (args: Parameters<typeof pauseQueue>) => pauseQueue(...args),
      setFaults: (args: Parameters<typeof setFaults>) => setFaults(...args),
      jobs: () => jobs,
      notifications: () => notifications,
      requests: () => requests
    }
  })
)

const raw = (answer: RawAnswer | null) =>
  Effect.map(
    RawServer.make((socket) => {
      if (answer === null) return
      const bytes = RawServer.response(answer)
      socket.write(answer.half ? bytes.subarray(0, -1) : bytes)
    }),
    ({ firstRequest, origin }): Service => ({
      port: new URL(origin).port,
      methods: {
        request: () =>
          Effect.map(firstRequest, ({ headers, target }) => ({ target, headers: Object.fromEntries(headers) })),
        closed: () => Effect.flatMap(firstRequest, ({ closed }) => Deferred.await(closed))
      }
    })
  )

const kinds: Readonly<Record<string, (argument: never) => Effect.Effect<Service, unknown, Scope.Scope>>> = {
  emulator: () => emulator,
  raw
}

/** Passes a request on, and what becomes of the connection back. */
const passOn = (request: Http.IncomingMessage, response: Http.ServerResponse, port: string, path: string) => {
  const { connection: _, ...headers } = request.headers
  const onward = Http.request({ host: "127.0.0.1", port, path, method: request.method, headers, agent: false })
  onward.on("response", (answer) => {
    const { connection: _, "keep-alive": __, ...headers } = answer.headers
    response.writeHead(answer.statusCode ?? 500, headers)
    answer.on("error", () => response.destroy())
    answer.pipe(response)
  })
  onward.on("error", () => {
    if (response.headersSent) response.destroy()
    else reset(request.socket)
  })
  response.on("close", () => onward.destroy())
  request.pipe(onward)
}

const html = (script: string) => `<!doctype html><title>The suite</title><script type="module"${script}</script>`

/** Pages that run the suite. The first one may not generate code; the other one leaves it all to a worker. */
const pages: Readonly<Record<string, { readonly html: string; readonly policy: string }>> = {
  page: { html: html(' src="/web/browser.js">'), policy: "default-src 'none'; script-src 'self'; connect-src 'self'" },
  worker: { html: html('>new Worker("/web/browser.js" + location.search, { type: "module" })'), policy: "" }
}

export interface Host {
  readonly origin: string
  /** What a run has reported; waits for it. */
  readonly report: (run: string) => Effect.Effect<ReadonlyArray<Outcome>>
}

/** Listens until the scope closes. What is under `/web/` comes from this folder. */
export const make = Effect.fnUntraced(function* (web: string) {
  const scope = yield* Effect.scope
  const services = new Map<string, Service & { readonly scope: Scope.Closeable }>()
  const reports = new Map<string, Deferred.Deferred<ReadonlyArray<Outcome>>>()
  const reportOf = (run: string) => {
    const report = reports.get(run) ?? Deferred.makeUnsafe()
    reports.set(run, report)
    return report
  }

  const open = Effect.fnUntraced(function* (
    kind: (argument: never) => Effect.Effect<Service, unknown, Scope.Scope>,
    argument: never
  ) {
    const own = yield* Scope.fork(scope)
    const service = yield* Effect.provideService(kind(argument), Scope.Scope, own)
    const id = String(services.size)
    services.set(id, { ...service, scope: own })
    return { id, port: service.port }
  })

  /** Does what is asked for by a path, with an argument. */
  const act = (first: string, second: string, argument: never): Effect.Effect<unknown, unknown> => {
    if (first === "report") return Deferred.succeed(reportOf(second), argument)
    const kind = kinds[first]
    if (kind !== undefined) return open(kind, argument)
    const service = services.get(first)
    if (service === undefined) return Effect.fail(`there is no ${first}`)
    if (second === "close") return Scope.close(service.scope, Exit.void)
    return service.methods[second]?.(argument) ?? Effect.fail(`there is no ${second}`)
  }

  const listener = async (request: Http.IncomingMessage, response: Http.ServerResponse): Promise<void> => {
    const target = request.url ?? "/"
    const [, first = "", second = ""] = target.split(/[/?]/)
    if (first === "proxy") return passOn(request, response, second, target.slice(`/proxy/${second}`.length))
    const page = pages[first]
    if (page !== undefined) {
      response.writeHead(200, { "content-type": "text/html", "content-security-policy": page.policy }).end(page.html)
    } else if (first === "web") {
      const file = join(web, normalize(`/${second}`))
      response.writeHead(200, { "content-type": "text/javascript" }).end(readFileSync(file))
    } else {
      const argument = JSON.parse(await text(request)) as never
      const result = await Effect.runPromise(act(first, second, argument))
      response.end(JSON.stringify(result))
    }
  }

  const server = Http.createServer((request, response) => {
    listener(request, response).catch((error) => response.writeHead(500).end(String(error)))
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  )
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  const host: Host = { origin: `http://127.0.0.1:${port}`, report: (run) => Deferred.await(reportOf(run)) }
  return host
})
