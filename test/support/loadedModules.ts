/** Prints the URLs of the modules that a process has loaded to its file descriptor 3. For `node --import`. */
import { writeSync } from "node:fs"
import { registerHooks } from "node:module"

const urls = new Set<string>()

registerHooks({
  load: (url, context, next) => {
    urls.add(url)
    return next(url, context)
  }
})

process.on("exit", () => void writeSync(3, JSON.stringify(Array.from(urls))))
