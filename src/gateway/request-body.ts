/**
 * Receives an inference request's body. Owns the bounds on what is kept in memory; must not understand what it says.
 */
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { HttpError } from "../schema/errors.ts";
import type { CancelSignal } from "./cancel.ts";
import type { HttpRequest } from "./http/request.ts";
import type { HttpResponse } from "./http/response.ts";

const inflate = promisify(gunzip);

/**
 * The whole body, inflated where it was sent as gzip; at once where it has come already, as most have.
 * @param limitBytes largest body, as sent and as inflated
 * @param signal aborted when the client leaves; then this rejects with its reason
 * @param response asked to send `100 Continue` when the client waits for it, else null
 */
export function readBody(
  request: HttpRequest,
  limitBytes: number,
  signal: CancelSignal,
  response: HttpResponse | null,
): Buffer | Promise<Buffer> {
  const coding = (request.headers["content-encoding"] ?? "identity").trim().toLowerCase();
  if (coding !== "identity" && coding !== "gzip") {
    throw new HttpError("bad_request", "The body's Content-Encoding is not known here: send gzip or none.");
  }
  if (Number(request.headers["content-length"] ?? 0) > limitBytes) throw tooLarge(limitBytes);
  response?.writeContinue();
  if (coding === "gzip")
    return collect(request, limitBytes, signal).then((bytes) => inflated(bytes, limitBytes));
  const whole = request.takeWhole();
  if (whole === null) return collect(request, limitBytes, signal);
  if (whole.length > limitBytes) throw tooLarge(limitBytes);
  return whole;
}

async function inflated(bytes: Buffer, limitBytes: number): Promise<Buffer> {
  if (bytes.length === 0) return bytes;
  try {
    return await inflate(bytes, { maxOutputLength: limitBytes });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(limitBytes);
    throw new HttpError("bad_request", "The body is not the gzip that its Content-Encoding says.");
  }
}

function collect(request: HttpRequest, limitBytes: number, signal: CancelSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    const leave = () => reject(signal.reason);
    signal.addEventListener("abort", leave);
    if (signal.aborted) leave();
    request.takeBody({
      piece(piece) {
        bytes += piece.length;
        if (bytes <= limitBytes) pieces.push(piece);
        else {
          pieces.length = 0;
          signal.removeEventListener("abort", leave);
          reject(tooLarge(limitBytes));
        }
      },
      end() {
        signal.removeEventListener("abort", leave);
        const [first, ...more] = pieces;
        resolve(first !== undefined && more.length === 0 ? first : Buffer.concat(pieces));
      },
    });
  });
}

function tooLarge(limitBytes: number): HttpError {
  const limitMb = Math.round(limitBytes / 100_000) / 10;
  return new HttpError("body_too_large", `The body is larger than the limit of ${limitMb} MB.`);
}
