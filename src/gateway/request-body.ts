/**
 * Receives an inference request's body. Owns the bounds on what is kept in memory; must not understand what it says.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { HttpError } from "../schema/errors.ts";
import type { CancelSignal } from "./cancel.ts";

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
  signal: CancelSignal,
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

function collect(request: IncomingMessage, limitBytes: number, signal: CancelSignal): Promise<Buffer> {
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
