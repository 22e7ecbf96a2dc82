/**
 * Passes everything that is not inference on to control's public API, streaming both ways. Owns what control is told of
 * the client; must not authenticate (control does) nor read bodies.
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { routesVersionHeader } from "../core/routing.ts";
import { HttpError } from "../schema/errors.ts";
import { endToEndHeaders } from "./headers.ts";
import type { Visit } from "./visit.ts";

const retryAfterS = 2;

/**
 * Largest body that goes to control, in bytes: control's own limit. Refusing larger ones here spares control the work,
 * and the client a connection that control would have to reset.
 */
export const maxApiBodyBytes = 1024 * 1024;

export type ControlTarget = {
  /** Unix socket of control's public API. */
  readonly apiSocket: string;
  /** Milliseconds without a byte in either direction after which the exchange is cut. */
  readonly silenceMs: number;
  /** Resolves when this gateway goes by routes of at least this version. */
  routesReached(version: number): Promise<void>;
};

/** Resolves when control's answer has been passed on. Rejects while nothing was sent: with the HttpError to send. */
export function proxyToControl(visit: Visit, path: string, target: ControlTarget): Promise<void> {
  const { request, response, signal } = visit;
  if (Number(request.headers["content-length"] ?? 0) > maxApiBodyBytes) return Promise.reject(tooLarge());
  if (visit.expectsContinue) response.writeContinue();
  return new Promise((resolve, reject) => {
    const upstream = httpRequest({
      socketPath: target.apiSocket,
      method: request.method,
      path,
      headers: headersFor(visit),
      agent: false, // a connection each: none can be stale, and a POST is never sent twice
      timeout: target.silenceMs,
    });
    const leave = () => upstream.destroy();
    let isConnected = false;
    const isRead = request.method === "GET" || request.method === "HEAD";
    let bytes = 0;
    let isSettled = false;
    const settle = (act: () => void) => {
      isSettled = true;
      signal.removeEventListener("abort", leave);
      act();
    };
    signal.addEventListener("abort", leave);
    upstream.on("socket", (socket) =>
      socket.once("connect", () => {
        isConnected = true;
      }),
    );
    upstream.on("timeout", () => upstream.destroy(new Error(`silent for ${target.silenceMs} ms`)));
    upstream.on("error", () => {
      if (signal.aborted) settle(() => reject(signal.reason));
      else if (!response.headersSent) settle(() => reject(controlAway(isConnected && !isRead)));
    });
    upstream.on("response", (answer) => {
      answer.on("error", () => settle(() => response.destroy()));
      answer.on("close", () => settle(resolve));
      void target
        .routesReached(Number(answer.headers[routesVersionHeader] ?? 0))
        .then(() => passOn(answer, visit));
    });
    upstream.on("drain", () => request.resume());
    request.takeBody({
      piece(piece) {
        // Control has answered, or is not asked any more: the rest is dropped with the connection.
        if (isSettled) return;
        bytes += piece.length;
        if (bytes > maxApiBodyBytes) {
          upstream.destroy();
          settle(() => reject(tooLarge()));
        } else if (!upstream.write(piece)) request.pause();
      },
      end() {
        if (!isSettled) upstream.end();
      },
    });
  });
}

function passOn(answer: IncomingMessage, { response, signal }: Visit): void {
  if (signal.aborted || answer.destroyed) return; // the one has left, or the other has broken off meanwhile
  const headers = endToEndHeaders(
    answer.rawHeaders,
    (name) => name === "x-request-id" || name === "content-length" || name === routesVersionHeader,
  );
  const length = answer.headers["content-length"];
  response.begin(answer.statusCode ?? 502, headers, length === undefined ? null : Number(length));
  answer.on("data", (piece: Buffer) => {
    if (!response.write(piece)) answer.pause();
  });
  answer.on("end", () => response.end());
  response.onDrain = () => answer.resume();
}

/** The client's headers, with what it claims about its own origin replaced by what is known. */
function headersFor(visit: Visit): string[] {
  const { request, requestId, origin } = visit;
  const headers = endToEndHeaders(
    request.rawHeaders,
    (name) =>
      name === "forwarded" ||
      name.startsWith("x-forwarded-") ||
      name === "x-real-ip" ||
      name === "x-request-id",
  );
  headers.push("x-request-id", requestId, "x-forwarded-for", origin.address);
  headers.push("x-forwarded-proto", origin.proto, "x-forwarded-host", origin.host);
  // HTTP/1.0 may leave it out; this hop may not.
  if (request.headers.host === undefined) headers.push("host", "berth");
  if (request.headers["transfer-encoding"] !== undefined) headers.push("transfer-encoding", "chunked");
  // Asking to close would make control reset the connection when it answers before it has read the whole body.
  headers.push("connection", "keep-alive");
  return headers;
}

function tooLarge(): HttpError {
  return new HttpError("body_too_large", "The body is larger than the limit of 1 MB.");
}

/** @param mayHaveRun control had the request, or a part of it, when it went */
function controlAway(mayHaveRun: boolean): HttpError {
  const next = mayHaveRun
    ? "It may or may not have been carried out: look, then try again."
    : "Try again in a moment.";
  const text = `The control process did not answer this request; it is probably restarting. ${next}`;
  return new HttpError("control_away", text, { retryAfterS });
}
