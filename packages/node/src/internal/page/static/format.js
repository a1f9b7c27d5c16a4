/** How times, durations and states are written. */

let offset = 0

/** The emulator's clock counts, not the browser's. */
export const setNow = (now) => {
  offset = now - Date.now()
}

export const now = () => Date.now() + offset

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" })

export const time = (millis) => (millis === undefined ? "" : clock.format(millis))

/** A duration in its two largest units. */
export const duration = (millis) => {
  if (millis === undefined) return ""
  const seconds = Math.max(0, millis) / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.floor(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

const plain = new Intl.NumberFormat("en-GB")

export const count = (number) => plain.format(number)

/** A job's state, with the exit status of one that ended. */
export const state = ({ exitStatus, hasSoftFailed, phase, state }) => {
  if (phase === "passed") return "passed"
  if (hasSoftFailed) return exitStatus === undefined ? "soft failed" : `soft failed, exit ${exitStatus}`
  if (phase === "failed" && state === "finished") return `failed, exit ${exitStatus ?? "unknown"}`
  return state.replaceAll("_", " ")
}

/** The end of an id: UUIDs that were made at the same time begin alike. */
export const shortId = (id) => (id.length > 12 ? `…${id.slice(-8)}` : id)

export const name = ({ id, label }) => label || id
