/** Archives, as far as the Engine's API needs them: a few small files to write, and one file to read. */

const blockSize = 512

export interface Entry {
  readonly path: string
  readonly mode: number
  /** The owner's number. */
  readonly uid: number
  /** The content; undefined for a folder. */
  readonly content?: string | undefined
}

const octal = (value: number, length: number): string => `${value.toString(8).padStart(length - 1, "0")}\0`

const header = ({ mode, path, uid }: Entry, size: number, type: "0" | "5"): Uint8Array => {
  const block = Buffer.alloc(blockSize)
  block.write(path, 0, 100)
  block.write(octal(mode, 8), 100)
  block.write(octal(uid, 8), 108)
  block.write(octal(0, 8), 116)
  block.write(octal(size, 12), 124)
  block.write(octal(0, 12), 136)
  block.write("        ", 148)
  block.write(type, 156)
  block.write("ustar\x0000", 257)
  const sum = block.reduce((sum, byte) => sum + byte, 0)
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148)
  return block
}

const padding = (size: number): Uint8Array => Buffer.alloc((blockSize - (size % blockSize)) % blockSize)

/** An archive with these folders and files, in this order. Paths have at most 100 bytes. */
export const write = (entries: ReadonlyArray<Entry>): Uint8Array =>
  Buffer.concat([
    ...entries.flatMap((entry) => {
      if (entry.content === undefined) return [header(entry, 0, "5")]
      const content = Buffer.from(entry.content)
      return [header(entry, content.length, "0"), content, padding(content.length)]
    }),
    Buffer.alloc(2 * blockSize)
  ])

/** The content of the first file in an archive; undefined if it has none. */
export const readFirst = (archive: Uint8Array): string | undefined => {
  const bytes = Buffer.from(archive)
  for (let at = 0; at + blockSize <= bytes.length; ) {
    const type = bytes.toString("latin1", at + 156, at + 157)
    const size = Number.parseInt(bytes.toString("latin1", at + 124, at + 135), 8)
    if (Number.isNaN(size)) return undefined
    const start = at + blockSize
    if (type === "0" || type === "\0") return bytes.toString("utf8", start, start + size)
    at = start + Math.ceil(size / blockSize) * blockSize
  }
  return undefined
}
