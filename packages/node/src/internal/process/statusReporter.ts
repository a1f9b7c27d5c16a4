/**
 * A small shell between this process and the job's shell. Node reports a death by a real-time signal as exit status 0, because it has no
 * names for these signals. The shell reports it as 128 and the signal's number, and passes on every other status.
 */
import { constants } from "node:os"
import type { Termination } from "./childProcesses.ts"
import type { Environment } from "./environment.ts"

/** Signals that can't be caught, stop a process, are ignored by default, or mean that the shell itself is broken. */
const excluded: ReadonlySet<NodeJS.Signals> = new Set([
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

/** Signals to the whole group that the shell survives. The job gets them with their default action. */
const survived = [
  ...Object.entries(constants.signals).flatMap(([name, number]) =>
    excluded.has(name as NodeJS.Signals) ? [] : [number]
  ),
  ...realTime
]

/** The shell's own messages are discarded. It kills itself with SIGALRM if it could not start the program. `SHLVL` does not count it. */
const script = `
trap : ${Array.from(new Set(survived)).join(" ")}
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
 * The shell's program and arguments, before those of the job. It is bash if possible, which passes on variables with invalid names.
 * `-p` keeps bash from running the file of `BASH_ENV`. If a job sets `SHELLOPTS` or `BASHOPTS`, it is sh, because bash would change them.
 */
export const make =
  (hasBash: boolean) =>
  (environment: Environment): readonly [program: string, ...args: ReadonlyArray<string>] =>
    hasBash && environment["SHELLOPTS"] === undefined && environment["BASHOPTS"] === undefined
      ? ["/bin/bash", "-p", "-c", script, "stacksapi-job"]
      : ["/bin/sh", "-c", script, "stacksapi-job"]

/** Whether the shell failed to start the job's program. */
export const couldNotStart = (ended: Termination): boolean => ended._tag === "Killed" && ended.signal === "SIGALRM"
