/**
 * Answers that the gateway gives itself: JSON and errors in the shape their path is known for. Owns the way to end a
 * request whose body was not read; must not decide what the answer is.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { HttpError } from "../schema/errors.ts";
import type { ErrorBody } from "./faces/face.ts";

/** What an unread body may still send before the connection is cut, so that a client that is sending sees the answer. */
const lingerMs = 5000;
const lingerBytes = 128 * 1024 * 1024;

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = JSON.stringify(value);
  response.statusCode = status;
  response.setHeader("content-type", "application/json");
  response.setHeader("content-length", Buffer.byteLength(body));
  const { req: request } = response;
  if (request.complete || hasNoBody(request)) {
    response.end(body);
    return;
  }
  response.setHeader("connection", "close");
  response.write(body);
  linger(request, () => response.end());
}

/** Sends the error, or nothing when the answer has begun already. */
export function sendError(response: ServerResponse, error: HttpError, bodyOf: ErrorBody): void {
  if (response.headersSent || response.destroyed) return;
  if (error.retryAfterS !== null) response.setHeader("retry-after", String(error.retryAfterS));
  sendJson(response, error.status, bodyOf(error, String(response.getHeader("x-request-id") ?? "")));
}

function hasNoBody(request: IncomingMessage): boolean {
  const { "content-length": length, "transfer-encoding": coding } = request.headers;
  return coding === undefined && (length === undefined || length === "0");
}

/**
 * Reads on and throws away. Closing at once would reset the connection of a client that is still sending, and it would
 * see a broken connection instead of the answer.
 */
function linger(request: IncomingMessage, done: () => void): void {
  let bytes = 0;
  const stop = () => {
    clearTimeout(timer);
    request.off("data", count).off("end", stop).off("close", stop);
    done();
  };
  const count = (piece: Buffer) => {
    bytes += piece.length;
    if (bytes > lingerBytes) stop();
  };
  const timer = setTimeout(stop, lingerMs);
  request.on("data", count);
  request.once("end", stop);
  request.once("close", stop);
  request.resume();
}
