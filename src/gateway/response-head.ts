/**
 * Reads the head of an engine's HTTP/1.1 response. Pure, and strict: an engine runs other people's models with other
 * people's arguments, so what is ambiguous (folded lines, two lengths, a length beside chunks, bare line feeds) is
 * refused and never guessed. Must not read bodies (response-body.ts) nor sockets.
 */

/** How the end of a body is known. */
export type Framing =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "close" };

export type ResponseHead = {
  readonly status: number;
  /** Names as sent and values, in turn, without those that concern one connection only or frame the body. */
  readonly headers: readonly string[];
  /** In lower case, without parameters; "" when there is none. */
  readonly contentType: string;
  readonly framing: Framing;
  /** The connection may carry another request when the body has ended. */
  readonly isReusable: boolean;
};

/** A response that cannot be trusted to mean what it seems to say. */
export class MalformedResponse extends Error {}

/** Largest head that is read, in bytes; the same as node:http's own limit. */
export const maxHeadBytes = 16_384;
const maxHeaders = 100;

/** Headers that end at each hop (RFC 9110 section 7.6.1), and the ones Berth sets itself. */
const ownHeaders = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "content-length",
  "date",
  "server",
  "x-request-id",
]);

const statusLine = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const headerLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/;

/** @param text the head without its empty line, one character a byte */
export function parseHead(text: string): ResponseHead {
  const [first = "", ...lines] = text.split("\r\n");
  const start = statusLine.exec(first);
  if (start === null) throw new MalformedResponse("the status line is not HTTP/1.1");
  if (lines.length > maxHeaders) throw new MalformedResponse(`more than ${maxHeaders} headers`);
  const isOldVersion = start[1] === "0";
  const status = Number(start[2]);
  const all: [name: string, value: string][] = [];
  for (const line of lines) {
    const match = headerLine.exec(line);
    if (match?.[1] === undefined || match[2] === undefined)
      throw new MalformedResponse("a header is malformed");
    all.push([match[1], match[2]]);
  }
  const connection = new Set(listOf(all, "connection"));
  const framing = framingOf(status, all);
  const isReusable =
    framing.kind !== "close" && !connection.has("close") && (!isOldVersion || connection.has("keep-alive"));
  const kept = all.filter(
    ([name]) => !ownHeaders.has(name.toLowerCase()) && !connection.has(name.toLowerCase()),
  );
  const contentType = (listOf(all, "content-type")[0] ?? "").split(";", 1)[0]?.trim() ?? "";
  return { status, headers: kept.flat(), contentType, framing, isReusable };
}

function framingOf(status: number, all: readonly [string, string][]): Framing {
  const codings = listOf(all, "transfer-encoding");
  const lengths = new Set(listOf(all, "content-length"));
  if (codings.length > 0 && lengths.size > 0)
    throw new MalformedResponse("both a length and a transfer coding");
  if (status === 204 || status === 304) return { kind: "none" };
  if (codings.length > 0) {
    if (codings.length > 1 || codings[0] !== "chunked")
      throw new MalformedResponse("an unknown transfer coding");
    return { kind: "chunked" };
  }
  const [length, ...others] = lengths;
  if (length === undefined) return { kind: "close" };
  if (others.length > 0 || !/^\d{1,15}$/.test(length))
    throw new MalformedResponse("the length is not one number");
  const bytes = Number(length);
  return bytes === 0 ? { kind: "none" } : { kind: "length", bytes };
}

/** The comma-separated values of a header, in lower case. */
function listOf(all: readonly [string, string][], name: string): string[] {
  return all
    .filter(([other]) => other.toLowerCase() === name)
    .flatMap(([, value]) => value.split(","))
    .map((value) => value.trim().toLowerCase())
    .filter((value) => value !== "");
}
