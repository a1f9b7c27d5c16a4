/** The full source of a plugin: `docker#v5` is `github.com/buildkite-plugins/docker-buildkite-plugin#v5`. */
import * as Path from "node:path"

/** Sources with a scheme, of a host, or in the file system stay as they are. */
export const pluginSource = (source: string): string => {
  if (source === "" || /^[/.\\]/.test(source)) return source
  const parts = parse(source)
  if (parts === undefined) return source
  const names = parts.path.replace(/^\//, "").split("/")
  if (names.length > 2) return source
  const [owner, name] = names.length === 1 ? ["buildkite-plugins", names[0]] : names
  const version = parts.version === "" ? "" : `#${parts.version}`
  return join("github.com", owner ?? "", `${name}-buildkite-plugin${version}`)
}

/** Path and fragment of a reference without a scheme; undefined for any other text. */
const parse = (source: string): { readonly path: string; readonly version: string } | undefined => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they make a URL invalid
  if (/[\u0000-\u001f\u007f]/.test(source)) return undefined
  const hash = source.indexOf("#")
  const reference = hash < 0 ? source : source.slice(0, hash)
  const query = reference.indexOf("?")
  const path = query < 0 ? reference : reference.slice(0, query)
  // A colon in the first segment is that of a scheme, or a mistake.
  if ((path.split("/", 1)[0] ?? "").includes(":")) return undefined
  const [plainPath, version] = [unescape(path), unescape(hash < 0 ? "" : source.slice(hash + 1))]
  return plainPath === undefined || version === undefined ? undefined : { path: plainPath, version }
}

const unescape = (text: string): string | undefined => {
  if (/%(?![0-9a-fA-F]{2})/.test(text)) return undefined
  return text.includes("%")
    ? Buffer.from(
        text.replaceAll(/%([0-9a-fA-F]{2})|[^\x20-\x7e]/g, (whole, hex: string | undefined) =>
          hex === undefined ? Buffer.from(whole).toString("latin1") : String.fromCharCode(Number.parseInt(hex, 16))
        ),
        "latin1"
      ).toString("utf8")
    : text
}

const join = (...parts: ReadonlyArray<string>): string => Path.posix.join(...parts.filter((part) => part !== ""))
