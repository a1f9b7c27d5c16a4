/** Creates the container of an agent: image, container, token, start. */
import { type AgentRequest, ProviderError } from "@stacksapi/core/AgentProvider"
import * as ByteSize from "effect/ByteSize"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as Path from "effect/Path"
import type { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import type * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { PullPolicy } from "../../DockerProvider.ts"
import * as Body from "./container.ts"
import * as Credentials from "./credentials.ts"
import * as DockerConfig from "./dockerConfig.ts"
import type { Engine, EngineError } from "./engine.ts"
import * as Failures from "./failures.ts"
import { parseImage } from "./imageReference.ts"
import type { KeyedLock } from "./keyedLock.ts"
import * as Pull from "./pull.ts"
import { Created, Details, Image } from "./schemas.ts"
import * as Tar from "./tar.ts"

/** The services that are needed to read Docker's configuration and to run its credential helpers. */
export type Services = FileSystem.FileSystem | Path.Path | ChildProcessSpawner

const slow = Duration.minutes(1)

const isStatus = (status: number) => (error: EngineError) => error.status === status

// -----------------------------------------------------------------------------
// Image
// -----------------------------------------------------------------------------

const pathOf = (image: string) => image.split("/").map(encodeURIComponent).join("/")

const inspectImage = (engine: Engine, image: string) =>
  engine.json(Image, "GET", `/images/${pathOf(image)}/json`).pipe(
    Effect.catchIf(isStatus(404), () => Effect.undefined),
    Effect.mapError(Failures.ofCreate)
  )

const credentialsFor = Effect.fnUntraced(
  function* (image: string) {
    return yield* Credentials.headerFor(yield* DockerConfig.read, parseImage(image).registry)
  },
  Effect.mapError(({ message }) => new ProviderError({ reason: "NoCapacity", message }))
)

/** Makes sure that the Engine has the image, and pulls it according to the policy. Returns the image. */
const provideImage = Effect.fnUntraced(function* (
  engine: Engine,
  image: string,
  policy: PullPolicy,
  notify: AgentRequest["notify"]
) {
  if (policy !== "always") {
    const found = yield* inspectImage(engine, image)
    if (found !== undefined) return found
    if (policy === "never") return yield* missing(`The image ${image} is not on ${engine.host}, and is never pulled`)
  }
  const auth = yield* credentialsFor(image)
  yield* Effect.mapError(Pull.pull(engine, image, auth, notify), (error) => Failures.ofPull(image, error))
  const pulled = yield* inspectImage(engine, image)
  return pulled ?? (yield* missing(`The image ${image} was pulled, but it is not on ${engine.host}`))
})

/** Checks, without pulling, that the image is on the Engine or in its registry. */
export const findImage = Effect.fnUntraced(function* (engine: Engine, image: string, policy: PullPolicy) {
  if (policy !== "always" && (yield* inspectImage(engine, image)) !== undefined) return
  if (policy === "never") return yield* missing(`The image ${image} is not on ${engine.host}, and is never pulled`)
  const auth = yield* credentialsFor(image)
  yield* engine
    .run("GET", `/distribution/${pathOf(image)}/json`, { headers: Pull.headersOf(auth) })
    .pipe(Effect.mapError((error) => Failures.ofPull(image, error)))
})

const missing = (message: string) => new ProviderError({ reason: "Refused", message })

// -----------------------------------------------------------------------------
// Container
// -----------------------------------------------------------------------------

/** A larger file of an image is read only up to here. */
const maxFileSize = ByteSize.mebibytes(1)

/** A file of a container that has not started; empty if there is none. */
const readFile = (engine: Engine, id: string, path: string) =>
  Stream.limitBytes(
    engine.bytes("GET", `/containers/${id}/archive`, { query: { path } }),
    maxFileSize,
    () => Stream.empty
  ).pipe(
    Stream.mkUint8Array,
    Effect.map((archive) => Tar.readFirst(archive) ?? ""),
    Effect.catchIf(isStatus(404), () => Effect.succeed(""))
  )

/** Puts the token into a container: as a file that its user alone can read, and that no description of the container shows. */
const putToken = Effect.fnUntraced(function* (
  engine: Engine,
  id: string,
  {
    container,
    image,
    token
  }: { readonly container: Body.Container; readonly image: Image; readonly token: Redacted.Redacted }
) {
  const user = Body.userOf(container, image)
  const uid =
    user === ""
      ? 0
      : /^\d+$/.test(user)
        ? Number(user)
        : (Body.uidIn(yield* readFile(engine, id, "/etc/passwd"), user) ?? 0)
  const ownFile = Body.ownConfigFile(image)
  const own = ownFile === undefined ? "" : yield* readFile(engine, id, ownFile)
  yield* engine.run("PUT", `/containers/${id}/archive`, {
    query: { path: "/" },
    body: Body.configArchive(uid, own, token)
  })
})

/** Connects the container to all networks except the first, which was set when the container was created. */
const connect = (engine: Engine, id: string, networks: ReadonlyArray<string>) =>
  Effect.forEach(
    networks.slice(1),
    (network) => engine.run("POST", `/networks/${encodeURIComponent(network)}/connect`, { body: { Container: id } }),
    { discard: true }
  )

/** Returns the id of the existing container with this name, or undefined if that container has already been started. */
const unstarted = Effect.fnUntraced(function* (engine: Engine, name: string) {
  const { Id, State } = yield* engine.json(Details, "GET", `/containers/${name}/json`)
  return State.Status === "created" ? Id : undefined
})

export interface Settings {
  readonly pull: PullPolicy
  /** One pull of an image at a time. */
  readonly pulling: KeyedLock
}

/**
 * Creates and starts a container. Returns the container's id, or undefined if a container of this name has already been started. If a
 * container of this name was created and not started (by a process that died), puts this token into it and starts it.
 */
export const create = Effect.fnUntraced(function* (
  engine: Engine,
  request: AgentRequest,
  container: Body.Container,
  { pull, pulling }: Settings
) {
  const { name, notify, token } = request
  const image = yield* pulling(`${engine.host} ${container.image}`)(provideImage(engine, container.image, pull, notify))
  const body = Body.bodyOf(request, container)
  return yield* Effect.gen(function* () {
    const id = yield* engine.json(Created, "POST", "/containers/create", { query: { name }, body, timeout: slow }).pipe(
      Effect.map(({ Id }) => Id),
      Effect.catchIf(isStatus(409), () => unstarted(engine, name)),
      Effect.mapError(Failures.ofContainer(name))
    )
    if (id === undefined) return undefined
    yield* connect(engine, id, container.networks ?? []).pipe(
      Effect.andThen(putToken(engine, id, { container, image, token })),
      Effect.andThen(engine.run("POST", `/containers/${id}/start`, { timeout: slow })),
      Effect.mapError(Failures.ofContainer(id))
    )
    return id
    // An interruption waits: it would leave a container that has not started, and no listing shows such a container.
  }).pipe(Effect.uninterruptible)
})
