/** The files of the page. They are in the folder `static` beside this module; `scripts/run.ts` copies it for the compiled module. */
import { fileURLToPath } from "node:url"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodeHttpPlatform from "@effect/platform-node/NodeHttpPlatform"
import * as NodePath from "@effect/platform-node/NodePath"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpStaticServer from "effect/http/HttpStaticServer"
import * as Layer from "effect/Layer"

const root = fileURLToPath(new URL("./static", import.meta.url))

/** `index.html` at `/`, and the other files under `/ui/`. */
export const layer = Layer.mergeAll(
  HttpRouter.use((router) => Effect.flatMap(HttpStaticServer.make({ root }), (index) => router.add("GET", "/", index))),
  HttpStaticServer.layer({ root, prefix: "/ui", index: undefined })
).pipe(Layer.orDie, Layer.provide([NodeHttpPlatform.layer, NodeFileSystem.layer, NodePath.layer]))
