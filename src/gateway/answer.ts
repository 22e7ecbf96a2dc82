/**
 * Answers that the gateway gives itself: JSON and errors in the shape their path is known for. Must not decide what the
 * answer is.
 */
import type { HttpError } from "../schema/errors.ts";
import type { ErrorBody } from "./faces/face.ts";
import type { HttpResponse } from "./http/response.ts";

export function sendJson(response: HttpResponse, status: number, value: unknown): void {
  response.send(status, ["content-type", "application/json"], Buffer.from(JSON.stringify(value)));
}

/** Sends the error, or nothing when the answer has begun already. */
export function sendError(response: HttpResponse, error: HttpError, bodyOf: ErrorBody): void {
  if (response.headersSent || response.destroyed) return;
  if (error.retryAfterS !== null) response.setHeader("retry-after", String(error.retryAfterS));
  sendJson(response, error.status, bodyOf(error, response.headerSet("x-request-id")));
}
