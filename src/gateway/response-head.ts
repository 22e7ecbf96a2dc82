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

const statusLine = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?(?:\r\n|$)/;
/** A name, and a value that may end in spaces. Sticky: the lines are read one behind the other. */
const headerLine = /([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)(?:\r\n|$)/y;

/** What a head says about its connection and its body, in lower case. */
type Control = {
  connection: readonly string[];
  codings: readonly string[];
  lengths: readonly string[];
  contentType: string;
};

/** @param text the head without its empty line, one character a byte */
export function parseHead(text: string): ResponseHead {
  const start = statusLine.exec(text);
  if (start === null) throw new MalformedResponse("the status line is not HTTP/1.1");
  const isOldVersion = start[1] === "0";
  const status = Number(start[2]);
  const control: Control = { connection: none, codings: none, lengths: none, contentType: "" };
  const headers: string[] = [];
  let count = 0;
  for (let at = start[0].length; at < text.length; at = headerLine.lastIndex) {
    headerLine.lastIndex = at;
    const line = headerLine.exec(text);
    if (line === null) throw new MalformedResponse("a header is malformed");
    count += 1;
    if (count > maxHeaders) throw new MalformedResponse(`more than ${maxHeaders} headers`);
    const name = line[1] ?? "";
    const value = withoutSpaceBehind(line[2] ?? "");
    const key = name.toLowerCase();
    noteControl(control, key, value);
    if (!ownHeaders.has(key)) headers.push(name, value);
  }
  const { connection, contentType } = control;
  const framing = framingOf(status, control);
  const isReusable =
    framing.kind !== "close" &&
    !connection.includes("close") &&
    (!isOldVersion || connection.includes("keep-alive"));
  return { status, headers: without(headers, connection), contentType, framing, isReusable };
}

const none: readonly string[] = [];

function withoutSpaceBehind(value: string): string {
  let end = value.length;
  while (end > 0 && (value.charCodeAt(end - 1) === 0x20 || value.charCodeAt(end - 1) === 0x09)) end -= 1;
  return end === value.length ? value : value.slice(0, end);
}

function noteControl(control: Control, name: string, value: string): void {
  switch (name) {
    case "connection":
      control.connection = [...control.connection, ...listIn(value)];
      break;
    case "transfer-encoding":
      control.codings = [...control.codings, ...listIn(value)];
      break;
    case "content-length":
      control.lengths = [...control.lengths, ...listIn(value)];
      break;
    case "content-type":
      control.contentType ||= listIn(value)[0]?.split(";", 1)[0]?.trim() ?? "";
  }
}

/** Leaves out the headers that the connection header names. */
function without(headers: readonly string[], connection: readonly string[]): readonly string[] {
  if (connection.every((option) => ownHeaders.has(option) || option === "close")) return headers;
  return headers.filter((_, at) => !connection.includes(headers[at - (at % 2)]?.toLowerCase() ?? ""));
}

function framingOf(status: number, { codings, lengths }: Control): Framing {
  if (codings.length > 0 && lengths.length > 0)
    throw new MalformedResponse("both a length and a transfer coding");
  if (status === 204 || status === 304) return { kind: "none" };
  if (codings.length > 0) {
    if (codings.length > 1 || codings[0] !== "chunked")
      throw new MalformedResponse("an unknown transfer coding");
    return { kind: "chunked" };
  }
  const [length] = lengths;
  if (length === undefined) return { kind: "close" };
  if (lengths.some((other) => other !== length) || !/^\d{1,15}$/.test(length))
    throw new MalformedResponse("the length is not one number");
  const bytes = Number(length);
  return bytes === 0 ? { kind: "none" } : { kind: "length", bytes };
}

/** The comma-separated values of a header, in lower case. */
function listIn(value: string): string[] {
  if (!value.includes(",")) return value === "" ? [] : [value.toLowerCase()];
  const parts = value.split(",");
  return parts.map((part) => part.trim().toLowerCase()).filter((part) => part !== "");
}
