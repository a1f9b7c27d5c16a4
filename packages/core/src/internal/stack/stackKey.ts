/** Derives the keys of the stacks of several queues from one key. */
import { digest } from "../digest.ts"

const maxLength = 80
const separator = "--"
/** Whether the joined text is a valid key from which both parts can be recovered. */
const isPlain = (key: string, queueKey: string): boolean =>
  /^[\w-]+$/.test(queueKey) &&
  `${key}${separator}${queueKey}`.length <= maxLength &&
  `${key}${separator}${queueKey}`.indexOf(separator) === key.length &&
  `${key}${separator}${queueKey}`.lastIndexOf(separator) === key.length

const cropped = (text: string, length: number): string => text.replaceAll(/[^\w-]+/g, "_").slice(0, length)

export const stackKey = (key: string, queueKey: string, cluster = ""): string => {
  if (cluster !== "") {
    // Always add a hash, because three joined parts could be the key of two other parts.
    const shown = [key.slice(0, 24), cropped(cluster, 12), cropped(queueKey, 12)]
    return [...shown, digest(JSON.stringify([key, queueKey, cluster]))].join(separator)
  }
  if (isPlain(key, queueKey)) return `${key}${separator}${queueKey}`
  return [key.slice(0, 24), cropped(queueKey, 27), digest(JSON.stringify([key, queueKey]))].join(separator)
}
