/**
 * A small shell between this process and a job's. Node takes a death by a real-time signal for exit status 0: it knows no names for
 * these signals. The shell reports it as 128 and the signal's number, and passes on every other status.
 */
import { constants } from "node:os"
import type { Termination } from "./childProcesses.ts"
import type { Environment } from "./environment.ts"

/** These can't be caught, stop a process, are ignored by default, or say that the shell itself is broken. */
const left: ReadonlySet<NodeJS.Signals> = new Set([
  "SIGBUS",
  "SIGCHLD",
  "SIGCONT",
  "SIGFPE",
  "SIGILL",
  "SIGKILL",
  "SIGSEGV",
  "SIGSTOP",
  "SIGSYS",
  "SIGTRAP",
  "SIGTSTP",
  "SIGTTIN",
  "SIGTTOU",
  "SIGURG",
  "SIGWINCH"
])

const realTime = process.platform === "linux" ? Array.from({ length: 31 }, (_, index) => 34 + index) : []

/** The signals that the shell outlives when they are sent to the whole group. The job gets them with their default action. */
const outlived = [
  ...Object.entries(constants.signals).flatMap(([name, number]) => (left.has(name as NodeJS.Signals) ? [] : [number])),
  ...realTime
]

/** The shell's own messages go nowhere. It ends itself by SIGALRM if it could not start the program. `SHLVL` does not count it. */
const script = `
trap : ${Array.from(new Set(outlived)).join(" ")}
trap 'trap - ALRM; kill -s ALRM $$' EXIT
[ -z "$BASH_VERSION" ] || SHLVL=$((SHLVL - 1))
[ -x "$1" ] || exit
exec 3>&2 2>/dev/null
(exec "$@" 2>&3 3>&-)
status=$?
trap - EXIT
exit "$status"
`

/**
 * The shell's program and arguments, to which those of the job are added. It is bash, which passes on variables whose names it can't write.
 * `-p` keeps bash from running what `BASH_ENV` names; but it would pass on its own options in the variables that hold them.
 */
export const make =
  (hasBash: boolean) =>
  (environment: Environment): readonly [program: string, ...args: ReadonlyArray<string>] =>
    hasBash && environment["SHELLOPTS"] === undefined && environment["BASHOPTS"] === undefined
      ? ["/bin/bash", "-p", "-c", script, "stacksapi-job"]
      : ["/bin/sh", "-c", script, "stacksapi-job"]

/** Whether the shell could not start the job's program. */
export const couldNotStart = (ended: Termination): boolean => ended._tag === "Killed" && ended.signal === "SIGALRM"
