/**
 * Reads a multipart/form-data body that is in memory already. Owns the framing and its bounds alone; what the fields mean
 * is the caller's. A file is a field like any other: its content is the value. Pure.
 */
import { isUtf8 } from "node:buffer";
import { HttpError } from "../schema/errors.ts";

/** Most parts that are read, and the longest head of one, in bytes. */
const maxParts = 2048;
const maxHeadBytes = 8192;

/** The boundary that a Content-Type names; null when it is no multipart/form-data. */
export function boundaryOf(contentType: string): string | null {
  if (!/^\s*multipart\/form-data\s*(?:;|$)/i.test(contentType)) return null;
  const match = /;\s*boundary=(?:"([^"]{1,200})"|([^;\s"]{1,200}))/i.exec(contentType);
  const boundary = match?.[1] ?? match?.[2] ?? null;
  if (boundary === null) throw broken("its Content-Type names no boundary");
  return boundary;
}

/** The values of each field, in order. Throws HttpError `bad_request` for what is no form. */
export function readForm(body: Buffer, boundary: string): Map<string, string[]> {
  const fields = new Map<string, string[]>();
  const delimiter = Buffer.from(`\r\n--${boundary}`, "latin1");
  // The first one may have nothing before it.
  let at = body.indexOf(delimiter.subarray(2));
  if (at > 0) at = body.indexOf(delimiter) + 2;
  if (at < 0 || (at === 1 && body[0] !== 0x2d)) throw broken("its boundary does not occur");
  at += delimiter.length - 2;
  for (let parts = 0; ; parts += 1) {
    if (body.subarray(at, at + 2).equals(Buffer.from("--"))) return fields;
    if (parts === maxParts) throw broken(`it has more than ${maxParts} parts`);
    const head = body.indexOf("\r\n", at);
    if (head === -1 || body.subarray(at, head).toString("latin1").trim() !== "")
      throw broken("a part does not begin");
    const end = body.indexOf(delimiter, head);
    if (end === -1) throw broken("it ends within a part");
    const [name, value] = readPart(body.subarray(head, end));
    fields.set(name, [...(fields.get(name) ?? []), value]);
    at = end + delimiter.length;
  }
}

/** @param part from the line end after its boundary to the line end before the next one */
function readPart(part: Buffer): [name: string, value: string] {
  const border = part.indexOf("\r\n\r\n");
  if (border === -1 || border > maxHeadBytes)
    throw broken("a part has no end of its head, or one that is too long");
  const head = part.subarray(0, border).toString("utf8");
  const disposition = /^content-disposition:[ \t]*form-data[ \t]*;(.*)$/im.exec(head)?.[1] ?? "";
  const match = /(?:^|;)\s*name=(?:"((?:[^"\\]|\\.)*)"|([^;\s"]+))/i.exec(disposition);
  const name = match?.[1]?.replace(/\\(.)/g, "$1") ?? match?.[2];
  if (name === undefined) throw broken("a part has no name");
  const value = part.subarray(border + 4);
  if (!isUtf8(value)) throw broken("a part is not UTF-8 text");
  return [name, value.toString("utf8")];
}

function broken(why: string): HttpError {
  return new HttpError("bad_request", `The body is not the multipart/form-data it says it is: ${why}.`);
}
