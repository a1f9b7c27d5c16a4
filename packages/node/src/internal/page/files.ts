/** The files of the page. They are read from beside this module: `scripts/run.ts` copies them beside the compiled one. */
import { fileURLToPath } from "node:url"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"

const types = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml"
}

const modules = ["main", "activity", "api", "dom", "format", "forms", "job", "jobs", "overview", "timeline"]

const serve = Effect.fnUntraced(function* (name: string, type: keyof typeof types) {
  const fs = yield* FileSystem.FileSystem
  const path = fileURLToPath(new URL(`./static/${name}.${type}`, import.meta.url))
  return HttpRouter.route(
    "GET",
    name === "index" ? "/" : `/ui/${name}.${type}`,
    Effect.map(Effect.orDie(fs.readFile(path)), (bytes) =>
      HttpServerResponse.uint8Array(bytes, { contentType: types[type] })
    )
  )
})

export const layer = HttpRouter.addAll(
  Effect.all([
    serve("index", "html"),
    serve("page", "css"),
    serve("icon", "svg"),
    ...modules.map((name) => serve(name, "js"))
  ])
).pipe(Layer.provide(NodeFileSystem.layer))
