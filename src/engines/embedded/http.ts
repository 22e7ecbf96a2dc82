/**
 * The engine's HTTP face: checks the secret, finds the route, reads bodies within limits, writes JSON or server-sent
 * events, and turns a client that leaves into a cancelled request. Knows nothing of models.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { RequestError } from "./errors.ts";
import { type Body, parseBody } from "./parameters.ts";
import type { Caller, EventSink } from "./service.ts";

/** Imported, the module would also load all that it only names, a client of WebSockets among it: 50 ms of each start. */
const { createServer } = process.getBuiltinModule("node:http");

const largestBody = 32 * 1024 * 1024;
const largestDroppedBody = 4 * largestBody;
const longestScope = 256;
/** A client has this long to send its request. */
const requestTimeoutMs = 60_000;

/** Answers with a body, or null when everything went into the stream. Throws RequestError. */
export type PostRoute = (body: Body, caller: Caller, openStream: () => EventSink) => Promise<unknown>;

export type Routes = {
  /** Status and body, computed at once. */
  readonly get: Readonly<Record<string, () => { status: number; body: unknown }>>;
  readonly post: Readonly<Record<string, PostRoute>>;
};

/** @param onDefect gets errors that are no answer to a client; never prompts */
export function createEngineServer(
  secret: string,
  routes: Routes,
  onDefect: (error: unknown) => void,
): Server {
  const expected = digest(`Bearer ${secret}`);
  const server = createServer(
    { requestTimeout: requestTimeoutMs, keepAliveTimeout: 65_000 },
    (request, response) => {
      const leaving = new AbortController();
      response.on("close", () => {
        if (!response.writableFinished) leaving.abort(new Error("The client has left."));
      });
      answer(request, response, { expected, routes, signal: leaving.signal }).catch((error: unknown) => {
        if (!leaving.signal.aborted) refuse(response, error, onDefect);
      });
    },
  );
  return server;
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  context: { expected: Buffer; routes: Routes; signal: AbortSignal },
): Promise<void> {
  if (!timingSafeEqual(digest(request.headers.authorization ?? ""), context.expected)) {
    throw new RequestError("unauthenticated", "The instance's secret is missing or wrong.");
  }
  const path = (request.url ?? "").split("?", 1)[0] ?? "";
  const { get, post } = context.routes;
  const isPost = Object.hasOwn(post, path);
  if (!isPost && !Object.hasOwn(get, path)) throw new RequestError("not_found", "There is no such route.");
  if (request.method !== (isPost ? "POST" : "GET")) {
    throw new RequestError("method_not_allowed", `This route takes ${isPost ? "POST" : "GET"}.`);
  }
  if (!isPost) {
    const reply = get[path]?.() ?? { status: 404, body: null };
    sendJson(response, reply.status, reply.body);
    return;
  }
  const body = parseBody(await readBody(request));
  const scope = String(request.headers["x-berth-scope"] ?? "").slice(0, longestScope);
  const result = await post[path]?.(body, { scope, signal: context.signal }, () => openEvents(response));
  if (result === null || result === undefined) response.end("data: [DONE]\n\n");
  else sendJson(response, 200, result);
}

/** A body that is too large is read to its end and dropped, within bounds: who is still sending does not read an answer. */
async function readBody(request: IncomingMessage): Promise<string> {
  let chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    const bytes = chunk as Buffer;
    length += bytes.length;
    if (length > largestDroppedBody) break;
    if (length > largestBody) chunks = [];
    else chunks.push(bytes);
  }
  if (length > largestBody) {
    throw new RequestError("body_too_large", `The request body is larger than ${largestBody} bytes.`);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function openEvents(response: ServerResponse): EventSink {
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
  });
  return {
    write(event) {
      const hasRoom = response.write(`data: ${JSON.stringify(event)}\n\n`);
      return hasRoom ? undefined : waitForRoom(response);
    },
  };
}

/** Also ends when the client leaves: the request is cancelled then by its signal. */
function waitForRoom(response: ServerResponse): Promise<void> {
  if (response.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const settle = () => {
      response.off("drain", settle);
      response.off("close", settle);
      resolve();
    };
    response.on("drain", settle);
    response.on("close", settle);
  });
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

function refuse(response: ServerResponse, error: unknown, onDefect: (error: unknown) => void): void {
  const isKnown = error instanceof RequestError;
  if (!isKnown) onDefect(error);
  const shown = isKnown
    ? error
    : new RequestError("internal", "The engine failed on this request; its log says more.");
  if (response.headersSent) {
    response.end(`data: ${JSON.stringify(shown.body())}\n\n`);
    return;
  }
  // The rest of a body that was not read must not be taken for the next request.
  if (!response.req.complete) response.setHeader("connection", "close");
  sendJson(response, shown.status, shown.body());
}
