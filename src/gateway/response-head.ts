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
const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/** What a head says about its connection and its body, in lower case. */
type Control = {
  readonly connection: Set<string>;
  readonly codings: string[];
  readonly lengths: Set<string>;
  readonly contentTypes: string[];
};

/** @param text the head without its empty line, one character a byte */
export function parseHead(text: string): ResponseHead {
  const lines = text.split("\r\n");
  const start = statusLine.exec(lines[0] ?? "");
  if (start === null) throw new MalformedResponse("the status line is not HTTP/1.1");
  if (lines.length - 1 > maxHeaders) throw new MalformedResponse(`more than ${maxHeaders} headers`);
  const isOldVersion = start[1] === "0";
  const status = Number(start[2]);
  const control: Control = { connection: new Set(), codings: [], lengths: new Set(), contentTypes: [] };
  const headers: string[] = [];
  for (let at = 1; at < lines.length; at += 1) {
    const line = lines[at] ?? "";
    const colon = line.indexOf(":");
    // Without a colon the name is empty, which no name may be.
    const name = line.slice(0, Math.max(0, colon));
    const value = withoutOuterSpace(line, colon + 1);
    if (!headerName.test(name) || !headerValue.test(value))
      throw new MalformedResponse("a header is malformed");
    const key = name.toLowerCase();
    noteControl(control, key, value);
    if (!ownHeaders.has(key)) headers.push(name, value);
  }
  const { connection, contentTypes } = control;
  const framing = framingOf(status, control);
  const isReusable =
    framing.kind !== "close" && !connection.has("close") && (!isOldVersion || connection.has("keep-alive"));
  const contentType = (contentTypes[0] ?? "").split(";", 1)[0]?.trim() ?? "";
  return { status, headers: without(headers, connection), contentType, framing, isReusable };
}

/** What stands from there to the end of the line, without the spaces and tabs around it. */
function withoutOuterSpace(line: string, from: number): string {
  let start = from;
  let end = line.length;
  while (start < end && isSpace(line.charCodeAt(start))) start += 1;
  while (end > start && isSpace(line.charCodeAt(end - 1))) end -= 1;
  return line.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function noteControl(
  { connection, codings, lengths, contentTypes }: Control,
  name: string,
  value: string,
): void {
  switch (name) {
    case "connection":
      for (const option of listIn(value)) connection.add(option);
      break;
    case "transfer-encoding":
      codings.push(...listIn(value));
      break;
    case "content-length":
      for (const length of listIn(value)) lengths.add(length);
      break;
    case "content-type":
      contentTypes.push(...listIn(value));
  }
}

/** Leaves out the headers that the connection header names. */
function without(headers: readonly string[], connection: ReadonlySet<string>): readonly string[] {
  if (connection.size === 0) return headers;
  return headers.filter((_, at) => !connection.has(headers[at - (at % 2)]?.toLowerCase() ?? ""));
}

function framingOf(status: number, { codings, lengths }: Control): Framing {
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
function listIn(value: string): string[] {
  const parts = value.split(",");
  return parts.map((part) => part.trim().toLowerCase()).filter((part) => part !== "");
}
