/**
 * Reads the head of a client's HTTP/1.x request. Pure, and strict as RFC 9112 is, stricter where another server on the way
 * may read the same bytes otherwise: what is ambiguous (folded lines, two lengths, a length beside chunks, bare line
 * feeds) is refused and never guessed. Must not read bodies (body-reader.ts) nor sockets.
 */
import type { IncomingHttpHeaders } from "node:http";
import { malformed, Refusal } from "./refusal.ts";

export type RequestHead = {
  readonly method: string;
  /** A path with its query, a whole URL, or "*" for OPTIONS, as sent. */
  readonly target: string;
  /** HTTP/1.0: no chunks, and one request a connection unless it asks for more. */
  readonly isOldVersion: boolean;
  /** Its headers, as sent. */
  readonly lines: readonly HeaderLine[];
  /** By their names in lower case; several of one name joined as node:http does it. */
  readonly headers: IncomingHttpHeaders;
  /** Length of the body in bytes; "chunked" where its chunks tell. */
  readonly bodyBytes: number | "chunked";
  /** The client would send another request on this connection. */
  readonly keepsAlive: boolean;
  /** The client waits for `100 Continue` before it sends the body. */
  readonly expectsContinue: boolean;
};

/** 16 KB hold more empty headers than this; nobody needs them. */
const maxHeaders = 2000;

const noLines: readonly HeaderLine[] = [];

const requestLine = /^([A-Z]{3,7}) ([\x21-\x7e]+) HTTP\/([0-9])\.([0-9])$/;
const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
/** A path, or a URL with a host as proxies get it; a fragment is never sent. */
const targetForm = /^(?:\/|https?:\/\/(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?:[/?]|$))[^#]*$/;
const hostForm = /^(?:[A-Za-z0-9._~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?$/;
const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Also of what is sent: a line end in it would be a header, or an answer, of its own. */
export const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Headers of which the first counts; of others the values are one list. */
const singular = new Set([
  ...["age", "authorization", "content-type", "etag", "expires", "from", "if-modified-since"],
  ...["if-unmodified-since", "last-modified", "location", "max-forwards", "proxy-authorization"],
  ...["referer", "retry-after", "server", "user-agent"],
]);
/** Headers that say where a request ends or whom it is for: two of them are two readings. */
const unique = new Set(["host", "content-length", "transfer-encoding"]);

/** A line of a head, and what was read in it. */
export type HeaderLine = {
  readonly line: string;
  readonly name: string;
  /** The name in lower case. */
  readonly key: string;
  readonly value: string;
};

/**
 * @param text the head without its empty line, one character a byte
 * @param known the header lines of the head before it on the connection, in order: most clients say the same again, and
 *   what was read once is not read anew
 */
export function parseRequestHead(text: string, known: readonly HeaderLine[] = noLines): RequestHead {
  // Old clients send a line end behind a body that none belongs to.
  const start = text.startsWith("\r\n") ? 2 : 0;
  const lineEnd = endOfLine(text, start);
  // What is no text of lines is refused as such, whatever else it says.
  const lines = parseLines(text, lineEnd + 2, known);
  const { method, target, isOldVersion } = parseRequestLine(text.slice(start, lineEnd));
  if (lines.length > maxHeaders) {
    throw new Refusal(431, `The request has more than ${maxHeaders} headers.`);
  }
  const headers = joinHeaders(lines);
  if (headers.host === undefined ? !isOldVersion : !hostForm.test(headers.host)) {
    throw malformed("it has no Host header that names a host");
  }
  return {
    method,
    target,
    isOldVersion,
    lines,
    headers,
    bodyBytes: framingOf(headers, isOldVersion),
    keepsAlive: keepsAlive(headers.connection, isOldVersion),
    expectsContinue: !isOldVersion && expectsContinue(headers.expect),
  };
}

/** Where the line ends that begins there: before its CRLF, or at the end of the text. */
function endOfLine(text: string, from: number): number {
  const end = text.indexOf("\r\n", from);
  return end === -1 ? text.length : end;
}

function parseRequestLine(line: string): { method: string; target: string; isOldVersion: boolean } {
  const [, method = "", target = "", major, minor] = requestLine.exec(line) ?? [];
  if (major === undefined) throw malformed("its first line is no method, target and version");
  if (major !== "1" || (minor !== "0" && minor !== "1")) {
    throw new Refusal(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
  }
  if (!methods.has(method)) {
    throw new Refusal(501, `There is no method ${method} here. Use one of ${[...methods].join(", ")}.`);
  }
  const isWhole = method === "OPTIONS" && target === "*";
  if (!isWhole && !targetForm.test(target)) throw malformed("its target is neither a path nor a URL");
  return { method, target, isOldVersion: minor === "0" };
}

function parseLines(text: string, from: number, known: readonly HeaderLine[]): HeaderLine[] {
  const lines: HeaderLine[] = [];
  for (let at = from; at < text.length; ) {
    const before = known[lines.length];
    const line = before !== undefined && hasLine(text, at, before.line) ? before : readLine(text, at);
    lines.push(line);
    at += line.line.length + 2;
  }
  return lines;
}

/** True when this line, and nothing more, stands there. */
function hasLine(text: string, at: number, line: string): boolean {
  const end = at + line.length;
  return text.startsWith(line, at) && (end === text.length || text.startsWith("\r\n", end));
}

function readLine(text: string, at: number): HeaderLine {
  return parseHeaderLine(text.slice(at, endOfLine(text, at)));
}

/** Throws for a folded line too: its name begins with a space. */
export function parseHeaderLine(line: string): HeaderLine {
  const colon = line.indexOf(":");
  // Without a colon the name is empty, which no name may be.
  const name = line.slice(0, Math.max(0, colon));
  const value = trimmed(line, colon + 1);
  if (!headerName.test(name)) throw malformed("a header's name is not one");
  if (!headerValue.test(value)) throw malformed("a header's value has control characters in it");
  return { line, name, key: name.toLowerCase(), value };
}

/** What stands from there to the end of the line, without the spaces and tabs around it. */
function trimmed(line: string, from: number): string {
  let start = from;
  let end = line.length;
  while (start < end && isSpace(line.charCodeAt(start))) start += 1;
  while (end > start && isSpace(line.charCodeAt(end - 1))) end -= 1;
  return line.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** Nothing is inherited: a header may be named like something that every other object has. */
class Headers {
  [name: string]: string | string[] | undefined;
}
Object.setPrototypeOf(Headers.prototype, null);
Reflect.deleteProperty(Headers.prototype, "constructor");

function joinHeaders(lines: readonly HeaderLine[]): IncomingHttpHeaders {
  // Of a class: engines of JavaScript keep the fields of such objects ready, and look others' up in a table.
  const headers: IncomingHttpHeaders = new Headers();
  for (const { key, value } of lines) {
    const before = headers[key];
    if (before === undefined) headers[key] = key === "set-cookie" ? [value] : value;
    else if (unique.has(key)) throw malformed(`it has two ${key} headers`);
    else if (typeof before !== "string") before.push(value);
    else if (!singular.has(key)) headers[key] = `${before}${key === "cookie" ? "; " : ", "}${value}`;
  }
  return headers;
}

function framingOf(headers: IncomingHttpHeaders, isOldVersion: boolean): number | "chunked" {
  const { "content-length": length, "transfer-encoding": coding } = headers;
  if (coding !== undefined) {
    if (length !== undefined) throw malformed("it has both a length and a transfer coding");
    if (isOldVersion) throw malformed("HTTP/1.0 has no transfer codings");
    if (coding.toLowerCase() !== "chunked") throw malformed("its transfer coding is not chunked");
    return "chunked";
  }
  if (length === undefined) return 0;
  if (!/^\d{1,15}$/.test(length)) throw malformed("its length is not a number");
  return Number(length);
}

function keepsAlive(connection: string | undefined, isOldVersion: boolean): boolean {
  if (connection === undefined) return !isOldVersion;
  const options = connection.toLowerCase();
  if (options === "keep-alive") return true;
  const list = options.split(",").map((option) => option.trim());
  return !list.includes("close") && (!isOldVersion || list.includes("keep-alive"));
}

function expectsContinue(expect: string | undefined): boolean {
  if (expect === undefined) return false;
  if (expect.toLowerCase() === "100-continue") return true;
  throw new Refusal(417, "The only thing that may be expected here is 100-continue.");
}
