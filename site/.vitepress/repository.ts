/** Where the repository and the site are: the manifest of the package says it. */
import { readFileSync } from "node:fs"
import { join } from "node:path"

const manifest: { readonly homepage: string; readonly repository: { readonly url: string } } = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../packages/core/package.json"), "utf8")
)

export const repository = manifest.repository.url.replace(/^git\+/, "").replace(/\.git$/, "")

export const homepage = manifest.homepage

/** The path of the site on its host, for example `/stacksapi/`. */
export const base = new URL(homepage).pathname
