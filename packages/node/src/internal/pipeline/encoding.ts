/** Decodes the bytes of a pipeline file as the agent does: UTF-8, or UTF-16 with a byte order mark. */
import * as Result from "effect/Result"
import { PipelineError } from "./upload.ts"

/** The text of a file. Fails at the first byte that is not in the file's encoding. */
export const decode = (file: string, bytes: Buffer): Result.Result<string, PipelineError> => {
  const order = `${bytes[0]?.toString(16)} ${bytes[1]?.toString(16)}`
  if (order === "ff fe") return decodeUtf16(file, bytes)
  // Pairs of bytes only.
  if (order === "fe ff") return decodeUtf16(file, Buffer.from(bytes.subarray(0, evenLength(bytes))).swap16(), bytes)
  return decodeUtf8(file, bytes)
}

const decodeUtf8 = (file: string, bytes: Buffer): Result.Result<string, PipelineError> => {
  const text = bytes.toString("utf8")
  const encoded = Buffer.from(text, "utf8")
  if (encoded.equals(bytes)) return Result.succeed(text)
  let at = 0
  while (encoded[at] === bytes[at]) at++
  const byte = bytes[at] ?? bytes.at(-1) ?? 0
  const problem = `The byte 0x${byte.toString(16).toUpperCase().padStart(2, "0")} is not UTF-8 here. Save the file as UTF-8.`
  return Result.fail(errorAfter(file, bytes.toString("utf8", 0, at), problem))
}

/** `original` has all bytes, if `bytes` has only whole characters. */
const decodeUtf16 = (file: string, bytes: Buffer, original = bytes): Result.Result<string, PipelineError> => {
  const text = bytes.toString("utf16le", 0, evenLength(bytes))
  const lone = /\p{Surrogate}/u.exec(text)
  if (lone !== null) {
    return Result.fail(
      errorAfter(file, text.slice(0, lone.index), "Half of a character is not UTF-16. Save the file as UTF-8.")
    )
  }
  return original.length % 2 === 0
    ? Result.succeed(text)
    : Result.fail(errorAfter(file, text, "The last byte is not UTF-16. Save the file as UTF-8."))
}

const evenLength = ({ length }: Buffer): number => length - (length % 2)

/** An error right after a part of the file. */
const errorAfter = (file: string, before: string, problem: string): PipelineError => {
  const lines = before.split("\n")
  return new PipelineError({ file, line: lines.length, column: (lines.at(-1)?.length ?? 0) + 1, problem })
}
