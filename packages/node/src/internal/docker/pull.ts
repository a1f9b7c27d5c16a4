/** Pulls images. The Engine prints progress as a line of JSON for each layer. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type Engine, EngineError } from "./engine.ts"
import { parseImage } from "./imageReference.ts"

const Line = Schema.Struct({
  status: Schema.optional(Schema.String),
  id: Schema.optional(Schema.String),
  progressDetail: Schema.optional(
    Schema.Struct({ current: Schema.optional(Schema.Finite), total: Schema.optional(Schema.Finite) })
  ),
  error: Schema.optional(Schema.String)
})

type Line = typeof Line.Type

/** How often a job's page shows the progress. */
const interval = Duration.seconds(15)

/** Sums up the layers of an image. */
class Progress {
  readonly #layers = new Map<string, { current: number; total: number }>()

  push({ id, progressDetail, status }: Line): void {
    if (id === undefined) return
    const layer = this.#layers.get(id)
    if (status === "Downloading" && progressDetail?.total !== undefined) {
      this.#layers.set(id, { current: progressDetail.current ?? 0, total: progressDetail.total })
    } else if (layer !== undefined && (status === "Download complete" || status === "Pull complete")) {
      layer.current = layer.total
    }
  }

  /** `12 of 80 MB`; empty as long as no size is known. */
  get text(): string {
    const layers = Array.from(this.#layers.values())
    const total = layers.reduce((sum, layer) => sum + layer.total, 0)
    if (total === 0) return ""
    const current = layers.reduce((sum, layer) => sum + layer.current, 0)
    return `${megabytes(current)} of ${megabytes(total)} MB`
  }
}

const megabytes = (bytes: number): string => (bytes < 10e6 ? (bytes / 1e6).toFixed(1) : String(Math.round(bytes / 1e6)))

/** Reads the lines of a pull to the end, and reports the progress. Fails with the error among them. */
export const follow = Effect.fnUntraced(function* <E>(
  host: string,
  image: string,
  lines: Stream.Stream<Line, E>,
  notify: (text: string) => Effect.Effect<void>
): Effect.fn.Return<void, E | EngineError> {
  const clock = yield* Clock.Clock
  const startedAt = clock.currentTimeMillisUnsafe()
  const progress = new Progress()
  let reportedAt = startedAt
  let reported = ""
  yield* notify(`Pulling the image ${image}`)
  yield* Stream.runForEach(
    lines,
    Effect.fnUntraced(function* (line) {
      if (line.error !== undefined) return yield* new EngineError({ host, status: 200, message: line.error })
      progress.push(line)
      const now = clock.currentTimeMillisUnsafe()
      const { text } = progress
      if (now - reportedAt < Duration.toMillis(interval) || text === reported) return
      reportedAt = now
      reported = text
      yield* notify(`Pulling the image ${image}: ${text}`)
    })
  )
  const seconds = Math.round((clock.currentTimeMillisUnsafe() - startedAt) / 1000)
  yield* notify(`Pulled the image ${image} in ${seconds} s${progress.text === "" ? "" : ` (${progress.text})`}`)
})

/** The headers of a request to a registry with these credentials. */
export const headersOf = (auth: Redacted.Redacted | undefined): Readonly<Record<string, string>> =>
  auth === undefined ? {} : { "x-registry-auth": Redacted.value(auth) }

/** Pulls an image. `auth` is the header with the credentials. */
export const pull = (
  engine: Engine,
  image: string,
  auth: Redacted.Redacted | undefined,
  notify: (text: string) => Effect.Effect<void>
): Effect.Effect<void, EngineError> => {
  const { repository, version } = parseImage(image)
  return follow(
    engine.host,
    image,
    engine.lines(Line, "POST", "/images/create", {
      query: { fromImage: repository, tag: version },
      headers: headersOf(auth),
      timeout: Duration.minutes(5)
    }),
    notify
  )
}
