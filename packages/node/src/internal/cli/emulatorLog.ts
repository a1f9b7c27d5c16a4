/** The output of jobs at an emulator, which shows it on its page. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as JobOutput from "../../JobOutput.ts"
import * as UndiciHttpClient from "../client/undici.ts"
import { Failed } from "./failure.ts"

/** An emulator is near, so a service that takes longer is none. */
const timeout = "2 seconds"

/** How often lines are sent while jobs print. */
const sendInterval = "200 millis"

/** Far below what the emulator takes at once. */
const maxBatchLength = 128 * 1024

const Asked = Schema.Struct({ isWanted: Schema.Literal(true) })

const Log = Schema.Struct({
  /** In bytes. */
  size: Schema.Int,
  isEnded: Schema.Boolean,
  text: Schema.optionalKey(Schema.String)
})

const get = <A>(url: URL, schema: Schema.Decoder<A>) =>
  HttpClient.get(url).pipe(
    Effect.flatMap(HttpClientResponse.filterStatusOk),
    Effect.flatMap(HttpClientResponse.schemaBodyJson(schema)),
    Effect.timeout(timeout)
  )

/** The client for the functions of this module. An emulator needs no proxy. */
export const layerClient = UndiciHttpClient.layerProxied(false)

/**
 * The URL of the emulator's page if the endpoint is an emulator that asks for the output of jobs. Services that are called by HTTPS are
 * not asked.
 */
export const find = (endpoint: string | undefined): Effect.Effect<Option.Option<URL>, never, HttpClient.HttpClient> =>
  endpoint === undefined || new URL(endpoint).protocol !== "http:"
    ? Effect.succeedNone
    : Effect.map(
        Effect.option(get(new URL("/ui/job-output", endpoint), Asked)),
        Option.map(() => new URL("/ui/", endpoint))
      )

/** The output of a job. `text` is missing if its size is still `size`. */
export const read = (page: URL, jobUuid: string, size: number) =>
  get(new URL(`job-log?${new URLSearchParams({ id: jobUuid, size: String(size) })}`, page), Log).pipe(
    Effect.mapError(
      (error) =>
        new Failed({
          message:
            error._tag === "HttpClientError" && error.response?.status === 404
              ? `The emulator does not know the job ${jobUuid}`
              : `The emulator at ${page.origin} does not respond`
        })
    )
  )

/** Sends all lines that jobs print, until the runner ends. Lines that can't be sent are dropped. */
export const send = (page: URL, output: JobOutput.Service): Effect.Effect<void, never, HttpClient.HttpClient> =>
  output.lines.pipe(
    Stream.groupedWithin(JobOutput.maxWaitingLines, sendInterval),
    Stream.runForEach((lines) =>
      Effect.forEach(batches(lines), ([id, text]) =>
        HttpClientRequest.post(new URL("job-output", page)).pipe(
          HttpClientRequest.bodyJsonUnsafe({ id, text }),
          HttpClient.execute,
          Effect.timeout(timeout),
          Effect.catch(({ message }) => Effect.logDebug(`The emulator did not take the output of a job: ${message}`))
        )
      )
    )
  )

/** Joins lines by job, in texts of bounded length. */
const batches = (lines: ReadonlyArray<JobOutput.Line>): ReadonlyArray<readonly [jobUuid: string, text: string]> => {
  const texts = new Map<string, Array<string>>()
  for (const { jobUuid, text } of lines) {
    const ofJob = texts.get(jobUuid) ?? []
    const last = ofJob.at(-1)
    if (last !== undefined && last.length < maxBatchLength) ofJob[ofJob.length - 1] = `${last}${text}\n`
    else ofJob.push(`${text}\n`)
    texts.set(jobUuid, ofJob)
  }
  return Array.from(texts).flatMap(([jobUuid, ofJob]) => ofJob.map((text) => [jobUuid, text] as const))
}

/** How long to wait for the last lines when the command ends. */
export const flushTimeout = Duration.seconds(2)
