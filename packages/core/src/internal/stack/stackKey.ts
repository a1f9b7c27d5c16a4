/** Keys for the stacks of several queues, made of one. */
import { digest } from "../digest.ts"

const maxLength = 80
const separator = "--"
/** Whether the two can be told apart again after they were joined, and the whole may be a key. */
const isPlain = (key: string, queueKey: string): boolean =>
  /^[\w-]+$/.test(queueKey) &&
  `${key}${separator}${queueKey}`.length <= maxLength &&
  `${key}${separator}${queueKey}`.indexOf(separator) === key.length &&
  `${key}${separator}${queueKey}`.lastIndexOf(separator) === key.length

const cropped = (text: string, length: number): string => text.replaceAll(/[^\w-]+/g, "_").slice(0, length)

export const stackKey = (key: string, queueKey: string, cluster = ""): string => {
  if (cluster !== "") {
    // Always with a hash: three parts that are only joined could be the key of two others.
    const shown = [key.slice(0, 24), cropped(cluster, 12), cropped(queueKey, 12)]
    return [...shown, digest(JSON.stringify([key, queueKey, cluster]))].join(separator)
  }
  if (isPlain(key, queueKey)) return `${key}${separator}${queueKey}`
  return [key.slice(0, 24), cropped(queueKey, 27), digest(JSON.stringify([key, queueKey]))].join(separator)
}
