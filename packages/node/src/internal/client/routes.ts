/** Where requests go: the connections to the origin of a URL, direct or through a proxy. */
import type * as Undici from "@effect/platform-node/Undici"
import * as Effect from "effect/Effect"
import * as HttpClientError from "effect/http/HttpClientError"
import type { HttpClientRequest } from "effect/http/HttpClientRequest"
import * as Url from "effect/http/Url"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Proxy from "./proxy.ts"

/** The connections to an origin, and the proxy if there is one. */
export interface Route {
  readonly origin: string
  readonly dispatcher: Undici.Dispatcher
  readonly proxy: Proxy.Proxy | undefined
}

interface Target {
  readonly route: Route
  /** Path and query. */
  readonly path: string
}

/** The target of a request, or what is wrong with its URL or the settings of the proxy. */
export type TargetOf = (request: HttpClientRequest) => Result.Result<Target, HttpClientError.HttpClientError>

/** A URL that `URL` would not change: its origin, and its path and query. No segment of the path may be a dot. */
const plainUrl = /^(https?:\/\/[^/?#\\]+)(\/(?:[\w~/-]|%(?!2e))*(?:\?[\w~=&%.-]*)?)$/i

const invalidUrl = (request: HttpClientRequest, why: { readonly cause?: unknown; readonly description?: string }) =>
  new HttpClientError.HttpClientError({ reason: new HttpClientError.InvalidUrlError({ request, ...why }) })

/** The routes of a client, each made on first use. Their connections close with the scope. */
export const make = Effect.fnUntraced(function* (
  { Pool, ProxyAgent }: typeof Undici,
  choice: Proxy.Choice | undefined
): Effect.fn.Return<TargetOf, never, Scope.Scope> {
  const proxyOf = yield* Proxy.make(choice)
  const dispatchers: Array<Undici.Dispatcher> = []
  yield* Effect.addFinalizer(() =>
    Effect.promise(() => Promise.all(dispatchers.map((dispatcher) => dispatcher.destroy())))
  )
  const open = (dispatcher: Undici.Dispatcher): Undici.Dispatcher => {
    dispatchers.push(dispatcher)
    return dispatcher
  }
  const proxies = new Map<Proxy.Proxy, Undici.Dispatcher>()
  const through = (proxy: Proxy.Proxy): Undici.Dispatcher => {
    const dispatcher = proxies.get(proxy) ?? open(new ProxyAgent(Proxy.agentOptions(proxy)))
    proxies.set(proxy, dispatcher)
    return dispatcher
  }
  const makeRoute = (url: URL): Result.Result<Route, string> =>
    Result.map(proxyOf === undefined ? Result.succeed(undefined) : proxyOf(url), (proxy) => ({
      origin: url.origin,
      dispatcher: proxy === undefined ? open(new Pool(url.origin)) : through(proxy),
      proxy
    }))

  const routes = new Map<string, Result.Result<Route, string>>()
  /** The route to an origin, which may be written in several ways. */
  const routeTo = (origin: string): Result.Result<Route, string> => {
    const route = routes.get(origin) ?? makeRoute(new URL(origin))
    routes.set(origin, route)
    return route
  }

  return (request) => {
    const { hash, url, urlParams } = request
    const plain = urlParams.params.length === 0 && Option.isNone(hash) ? plainUrl.exec(url) : null
    let [, origin = "", path = ""] = plain ?? []
    if (plain === null || !(routes.has(origin) || URL.canParse(origin))) {
      const parsed = Url.make(url, urlParams, Option.getOrUndefined(hash))
      if (Result.isFailure(parsed)) return Result.fail(invalidUrl(request, { cause: parsed.failure }))
      origin = parsed.success.origin
      path = parsed.success.pathname + parsed.success.search
    }
    const route = routeTo(origin)
    return Result.isSuccess(route)
      ? Result.succeed({ route: route.success, path })
      : Result.fail(invalidUrl(request, { description: route.failure }))
  }
})
