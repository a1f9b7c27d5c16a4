/** Terminals, as people see them: xterm.js interprets what is written there. */
import { type ChildProcess, spawn } from "node:child_process"
import xterm from "@xterm/headless"
import { Effect } from "effect"
import { bareEnvironment } from "./bareEnvironment.ts"

interface Size {
  readonly columns: number
  readonly rows: number
}

/** What a person sees after this was written to an empty terminal: the rows of the screen, without trailing blanks. */
export const screenAfter = (written: string, { columns, rows }: Size): Effect.Effect<ReadonlyArray<string>> =>
  Effect.callback((resume) => {
    const terminal = new xterm.Terminal({ cols: columns, rows, allowProposedApi: true })
    terminal.write(written, () => {
      resume(Effect.succeed(rowsOf(terminal)))
      terminal.dispose()
    })
  })

const rowsOf = (terminal: xterm.Terminal): ReadonlyArray<string> => {
  const { active } = terminal.buffer
  return Array.from(
    { length: terminal.rows },
    (_, row) => active.getLine(active.viewportY + row)?.translateToString(true) ?? ""
  )
}

/** A terminal with a program in it: util-linux' `script` makes it. */
export interface Pty {
  /** What the person sees: the rows of the screen, without trailing blanks. */
  readonly screen: () => ReadonlyArray<string>
  readonly hasCursor: () => boolean
  /** Whether what is seen is the screen that programs with a full screen use. */
  readonly isSecondScreen: () => boolean
  /** All that was ever on the first screen and is still there, as one text. */
  readonly scrollback: () => string
  /** Waits until the screen is as wanted, and dies where it never is. */
  readonly until: (what: string, isSo: (screen: string) => boolean) => Effect.Effect<void>
  /** As keys that are pressed: `\u0003` is Ctrl-C. */
  readonly type: (keys: string) => Effect.Effect<void>
  /** The exit code, once all has been read. */
  readonly ended: Effect.Effect<number>
}

export const open = (
  command: ReadonlyArray<string>,
  {
    columns,
    env = {},
    rows
  }: { readonly columns: number; readonly rows: number; readonly env?: Record<string, string> }
) =>
  Effect.acquireRelease(
    Effect.sync(() => new Opened(command, columns, rows, env)),
    (opened) => Effect.sync(() => opened.close())
  )

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

class Opened implements Pty {
  readonly #terminal: xterm.Terminal
  readonly #child: ChildProcess
  readonly #exit: Promise<number>
  readonly #waiting = new Set<() => void>()
  #cursor = true

  constructor(command: ReadonlyArray<string>, columns: number, rows: number, env: Record<string, string>) {
    this.#terminal = new xterm.Terminal({ cols: columns, rows, allowProposedApi: true, scrollback: 1000 })
    for (const [final, isShown] of [
      ["h", true],
      ["l", false]
    ] as const) {
      this.#terminal.parser.registerCsiHandler({ prefix: "?", final }, (modes) => {
        if (modes.includes(25)) this.#cursor = isShown
        return false
      })
    }
    const line = `stty cols ${columns} rows ${rows}; exec ${command.map(quote).join(" ")}`
    this.#child = spawn("script", ["-qefc", line, "/dev/null"], {
      env: { ...bareEnvironment, TERM: "xterm-256color", SHELL: "/bin/sh", ...env },
      stdio: ["pipe", "pipe", "inherit"]
    })
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#terminal.write(text, () => {
        for (const look of this.#waiting) look()
      })
    })
    this.#exit = new Promise((resolve) => {
      this.#child.on("close", (code) => this.#terminal.write("", () => resolve(code ?? -1)))
    })
  }

  readonly screen = () => rowsOf(this.#terminal)
  readonly hasCursor = () => this.#cursor
  readonly isSecondScreen = () => this.#terminal.buffer.active.type === "alternate"
  readonly scrollback = () => {
    const { normal } = this.#terminal.buffer
    return Array.from({ length: normal.length }, (_, row) => normal.getLine(row)?.translateToString(true) ?? "")
      .join("\n")
      .trimEnd()
  }

  readonly until = (what: string, isSo: (screen: string) => boolean) =>
    Effect.callback<void>((resume) => {
      const look = () => {
        if (isSo(this.screen().join("\n"))) resume(Effect.void)
      }
      this.#waiting.add(look)
      look()
      return Effect.sync(() => this.#waiting.delete(look))
    }).pipe(
      Effect.timeoutOrElse({
        duration: "2 minutes",
        orElse: () => Effect.die(`never seen: ${what}; last seen:\n${this.screen().join("\n")}`)
      })
    )

  readonly type = (keys: string) => Effect.sync(() => void this.#child.stdin?.write(keys))

  get ended(): Effect.Effect<number> {
    return Effect.promise(() => this.#exit)
  }

  close(): void {
    this.#child.kill("SIGKILL")
    this.#terminal.dispose()
  }
}
