/** The exit statuses of the command. The table in docs/cli.md is generated from this. */

export const success = 0
export const failure = 1
export const usage = 2

/** 128 and the signal's number, as shells report it. */
export const signals = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 } as const

export type Signal = keyof typeof signals

export const meanings: ReadonlyArray<readonly [statuses: ReadonlyArray<number>, meaning: string]> = [
  [
    [success],
    "success. Also if the reader of a pipe has closed it, and after an orderly shutdown of `run` or `emulator` by SIGTERM, SIGHUP " +
      "or SIGQUIT"
  ],
  [
    [failure],
    "failure: an error of the service or the system; at least one of several jobs failed; with `run --until-idle`, a job failed " +
      "here; `doctor` found a problem; the standard output can't be written"
  ],
  [[usage], "wrong usage: an unknown flag, or a missing or invalid value. Nothing was done"],
  [
    Object.values(signals),
    `ended by ${Object.keys(signals).join(", ").replace("SIGINT", "SIGINT (Ctrl-C)")}, in this order. \`run\` and \`emulator\` end like ` +
      "this after Ctrl-C, and at a second signal"
  ]
]
