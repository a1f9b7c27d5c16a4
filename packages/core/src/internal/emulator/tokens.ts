/** Makes tokens that look like the service's, so that redaction and parsers treat them alike. */
import * as Base64Url from "effect/encoding/Base64Url"
import type { SeededRandom } from "./seededRandom.ts"

/** The token of a registered agent. */
export const agentToken = (random: SeededRandom): string => `bkaa_${random.text(8)}.${random.text(40)}`

/** The token that an agent gets with its job, and that the job's commands use. */
export const jobToken = (random: SeededRandom, jobUuid: string): string => `bkaj_${jwt(random, { sub: jobUuid })}`

export const acquisitionTokenPrefix = "bkjat_"

/** The token with which one agent may register and acquire one job. */
export const acquisitionToken = (random: SeededRandom, jobUuid: string, expiresAt: number): string =>
  `${acquisitionTokenPrefix}${jwt(random, { job: jobUuid, exp: Math.floor(expiresAt / 1000) })}`

/** A JSON web token whose signature is random. */
const jwt = (random: SeededRandom, claims: object): string =>
  [
    Base64Url.encode(JSON.stringify({ alg: "HS256", typ: "JWT" })),
    Base64Url.encode(JSON.stringify(claims)),
    random.text(43)
  ].join(".")
