/**
 * A small process that outlives this one for a moment, and ends what it left running: when this process is killed, nobody else
 * can.
 */
import * as ChildProcess from "node:child_process"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Environment from "./environment.ts"
import type { StopPlan } from "./stopPlan.ts"

export interface Guardian {
  /** Watches over a process group. */
  readonly add: (group: number) => void
  /** Forgets a group that is empty. */
  readonly remove: (group: number) => void
}

/**
 * Reads the groups to watch over, until it is told to leave, or its parent is gone. Then it does what the parent would have done
 * to stop them. `/proc` tells, where there is one, who has left its group: by a mark in the environment.
 */
const script = `
trap '' HUP INT QUIT TERM
mark=$1 again=$2 last=$3
groups=
forget() { kept=; for g in $groups; do [ "$g" = "$1" ] || kept="$kept $g"; done; groups=$kept; }
while read -r word group; do
  case $word in
    add) groups="$groups $group" ;;
    remove) forget "$group" ;;
    leave) exit 0 ;;
  esac
done
exec 2>/dev/null
send() { for g in $groups; do kill "$1" "-$g"; done; }
marked() { grep -lsF "$mark" /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do echo "$pid"; done; }
send -TERM
seconds=0 left=
while [ "$seconds" -lt "$last" ]; do
  sleep 1
  seconds=$((seconds + 1))
  for g in $groups; do kill -0 "-$g" || forget "$g"; done
  pids=$(marked)
  [ -z "$groups$pids" ] && exit 0
  [ "$seconds" = "$again" ] && send -TERM
  if [ -z "$groups" ] && [ -z "$left" ]; then
    left=$pids
    kill -TERM $pids
    [ "$last" -gt $((seconds + 2)) ] && last=$((seconds + 2))
  fi
done
send -KILL
for round in 1 2 3; do
  pids=$(marked)
  [ -z "$pids" ] && exit 0
  kill -KILL $pids
  sleep 1
done
`

/** One that ends again and again can't run here. */
const maxStarts = 10

/** Watches until the scope closes. */
export const make = Effect.fnUntraced(function* (
  mark: string,
  plan: StopPlan
): Effect.fn.Return<Guardian, never, Scope.Scope> {
  const groups = new Set<number>()
  const context = yield* Effect.context<never>()
  const seconds = (duration: Duration.Duration) => String(Math.ceil(Duration.toSeconds(duration)))
  let isOver = false
  let starts = 0
  let input: NodeJS.WritableStream | undefined

  const tell = (word: string) => {
    if (input?.writable === true) input.write(`${word}\n`)
  }

  const start = (): void => {
    starts++
    const again = plan.again === undefined ? "" : seconds(plan.again)
    const child = ChildProcess.spawn(
      "/bin/sh",
      ["-c", script, "stacksapi-guardian", mark, again, seconds(plan.killAfter)],
      // Away from our group and session: a terminal's signals are not for it. Without our environment: it is in nobody's way.
      { detached: true, stdio: ["pipe", "ignore", "ignore"], cwd: "/", env: { PATH: Environment.minimal()["PATH"] } }
    )
    input = child.stdin
    // It may be gone when it is told something; its end says so.
    child.stdin.on("error", () => {})
    child.once("error", (cause) =>
      Effect.runForkWith(context)(
        Effect.logWarning("Processes of jobs will outlive a kill of this process: /bin/sh does not start", cause)
      )
    )
    // Somebody ended it: another one takes its place.
    child.once("exit", () => {
      if (!isOver && starts < maxStarts) start()
    })
    child.unref()
    for (const group of groups) tell(`add ${group}`)
  }

  yield* Effect.acquireRelease(Effect.sync(start), () =>
    Effect.sync(() => {
      isOver = true
      // With groups left it takes the end of its input for ours, and ends them.
      if (groups.size === 0) tell("leave")
      input?.end()
    })
  )
  return {
    add: (group) => {
      groups.add(group)
      tell(`add ${group}`)
    },
    remove: (group) => {
      groups.delete(group)
      tell(`remove ${group}`)
    }
  }
})
