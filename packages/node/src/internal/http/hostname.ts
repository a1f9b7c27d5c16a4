/** Names of hosts, as they stand in URLs and `Host` headers. */
import * as Net from "node:net"

/** The name of a host, with or without a port; undefined if it is invalid. */
export const hostname = (host: string): string | undefined => {
  const isAddress = Net.isIPv6(host)
  const url = parse(isAddress ? `[${host}]` : host)
  return url && bare(url.hostname)
}

/** Parses the host of a URL. */
export const parse = (host: string): URL | undefined =>
  /^[\w.:[\]-]+$/.test(host) ? (URL.parse(`http://${host}`) ?? undefined) : undefined

/** A name without the brackets of an IPv6 address, and without the dot at the end of a complete name. */
export const bare = (name: string): string => name.replace(/^\[|\]$/g, "").replace(/\.$/, "")
