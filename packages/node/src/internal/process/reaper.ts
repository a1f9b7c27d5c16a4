/**
 * The reaper: a small process that outlives this one. When this process is killed, it stops the remaining processes of jobs, and removes
 * their folders.
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
  /** The system's code, for example `ENOENT`. Node's message is left out, because it may contain the command or its environment. */
  readonly code: string
}> {}

export interface Reaper {
  /** Starts the reaper if it is not running. Fails if the system can't start it now. */
  readonly ensureRunning: Effect.Effect<void, CannotStart>
  /** Adds a process group to stop. */
  readonly addGroup: (group: number) => void
  /** Removes a group that is empty. */
  readonly removeGroup: (group: number) => void
  /** Adds a folder in `folders` to remove, by its name, which must not contain special characters of the shell. */
  readonly addFolder: (name: string) => void
  /** Removes a folder that is gone. */
  readonly removeFolder: (name: string) => void
}

export interface Options {
  /** The text that the environment of all processes of this runner contains. */
  readonly tag: string
  readonly policy: TerminationPolicy
  /** The parent of the jobs' folders. */
  readonly folders: string
}

/**
 * Reads groups and folders from its input until `leave`, or the end of its parent. Then it stops the processes, like the parent would have,
 * and removes the folders when no process is left. On Linux it finds processes that have left their group by the tag in their
 * environment.
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

/** How often a shell that exits is restarted. */
const maxRestarts = 10

/** Errors for a machine without a shell for the reaper; other errors are temporary. */
const isMissing = (code: string): boolean => code === "ENOENT" || code === "EACCES" || code === "EPERM"

/** Runs the reaper until the scope closes. */
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

  const send = (line: string): void => {
    if (running?.stdin?.writable === true) running.stdin.write(`${line}\n`)
  }

  const warn = (code: string) => {
    isUnavailable = true
    return Effect.logWarning(
      `There is no reaper, because /bin/sh does not start (${describeCode(code)}): if this process is killed, its jobs and their folders stay`
    )
  }

  const spawn = Effect.callback<void, CannotStart>((resume) => {
    const fail = (cause: unknown) => resume(Effect.fail(new CannotStart({ code: errorCode(cause) })))
    const attempt = Result.try(() =>
      ChildProcess.spawn(
        "/bin/sh",
        ["-c", script, "stacksapi-reaper", tag, again, seconds(policy.killAfter), base],
        // In its own group and session, so that it gets no signals of a terminal, and without this process's environment.
        { detached: true, stdio: ["pipe", "ignore", "ignore"], cwd: "/", env: { PATH: Environment.minimal()["PATH"] } }
      )
    )
    if (Result.isFailure(attempt)) return fail(attempt.failure)
    const child = attempt.success
    child.on("error", fail)
    // A write after its exit fails; the exit event handles that.
    child.stdin.on("error", () => {})
    if (child.pid === undefined) return
    running = child
    child.once("exit", () => {
      running = undefined
      // It was killed: restart it.
      if (!isOver && restarts++ < maxRestarts) Effect.runForkWith(context)(Effect.ignore(ensureRunning))
    })
    child.unref()
    for (const group of groups) send(`add-group ${group}`)
    for (const folder of folders) send(`add-folder ${folder}`)
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
    // A temporary failure may be over when the first job starts.
    Effect.ignore(ensureRunning),
    () =>
      Effect.sync(() => {
        isOver = true
        // If something is left, the end of its input makes it stop and remove that.
        if (groups.size === 0 && folders.size === 0) send("leave")
        running?.stdin?.end()
      })
  )
  return {
    ensureRunning,
    addGroup: (group) => {
      groups.add(group)
      send(`add-group ${group}`)
    },
    removeGroup: (group) => {
      groups.delete(group)
      send(`remove-group ${group}`)
    },
    addFolder: (name) => {
      folders.add(name)
      send(`add-folder ${name}`)
    },
    removeFolder: (name) => {
      folders.delete(name)
      send(`remove-folder ${name}`)
    }
  }
})
