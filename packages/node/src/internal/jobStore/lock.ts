/**
 * A lock on a file, held by one process at a time, and free as soon as its holder is gone, however it ended.
 *
 * Node has no `flock`. A process id in a file proves nothing: another process may have that id by now, and processes of another
 * container are invisible. A listening socket is proof, because the kernel closes it with its process. So a process that wants the lock
 * announces itself by a listening socket beside the file, under a name that no other process uses. Then it looks for others:
 *
 * - If no process listens on a socket, its process is gone. The socket is removed, which can't harm another process.
 * - If a process listens, and its name comes first, this process withdraws.
 * - If a process listens, and its name comes later, this process asks it. It answers that it holds the lock, or withdraws.
 *
 * Each process looks only after it has announced itself. So of two, at least one sees the other, and both can't get the lock.
 * Processes of different machines do not see each other's sockets, on a network file system for example.
 */
import { Buffer } from "node:buffer"
import { createHash, randomBytes } from "node:crypto"
import * as Net from "node:net"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"

/** The process that has the lock. */
export interface Holder {
  readonly pid: number
}

/** Takes the lock until the scope closes, or tells at once who has it. */
export const acquire: (
  folder: string,
  file: string
) => Effect.Effect<Holder | undefined, PlatformError.PlatformError | SocketError, Services | Scope.Scope> =
  Effect.fnUntraced(function* (folder, file) {
    const lockScope = yield* Scope.make()
    const holder = yield* Effect.onError(contend(folder, file, lockScope), () => Scope.close(lockScope, Exit.void))
    if (holder === undefined) yield* Effect.addFinalizer(() => Scope.close(lockScope, Exit.void))
    else yield* Scope.close(lockScope, Exit.void)
    return holder
  }, Effect.uninterruptible)

type Services = FileSystem.FileSystem | Path.Path

/** The socket of the lock can't be made. */
export class SocketError extends Data.TaggedError("SocketError")<{ readonly cause: unknown }> {
  override get message(): string {
    return `its lock can't be made: ${codeOf(this.cause)}`
  }
}

const codeOf = (cause: unknown): string =>
  Predicate.hasProperty(cause, "code") && Predicate.isString(cause.code) ? cause.code : String(cause)

/** A process that does not answer in this time is suspended, and may continue later: it may hold the lock. */
const answerMillis = 5000

const held = "held\n"

/** Competes for the lock. Returns the process that has it; undefined if this process got it. */
const contend = Effect.fnUntraced(function* (folder: string, file: string, lockScope: Scope.Scope) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const prefix = `${shortLabel(file)}.lock-`
  const directory = yield* shortPath(folder, prefix)
  const own = yield* announce(folder, directory, prefix).pipe(
    // Another process removed the socket as dead before it listened.
    Effect.retry({ times: 5, while: isMissing }),
    Scope.provide(lockScope)
  )

  for (;;) {
    const others = (yield* fs.readDirectory(folder)).filter(
      (name) => name !== own.name && pidOf(name, prefix) !== undefined
    )
    let isUncontended = true
    for (const name of others) {
      const socket = path.join(directory, name)
      const answer = name < own.name ? yield* knock(socket) : yield* ask(socket)
      if (answer === "alive") return { pid: pidOf(name, prefix) ?? 0 }
      if (answer === "dead") yield* fs.remove(path.join(folder, name), { force: true })
      else isUncontended = false
    }
    if (isUncontended) {
      own.hold()
      return undefined
    }
  }
}, Effect.scoped)

const isMissing = (error: PlatformError.PlatformError | SocketError): boolean =>
  error._tag === "PlatformError" && error.reason._tag === "NotFound"

// -----------------------------------------------------------------------------
// Names
// -----------------------------------------------------------------------------

/** `<prefix><random>-<pid>`, and `.new` for a socket that is not announced yet. */
const pidOf = (name: string, prefix: string): number | undefined => {
  const match = name.startsWith(prefix) ? /^[0-9a-f]{8}-(\d+)(\.new)?$/.exec(name.slice(prefix.length)) : null
  return match === null ? undefined : Number(match[1])
}

const newName = (prefix: string): string => `${prefix}${randomBytes(4).toString("hex")}-${process.pid}`

/** The maximum length of a socket's path, in bytes, on macOS, which allows the least. */
const maxPathBytes = 103

const maxLabelBytes = 16

const shortLabel = (file: string): string =>
  Buffer.byteLength(file) <= maxLabelBytes
    ? file
    : createHash("sha256").update(file).digest("hex").slice(0, maxLabelBytes)

/** A path of the folder that is short enough for sockets. If its own is too long, a symbolic link to it, until the scope closes. */
const shortPath = Effect.fnUntraced(function* (folder: string, prefix: string) {
  const path = yield* Path.Path
  if (Buffer.byteLength(path.join(folder, `${newName(prefix)}.new`)) <= maxPathBytes) return folder
  const fs = yield* FileSystem.FileSystem
  const link = path.join(yield* fs.makeTempDirectoryScoped({ prefix: "s-" }), "f")
  yield* fs.symlink(folder, link)
  return link
})

// -----------------------------------------------------------------------------
// Sockets
// -----------------------------------------------------------------------------

/** Listens on a socket, and then gives it the name by which other processes find it. */
const announce = Effect.fnUntraced(function* (folder: string, directory: string, prefix: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const name = newName(prefix)
  let isHeld = false
  const waiting = new Set<Net.Socket>()
  const server = yield* Effect.acquireRelease(
    listen(path.join(directory, `${name}.new`), (socket) => {
      // The other process may disconnect before it gets the response.
      socket.on("error", () => socket.destroy())
      if (isHeld) {
        socket.end(held)
      } else {
        waiting.add(socket)
        socket.once("close", () => waiting.delete(socket))
      }
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of waiting) socket.destroy()
      })
  )
  server.unref()
  yield* Effect.acquireRelease(fs.rename(path.join(folder, `${name}.new`), path.join(folder, name)), () =>
    Effect.ignore(fs.remove(path.join(folder, name), { force: true }))
  )
  return {
    name,
    hold: () => {
      isHeld = true
      for (const socket of waiting) socket.end(held)
    }
  }
})

const listen = (path: string, onConnection: (socket: Net.Socket) => void): Effect.Effect<Net.Server, SocketError> =>
  Effect.callback((resume) => {
    const server = Net.createServer(onConnection)
    server.on("error", (cause) => resume(Effect.fail(new SocketError({ cause }))))
    // In a worker of Node's cluster, `exclusive` keeps it from sharing the socket of its primary.
    server.listen({ path, exclusive: true }, () => resume(Effect.succeed(server)))
  })

type Answer =
  /** No process listens, or ever will. */
  | "dead"
  /** The socket is gone: its process has withdrawn. */
  | "gone"
  | "alive"

/** Whether a process listens. */
const knock = (path: string): Effect.Effect<Answer> =>
  connect(path, (socket, answer) => socket.once("connect", () => answer("alive")))

/** Whether a process listens that has the lock. It responds when it knows that itself. */
const ask = (path: string): Effect.Effect<Answer> =>
  connect(path, (socket, answer) => {
    socket.once("data", () => answer("alive"))
    socket.setTimeout(answerMillis, () => answer("alive"))
  })

const connect = (
  path: string,
  onSocket: (socket: Net.Socket, answer: (answer: Answer) => void) => void
): Effect.Effect<Answer> =>
  Effect.callback((resume) => {
    const socket = Net.connect(path)
    const answer = (answer: Answer) => {
      resume(Effect.succeed(answer))
      socket.destroy()
    }
    socket.once("error", (cause) => answer(answersOf[codeOf(cause)] ?? "alive"))
    // Closed without a response: it has withdrawn, or its process is gone.
    socket.once("close", () => answer("gone"))
    onSocket(socket, answer)
  })

/** Any other error, such as a socket of another user, proves nothing: a process may have the lock. */
const answersOf: Readonly<Record<string, Answer>> = {
  ECONNREFUSED: "dead",
  // Not a socket.
  ENOTSOCK: "dead",
  ENOENT: "gone",
  ECONNRESET: "gone",
  EPIPE: "gone"
}
