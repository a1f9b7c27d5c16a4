/** Talking to the emulator. */

const read = async (response) => {
  const body = await response.json()
  if (!response.ok) throw new Error(body.message)
  return body
}

export const get = async (name, query = {}) => {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined && value !== ""))
  return read(await fetch(`/ui/${name}?${search}`))
}

/** Sends a command, and loads the overview at once. */
export const post = async (name, body = {}) => {
  await read(
    await fetch(`/ui/${name}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body)
    })
  )
  onLook(await get("overview"))
}

let onLook = () => {}

/** Watches the emulator while the page can be seen, and tells when the connection is lost and when it is back. */
export const watch = ({ onLost, onOverview }) => {
  onLook = onOverview
  let source
  let retry
  const open = () => {
    close()
    source = new EventSource("/ui/events")
    source.addEventListener("overview", (event) => onOverview(JSON.parse(event.data)))
    source.addEventListener("error", () => {
      onLost()
      // The browser tries again by itself, but not after an answer that is no stream.
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(open, 1000)
    })
  }
  const close = () => {
    clearTimeout(retry)
    source?.close()
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()))
  open()
}

/**
 * Returns a function that loads something again. Only one load runs at a time: calls during a load cause one more load after it.
 * A failed load is ignored, because the next one may succeed.
 */
export const refresher = (load) => {
  let isLoading = false
  let isAskedAgain = false
  const refresh = async () => {
    if (isLoading) {
      isAskedAgain = true
      return
    }
    isLoading = true
    try {
      await load()
    } catch {
      // The connection's state tells.
    }
    isLoading = false
    if (isAskedAgain) {
      isAskedAgain = false
      await refresh()
    }
  }
  return refresh
}
