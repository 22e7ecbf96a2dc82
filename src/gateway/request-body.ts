/**
 * Receives an inference request's body and finds the model it names. Owns the bounds on what is kept in memory, and
 * that the engine reads the same `model` as the gateway did. Must not understand anything else in it.
 */
import { isUtf8 } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { HttpError } from "../schema/errors.ts";

const inflate = promisify(gunzip);

/**
 * The whole body, inflated where it was sent as gzip.
 * @param limitBytes largest body, as sent and as inflated
 * @param signal aborted when the client leaves; then this rejects with its reason
 * @param response asked to send `100 Continue` when the client waits for it, else null
 */
export async function readBody(
  request: IncomingMessage,
  limitBytes: number,
  signal: AbortSignal,
  response: ServerResponse | null,
): Promise<Buffer> {
  const coding = (request.headers["content-encoding"] ?? "identity").trim().toLowerCase();
  if (coding !== "identity" && coding !== "gzip") {
    throw new HttpError("bad_request", "The body's Content-Encoding is not known here: send gzip or none.");
  }
  if (Number(request.headers["content-length"] ?? 0) > limitBytes) throw tooLarge(limitBytes);
  response?.writeContinue();
  const bytes = await collect(request, limitBytes, signal);
  if (coding === "identity" || bytes.length === 0) return bytes;
  try {
    return await inflate(bytes, { maxOutputLength: limitBytes });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(limitBytes);
    throw new HttpError("bad_request", "The body is not the gzip that its Content-Encoding says.");
  }
}

function collect(request: IncomingMessage, limitBytes: number, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    const settle = (act: () => void) => {
      request.off("data", take).off("end", end).off("error", fail);
      signal.removeEventListener("abort", leave);
      act();
    };
    const take = (piece: Buffer) => {
      bytes += piece.length;
      if (bytes > limitBytes) settle(() => reject(tooLarge(limitBytes)));
      else pieces.push(piece);
    };
    const end = () =>
      settle(() =>
        resolve(pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces)),
      );
    const fail = (error: Error) => settle(() => reject(error));
    const leave = () => settle(() => reject(signal.reason));
    signal.addEventListener("abort", leave);
    request.on("data", take).on("end", end).on("error", fail);
    if (signal.aborted) leave();
  });
}

function tooLarge(limitBytes: number): HttpError {
  const limitMb = Math.round(limitBytes / 100_000) / 10;
  return new HttpError("body_too_large", `The body is larger than the limit of ${limitMb} MB.`);
}

export type ModelRequest = {
  /** What `model` says. */
  readonly selector: string;
  /** The body as JSON.parse reads it. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** The bytes as they came mean the same to every JSON parser: no top-level key occurs twice. */
  readonly isUnambiguous: boolean;
};

/** Reads the selector. Throws HttpError 400 or 422 for what is no JSON object with a `model`. */
export function readModelRequest(body: Buffer): ModelRequest {
  if (body.length === 0) throw new HttpError("bad_request", "The body is empty; it must be a JSON object.");
  const fields = parseObject(body);
  const selector = Object.hasOwn(fields, "model") ? fields.model : undefined;
  if (typeof selector !== "string" || selector === "") {
    const what = selector === undefined ? "is missing" : "must be a string that is not empty";
    throw new HttpError("invalid_input", `The field model ${what}: it names the model to use.`, {
      param: "model",
    });
  }
  const isUnambiguous = countTopLevelKeys(body) === Object.keys(fields).length;
  return { selector, fields, isUnambiguous };
}

function parseObject(body: Buffer): Record<string, unknown> {
  if (!isUtf8(body)) throw new HttpError("bad_request", "The body is not UTF-8 text.");
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch {
    // The parser's message quotes the body, which may hold a prompt: it is left out.
    throw new HttpError("bad_request", "The body is not valid JSON.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new HttpError("bad_request", "The body must be a JSON object.");
  }
  return value as Record<string, unknown>;
}

const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const opening = new Set([0x7b, 0x5b]);
const closing = new Set([0x7d, 0x5d]);

/** Keys of the outermost object, duplicates counted each time. `json` must be valid JSON. */
export function countTopLevelKeys(json: Buffer): number {
  let depth = 0;
  let keys = 0;
  for (let i = 0; i < json.length; i += 1) {
    const byte = json[i] ?? 0;
    if (byte === quote) i = stringEnd(json, i);
    else if (byte === colon && depth === 1) keys += 1;
    else if (opening.has(byte)) depth += 1;
    else if (closing.has(byte)) depth -= 1;
  }
  return keys;
}

/** Index of the quote that ends the string that starts at `from`. */
function stringEnd(json: Buffer, from: number): number {
  for (let end = json.indexOf(quote, from + 1); end !== -1; end = json.indexOf(quote, end + 1)) {
    let slashes = 0;
    while (json[end - 1 - slashes] === backslash) slashes += 1;
    if (slashes % 2 === 0) return end;
  }
  return json.length;
}
