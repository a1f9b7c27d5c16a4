/** Requests as commands of a shell. */

/** A text in single quotes, which no shell expands. */
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`

/** What curl sends by itself, and what is about the connection and not the request. */
const own = new Set([
  "accept-encoding",
  "connection",
  "content-length",
  "host",
  "keep-alive",
  "traceparent",
  "transfer-encoding",
  "user-agent"
])

/** The same request with curl. The token is a variable, because it is not shown here. */
export const curl = ({ body, headers, method, path, query }) => {
  const search = new URLSearchParams(query).toString()
  const url = `${location.origin}${path}${search === "" ? "" : `?${search}`}`
  const text = typeof body === "string" ? body : JSON.stringify(body)
  return [
    `curl -X ${method} ${quoted(url)}`,
    `-H "Authorization: Token $BUILDKITE_CLUSTER_TOKEN"`,
    ...Object.entries(headers)
      .filter(([name]) => !own.has(name))
      .map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
    ...(text === undefined ? [] : [`--data-raw ${quoted(text)}`])
  ].join(" \\\n  ")
}
