/** The processes of this machine, as their user sees them. */
import { readdirSync, readFileSync } from "node:fs"
import { Effect } from "effect"

interface Seen {
  readonly pid: number
  readonly parent: number
  readonly commandLine: string
  readonly environment: string
}

const read = (file: string): string => {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return ""
  }
}

/** Those that live; zombies have ended. */
export const processes = (): ReadonlyArray<Seen> =>
  readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return []
    const stat = read(`/proc/${pid}/stat`)
    const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    if (state === undefined || state === "" || state === "Z") return []
    return [
      {
        pid: Number(pid),
        parent: Number(parent),
        commandLine: read(`/proc/${pid}/cmdline`).replaceAll("\0", " "),
        environment: read(`/proc/${pid}/environ`)
      }
    ]
  })

/** Those that have a text in their environment: a folder that only one test knows. */
export const processesWith = (text: string) => processes().filter(({ environment }) => environment.includes(text))

/** Looks until something is so. */
export const until = (isSo: () => boolean): Effect.Effect<void> =>
  Effect.sync(isSo).pipe(Effect.delay("20 millis"), Effect.repeat({ until: (so) => so }), Effect.asVoid)

export const isAlive = (pid: number): boolean => processes().some((process) => process.pid === pid)
