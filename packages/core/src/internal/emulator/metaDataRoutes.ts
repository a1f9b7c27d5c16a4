/** Meta-data of builds, for `buildkite-agent meta-data`. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type AgentRequest, type Answer, aboutBuild, aboutJob, type Endpoint, text, withBody } from "./agentRequest.ts"
import * as BuildData from "./buildData.ts"
import { errorResponse } from "./errorResponse.ts"

type MetaData = Map<string, string>

const Item = Schema.Struct({ key: text, value: text })
const readItem = withBody(Item)
const readItems = withBody(Schema.Struct({ items: Schema.Array(Item) }))

const ofJob = (handle: (all: MetaData, request: AgentRequest) => Answer) =>
  aboutJob((job, request) => handle(BuildData.of(request.state, job).metaData, request))

const ofBuild = (handle: (all: MetaData, request: AgentRequest) => Answer) =>
  aboutBuild((build, request) => handle(build.metaData, request))

const missingKey = errorResponse(422, "The key is missing")

const set = (all: MetaData, request: AgentRequest): Answer =>
  readItem(request, ({ key, value }) => {
    if (key === "") return missingKey
    all.set(key, value)
    return Result.succeed({ key, value })
  })

/** Sets all keys, or none. */
const setBatch = (all: MetaData, request: AgentRequest): Answer =>
  readItems(request, ({ items }) => {
    if (items.some(({ key }) => key === "")) return missingKey
    for (const { key, value } of items) all.set(key, value)
    return Result.succeed({})
  })

const get = (all: MetaData, request: AgentRequest): Answer =>
  readItem(request, ({ key }) => {
    const value = all.get(key)
    return value === undefined ? errorResponse(404, `No key ${key} found`) : Result.succeed({ key, value })
  })

const exists = (all: MetaData, request: AgentRequest): Answer =>
  readItem(request, ({ key }) => Result.succeed({ exists: all.has(key) }))

const keys = (all: MetaData): Answer => Result.succeed(Array.from(all.keys()))

export const endpoints: ReadonlyArray<Endpoint> = [
  ["POST", "jobs/:jobUuid/data/set", "setMetaData", ofJob(set)],
  ["POST", "jobs/:jobUuid/data/set-batch", "setMetaDataBatch", ofJob(setBatch)],
  ["POST", "jobs/:jobUuid/data/get", "getMetaData", ofJob(get)],
  ["POST", "jobs/:jobUuid/data/exists", "hasMetaData", ofJob(exists)],
  ["POST", "jobs/:jobUuid/data/keys", "listMetaData", ofJob(keys)],
  ["POST", "builds/:buildUuid/data/get", "getMetaData", ofBuild(get)],
  ["POST", "builds/:buildUuid/data/exists", "hasMetaData", ofBuild(exists)],
  ["POST", "builds/:buildUuid/data/keys", "listMetaData", ofBuild(keys)]
]
