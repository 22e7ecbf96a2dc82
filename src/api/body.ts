/**
 * Request bodies: always JSON, whatever the Content-Type says and also without one, plain or gzip. Owns the bound on
 * what a compressed body may become.
 */
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { HttpError } from "../schema/errors.ts";
import { InputError } from "./refusal.ts";

const inflate = promisify(gunzip);

/**
 * Parses a body. Undefined for an empty one.
 * @param encoding the Content-Encoding header; what is not gzip is taken as it is
 * @param limitBytes most bytes after inflation, else 413
 */
export async function parseBody(
  bytes: Buffer,
  encoding: string | undefined,
  limitBytes: number,
): Promise<unknown> {
  const isGzip = /^(x-)?gzip$/i.test(encoding?.trim() ?? "");
  const plain = isGzip && bytes.length > 0 ? await inflateBody(bytes, limitBytes) : bytes;
  if (plain.length === 0) return undefined;
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(plain));
  } catch (error) {
    throw new InputError([
      { loc: ["body", errorPosition(error, plain)], type: "json_invalid", msg: "JSON decode error" },
    ]);
  }
}

async function inflateBody(bytes: Buffer, limitBytes: number): Promise<Buffer> {
  try {
    return await inflate(bytes, { maxOutputLength: limitBytes });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
      throw new HttpError("body_too_large", "The body is larger than the limit once it is inflated.");
    }
    throw new HttpError("bad_request", "The body is not gzip, though its Content-Encoding says so.");
  }
}

/** Where the parser stopped, as far as its message tells. The message itself may quote a secret and is not used. */
function errorPosition(error: unknown, plain: Buffer): number {
  const message = error instanceof SyntaxError ? error.message : "";
  if (message.includes("end of JSON input")) return plain.length;
  return Number(/at position (\d+)/.exec(message)?.[1] ?? 0);
}
