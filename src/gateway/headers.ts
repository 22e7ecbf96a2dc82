/**
 * Which headers go on to the next hop when a request or an answer is passed through to or from control. Pure.
 */

/** Headers that concern one connection only (RFC 9110 section 7.6.1). */
const hopByHop = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  "expect",
];

/**
 * Names and values in turn, without hop-by-hop headers, those that `connection` names, and `alsoDropped`.
 * @param raw as node:http gives them: names and values in turn, as sent
 * @param alsoDropped says of a name in lower case whether it is dropped too
 */
export function endToEndHeaders(raw: readonly string[], alsoDropped: (name: string) => boolean): string[] {
  const dropped = new Set(hopByHop);
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i]?.toLowerCase() !== "connection") continue;
    for (const name of raw[i + 1]?.split(",") ?? []) dropped.add(name.trim().toLowerCase());
  }
  const kept: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const [name = "", value = ""] = [raw[i], raw[i + 1]];
    if (!dropped.has(name.toLowerCase()) && !alsoDropped(name.toLowerCase())) kept.push(name, value);
  }
  return kept;
}
