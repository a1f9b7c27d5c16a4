/** What a failed call of an Engine means for an agent. */
import { ProviderError } from "@stacksapi/core/AgentProvider"
import type { EngineError } from "./engine.ts"

const fullDisk = /no space left on device|disk quota exceeded/i

/** The machine lacks something that may be free later. */
const exhausted =
  /cannot allocate memory|resource temporarily unavailable|too many open files|no available (IPv4|IPv6)|port is already allocated/i

/** The registry refuses this image. A later pull does not change that. */
const noSuchImage =
  /manifest.*(unknown|not found)|not found|does not exist|access denied|unauthorized|authentication required|no basic auth credentials|no matching manifest|invalid reference format|denied:/i

/** A shorter text for people: the Engine's messages hold those of the layers below it. */
const shorten = (message: string): string =>
  message
    .replace(/^failed to create (shim task|task for container): /, "")
    .replace(/^OCI runtime create failed: /, "")
    .replace(/^(runc|crun) create failed: /, "")
    .replace(/: unknown$/, "")
    .slice(0, 500)

const make = (reason: ProviderError["reason"], message: string, cause: EngineError): ProviderError =>
  new ProviderError({ reason, message, cause })

/** The Engine does not answer, or can't do it now. */
export const unavailable = (error: EngineError): ProviderError =>
  make(
    "Unavailable",
    error.status === undefined
      ? `The Docker Engine at ${error.host} is not available: ${error.message}`
      : `The Docker Engine at ${error.host} failed: ${shorten(error.message)}`,
    error
  )

const noRoom = (error: EngineError): ProviderError | undefined => {
  const { host, message } = error
  if (fullDisk.test(message)) return make("NoCapacity", `The disk of the Docker Engine at ${host} is full`, error)
  if (exhausted.test(message)) {
    return make("NoCapacity", `The Docker Engine at ${host} has no room: ${shorten(message)}`, error)
  }
  return undefined
}

/** A call that prepares or starts a container failed. */
export const ofCreate = (error: EngineError): ProviderError => {
  const { message, status } = error
  if (status === undefined) return unavailable(error)
  const room = noRoom(error)
  if (room !== undefined) return room
  const isWrong = status < 500 || /OCI runtime create failed/.test(message)
  return isWrong ? make("Refused", `The container can't run: ${shorten(message)}`, error) : unavailable(error)
}

/** A container could not be created or started. It can be tried again if somebody has removed the container meanwhile. */
export const ofContainer =
  (idOrName: string) =>
  (error: EngineError): ProviderError =>
    error.status === 404 && /no such container/i.test(error.message) && error.message.includes(idOrName)
      ? unavailable(error)
      : ofCreate(error)

/** An image could not be pulled. A registry in trouble concerns only the jobs with this image: they wait without a slot. */
export const ofPull = (image: string, error: EngineError): ProviderError => {
  const { message, status } = error
  if (status === undefined) return unavailable(error)
  const room = noRoom(error)
  if (room !== undefined) return room
  const isMissing = status === 404 || (noSuchImage.test(message) && !/no such host/i.test(message))
  return make(isMissing ? "Refused" : "NoCapacity", `Can't pull the image ${image}: ${shorten(message)}`, error)
}
