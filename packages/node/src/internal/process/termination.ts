/** Describes how a process terminated, and computes its exit status. */
import { constants } from "node:os"
import { Termination } from "./childProcesses.ts"

export const describe: (ended: Termination) => string = Termination.$match({
  Exited: ({ status }) => `exit status ${status}`,
  Killed: ({ signal }) => `killed by ${signal}`
})

const nameOf = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]))

/** The same for a status that a shell reports, where a status above 128 may mean a signal. */
export const describeReported = (ended: Termination): string => {
  if (ended._tag === "Killed" || ended.status <= 128) return describe(ended)
  const signal = ended.status - 128
  // Real-time signals have no names.
  const name = nameOf.get(signal) ?? (signal >= 32 && signal <= 64 ? `signal ${signal}` : undefined)
  return name === undefined ? describe(ended) : `${describe(ended)}, as after ${name}`
}

/** The exit status. For a signal, 128 and its number, like a shell. */
export const statusOf: (ended: Termination) => number = Termination.$match({
  Exited: ({ status }) => status,
  Killed: ({ signal }) => 128 + constants.signals[signal]
})

/** The limits of the output in a detail, of which the service accepts 4 KB. */
const maxBytes = 3000
const maxLines = 20

/** Appends the last lines of an output to a text. */
export const withLastLines = (text: string, tail: ReadonlyArray<string>): string => {
  let bytes = 0
  const last: Array<string> = []
  for (const line of tail.slice(-maxLines).toReversed()) {
    bytes += Buffer.byteLength(line) + 1
    if (bytes > maxBytes) break
    last.unshift(line)
  }
  return last.length === 0 ? text : `${text}\n\n${last.join("\n")}`
}
