/** Certificates for servers of tests, right ones and wrong ones, made on the spot: as much of X.509 as that takes. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from "node:crypto"
import * as Tls from "node:tls"
import { Effect, type Scope } from "effect"

// -----------------------------------------------------------------------------
// DER
// -----------------------------------------------------------------------------

const der = (tag: number, ...contents: ReadonlyArray<Uint8Array>): Buffer => {
  const content = Buffer.concat(contents)
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}

const sequence = (...parts: ReadonlyArray<Uint8Array>) => der(0x30, ...parts)
const octets = (content: Uint8Array) => der(0x04, content)
const bits = (content: Uint8Array) => der(0x03, Buffer.of(0), content)

const id = (...bytes: ReadonlyArray<number>) => der(0x06, Buffer.from(bytes))

const ecdsaWithSha256 = sequence(id(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02))
const commonName = id(0x55, 0x04, 0x03)
const subjectAltName = id(0x55, 0x1d, 0x11)
const basicConstraints = id(0x55, 0x1d, 0x13)

const name = (text: string) => sequence(der(0x31, sequence(commonName, der(0x0c, Buffer.from(text)))))

/** `20260102030405Z` */
const time = (millis: number) =>
  der(0x18, Buffer.from(`${new Date(millis).toISOString().replace(/\D/g, "").slice(0, 14)}Z`))

// -----------------------------------------------------------------------------
// Certificates
// -----------------------------------------------------------------------------

export interface Certificate {
  readonly name: string
  /** PEM, as servers take them. */
  readonly cert: string
  readonly key: string
}

const day = 24 * 60 * 60 * 1000

/** For `localhost` and 127.0.0.1, from yesterday until tomorrow, by itself, unless told otherwise. */
export const make = ({
  host = "localhost",
  from = -day,
  until = day,
  signer
}: {
  readonly host?: string
  /** In milliseconds from now. */
  readonly from?: number
  readonly until?: number
  readonly signer?: Certificate
} = {}): Certificate => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const pem = (key: KeyObject) => String(key.export({ type: "pkcs8", format: "pem" }))
  // Their names tell those apart that sign.
  const subject = signer === undefined ? `test ${randomBytes(4).toString("hex")}` : host
  const now = Date.now()
  const names = [der(0x82, Buffer.from(host)), ...(host === "localhost" ? [der(0x87, Buffer.of(127, 0, 0, 1))] : [])]
  const signed = sequence(
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, Buffer.of(1), randomBytes(8)),
    ecdsaWithSha256,
    name(signer?.name ?? subject),
    sequence(time(now + from), time(now + until)),
    name(subject),
    publicKey.export({ type: "spki", format: "der" }),
    der(
      0xa3,
      sequence(
        sequence(subjectAltName, octets(sequence(...names))),
        ...(signer === undefined ? [sequence(basicConstraints, octets(sequence(der(0x01, Buffer.of(0xff)))))] : [])
      )
    )
  )
  const key = pem(privateKey)
  const signature = sign("sha256", signed, signer?.key ?? key)
  return {
    name: subject,
    cert: new X509Certificate(sequence(signed, ecdsaWithSha256, bits(signature))).toString(),
    key
  }
}

/** This process trusts an authority, beside those that it trusts anyway, until the scope closes. */
export const trusted = (authority: Certificate): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => {
        const before = Tls.getCACertificates("default")
        Tls.setDefaultCACertificates([...before, authority.cert])
        return before
      }),
      (before) => Effect.sync(() => Tls.setDefaultCACertificates(before))
    )
  )
