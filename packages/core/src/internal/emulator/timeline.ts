/**
 * Items ordered by a time, then by their sequence numbers.
 *
 * It is a list of short sorted chunks. Adding, removing and seeking take a binary search and a move inside one chunk, however
 * many items there are.
 */
const maxChunkSize = 1024

/** A position in a timeline. It need not have an item. */
export interface Position {
  readonly time: number
  readonly sequence: number
}

export class Timeline<A extends { readonly sequence: number }> {
  readonly #timeOf: (item: A) => number
  readonly #chunks: Array<Array<A>> = []

  /** An item's `timeOf` must not change while it is in the timeline. */
  constructor(timeOf: (item: A) => number) {
    this.#timeOf = timeOf
  }

  get first(): A | undefined {
    return this.#chunks[0]?.[0]
  }

  add(item: A): void {
    const position = this.positionOf(item)
    const index = this.#chunkIndex(position)
    const chunk = this.#chunks[index]
    if (chunk === undefined) {
      this.#chunks.push([item])
      return
    }
    chunk.splice(this.#indexIn(chunk, position), 0, item)
    if (chunk.length > maxChunkSize) {
      this.#chunks.splice(index + 1, 0, chunk.splice(chunk.length >>> 1))
    }
  }

  remove(item: A): void {
    const position = this.positionOf(item)
    const chunkIndex = this.#chunkIndex(position)
    const chunk = this.#chunks[chunkIndex]
    if (chunk === undefined) return
    const index = this.#indexIn(chunk, position)
    if (chunk[index] !== item) return
    chunk.splice(index, 1)
    if (chunk.length === 0) this.#chunks.splice(chunkIndex, 1)
  }

  /** At most `limit` items after a position, or from the start. */
  after(position: Position | undefined, limit: number): Array<A> {
    const items: Array<A> = []
    let chunkIndex = 0
    let index = 0
    if (position !== undefined) {
      chunkIndex = this.#chunkIndex(position)
      const chunk = this.#chunks[chunkIndex] ?? []
      index = binarySearch(chunk.length, (i) => this.#compare(chunk[i], position) <= 0)
    }
    for (; items.length < limit; chunkIndex++, index = 0) {
      const chunk = this.#chunks[chunkIndex]
      if (chunk === undefined) break
      items.push(...chunk.slice(index, index + limit - items.length))
    }
    return items
  }

  positionOf(item: A): Position {
    return { time: this.#timeOf(item), sequence: item.sequence }
  }

  #compare(item: A | undefined, position: Position): number {
    if (item === undefined) return 1
    return this.#timeOf(item) - position.time || item.sequence - position.sequence
  }

  /** The chunk that a position belongs to: the last one that doesn't begin after it. */
  #chunkIndex(position: Position): number {
    const chunks = this.#chunks
    return Math.max(0, binarySearch(chunks.length, (i) => this.#compare(chunks[i]?.[0], position) <= 0) - 1)
  }

  #indexIn(chunk: ReadonlyArray<A>, position: Position): number {
    return binarySearch(chunk.length, (i) => this.#compare(chunk[i], position) < 0)
  }
}

/** The first index for which `isBefore` is false. */
const binarySearch = (length: number, isBefore: (index: number) => boolean): number => {
  let low = 0
  let high = length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isBefore(middle)) low = middle + 1
    else high = middle
  }
  return low
}
