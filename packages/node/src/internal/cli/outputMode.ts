/** Whether the command writes JSON, on both of its outputs. */
import * as Context from "effect/Context"

export interface OutputMode {
  /** `run` sets it with `--format json`. */
  isJson: boolean
}

export const OutputMode: Context.Reference<OutputMode> = Context.Reference("@stacksapi/node/internal/cli/outputMode", {
  defaultValue: (): OutputMode => ({ isJson: false })
})

/** The mode that these arguments ask for, known before they are parsed, because they may be wrong. */
export const ofArguments = (args: ReadonlyArray<string>): OutputMode => {
  const end = args.indexOf("--")
  return { isJson: (end === -1 ? args : args.slice(0, end)).includes("--json") }
}
