/**
 * Reads the head of an HTTP/1.1 answer, as narrowly as a downloader can afford to: a final status, plain header lines, a
 * length. Pure. Everything else is not for it to understand.
 */

export type Head = {
  readonly status: number;
  /** Names in lower case; of several lines of one name the last. */
  readonly headers: ReadonlyMap<string, string>;
  /** Length of the head itself. */
  readonly headBytes: number;
  /** Length of the body; null when the answer does not say it. */
  readonly contentBytes: number | null;
  /** The connection can be asked again once the body has been read. */
  readonly mayKeep: boolean;
};

/** Longer heads are not read. */
const maxHeadBytes = 64 * 1024;

/** Null when it is not a head that can be read here. */
export function parseHead(bytes: Buffer): Head | "incomplete" | null {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return bytes.length > maxHeadBytes ? null : "incomplete";
  if (end > maxHeadBytes) return null;
  const [first = "", ...lines] = bytes.toString("latin1", 0, end).split("\r\n");
  const [, minor, code] = /^HTTP\/1\.([01]) ([2-5]\d\d)(?: .*)?$/.exec(first) ?? [];
  if (code === undefined) return null;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name, value = ""] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (name === undefined) return null;
    const key = name.toLowerCase();
    // Two lengths that differ are how answers are smuggled past each other.
    if (key === "content-length" && (headers.get(key) ?? value) !== value) return null;
    headers.set(key, value);
  }
  const length = headers.get("content-length");
  const status = Number(code);
  // These have no body, whatever they say its length would be.
  const isPlain =
    ![204, 205, 304].includes(status) &&
    !headers.has("transfer-encoding") &&
    ["", "identity"].includes(headers.get("content-encoding") ?? "");
  const contentBytes = isPlain && length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : null;
  const connection = (headers.get("connection") ?? "").toLowerCase().split(/[ \t]*,[ \t]*/);
  const mayKeep = !connection.includes("close") && (minor === "1" || connection.includes("keep-alive"));
  return { status, headers, headBytes: end + 4, contentBytes, mayKeep };
}
