/**
 * A small process that outlives this one for a moment. When this process is killed, the reaper stops what it left running, and
 * removes the folders of its jobs.
 */
import * as ChildProcess from "node:child_process"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Environment from "./environment.ts"
import { describeCode, errorCode } from "./errorDescription.ts"
import type { TerminationPolicy } from "./terminationPolicy.ts"

/** The system did not start a program. */
export class CannotStart extends Data.TaggedError("CannotStart")<{
  /** The system's code, for example `ENOENT`. Node's message may hold the command or its environment: it is left out. */
  readonly code: string
}> {}

export interface Reaper {
  /** Starts the reaper if it is not running. Fails where the system can't start it at the moment. */
  readonly ensureRunning: Effect.Effect<void, CannotStart>
  /** Watches over a process group. */
  readonly addGroup: (group: number) => void
  /** Forgets a group that is empty. */
  readonly removeGroup: (group: number) => void
  /** Watches over a folder in `folders`, by its name there, which has no character that means something to a shell. */
  readonly addFolder: (name: string) => void
  /** Forgets a folder that has been removed. */
  readonly removeFolder: (name: string) => void
}

export interface Options {
  /** What the environment of all processes of this runner contains. */
  readonly tag: string
  readonly policy: TerminationPolicy
  /** Where the folders of jobs are. */
  readonly folders: string
}

/**
 * Reads the groups and folders to watch over until it is told to leave, or its parent is gone. Then it does what the parent would
 * have done: it stops the processes, and removes the folders when no process is left. On Linux, `/proc` tells which processes
 * have left their group: by a tag in their environment.
 */
const script = `
trap '' HUP INT QUIT TERM
tag=$1 again=$2 last=$3 base=$4
groups= folders=
forget_group() { kept=; for g in $groups; do [ "$g" = "$1" ] || kept="$kept $g"; done; groups=$kept; }
forget_folder() { kept=; for f in $folders; do [ "$f" = "$1" ] || kept="$kept $f"; done; folders=$kept; }
while read -r word value; do
  case $word in
    add-group) groups="$groups $value" ;;
    remove-group) forget_group "$value" ;;
    add-folder) folders="$folders $value" ;;
    remove-folder) forget_folder "$value" ;;
    leave) exit 0 ;;
  esac
done
exec 2>/dev/null
send() { for g in $groups; do kill "$1" "-$g"; done; }
tagged() { grep -lsF "$tag" /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do echo "$pid"; done; }
finish() {
  for f in $folders; do
    rm -rf "$base/$f" && continue
    find "$base/$f" -type d -exec chmod u+rwx {} \\;
    rm -rf "$base/$f"
  done
  exit 0
}
send -TERM
seconds=0 left=
while [ "$seconds" -lt "$last" ]; do
  for g in $groups; do kill -0 "-$g" || forget_group "$g"; done
  pids=$(tagged)
  [ -z "$groups$pids" ] && finish
  sleep 1
  seconds=$((seconds + 1))
  [ "$seconds" = "$again" ] && send -TERM
  if [ -z "$groups" ] && [ -z "$left" ]; then
    left=$pids
    kill -TERM $pids
    [ "$last" -gt $((seconds + 2)) ] && last=$((seconds + 2))
  fi
done
send -KILL
for round in 1 2 3; do
  pids=$(tagged)
  [ -z "$pids" ] && finish
  kill -KILL $pids
  sleep 1
done
finish
`

/** A shell that ends again and again is not restarted by itself any more. */
const maxRestarts = 10

/** These say that this machine has no shell for the reaper, and not that it lacks something at the moment. */
const isMissing = (code: string): boolean => code === "ENOENT" || code === "EACCES" || code === "EPERM"

/** Watches until the scope closes. */
export const make = Effect.fnUntraced(function* ({
  folders: base,
  policy,
  tag
}: Options): Effect.fn.Return<Reaper, never, Scope.Scope> {
  const groups = new Set<number>()
  const folders = new Set<string>()
  const context = yield* Effect.context<never>()
  const seconds = (duration: Duration.Duration) => String(Math.ceil(Duration.toSeconds(duration)))
  const again = policy.again === undefined ? "" : seconds(policy.again)
  let isOver = false
  let isUnavailable = false
  let restarts = 0
  let running: ChildProcess.ChildProcess | undefined

  const tell = (line: string): void => {
    if (running?.stdin?.writable === true) running.stdin.write(`${line}\n`)
  }

  const warn = (code: string) => {
    isUnavailable = true
    return Effect.logWarning(
      `If this process is killed, its jobs go on and their folders stay: /bin/sh does not start: ${describeCode(code)}`
    )
  }

  const spawn = Effect.callback<void, CannotStart>((resume) => {
    const fail = (cause: unknown) => resume(Effect.fail(new CannotStart({ code: errorCode(cause) })))
    const attempt = Result.try(() =>
      ChildProcess.spawn(
        "/bin/sh",
        ["-c", script, "stacksapi-reaper", tag, again, seconds(policy.killAfter), base],
        // It has a group and a session of its own, so that it gets no signals of a terminal, and none of our environment.
        { detached: true, stdio: ["pipe", "ignore", "ignore"], cwd: "/", env: { PATH: Environment.minimal()["PATH"] } }
      )
    )
    if (Result.isFailure(attempt)) return fail(attempt.failure)
    const child = attempt.success
    child.on("error", fail)
    // It may be gone when it is told something; its exit event says so.
    child.stdin.on("error", () => {})
    if (child.pid === undefined) return
    running = child
    child.once("exit", () => {
      running = undefined
      // Somebody ended it: another one takes its place.
      if (!isOver && restarts++ < maxRestarts) Effect.runForkWith(context)(Effect.ignore(ensureRunning))
    })
    child.unref()
    for (const group of groups) tell(`add-group ${group}`)
    for (const folder of folders) tell(`add-folder ${folder}`)
    resume(Effect.void)
  })

  const ensureRunning: Reaper["ensureRunning"] = Effect.suspend(() =>
    running !== undefined || isUnavailable || isOver
      ? Effect.void
      : Effect.catchTag(spawn, "CannotStart", (error) =>
          isMissing(error.code) ? warn(error.code) : Effect.fail(error)
        )
  )

  yield* Effect.acquireRelease(
    // What the system lacks at the moment it may have when the first job starts.
    Effect.ignore(ensureRunning),
    () =>
      Effect.sync(() => {
        isOver = true
        // If something is left, it takes the end of its input for ours, and stops and removes it.
        if (groups.size === 0 && folders.size === 0) tell("leave")
        running?.stdin?.end()
      })
  )
  return {
    ensureRunning,
    addGroup: (group) => {
      groups.add(group)
      tell(`add-group ${group}`)
    },
    removeGroup: (group) => {
      groups.delete(group)
      tell(`remove-group ${group}`)
    },
    addFolder: (name) => {
      folders.add(name)
      tell(`add-folder ${name}`)
    },
    removeFolder: (name) => {
      folders.delete(name)
      tell(`remove-folder ${name}`)
    }
  }
})
