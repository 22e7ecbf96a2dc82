/** For tests of the public port's server: one between real sockets, and clients that write and read bytes. */
import { onTestFinished } from "vitest";
import { bareClient } from "../test-rig.ts";
import { TurnEnd } from "../turn-end.ts";
import type { HttpRequest } from "./request.ts";
import type { HttpResponse } from "./response.ts";
import { HttpServer, type HttpServerOptions } from "./server.ts";

const limits = { idleMs: 60_000, headMs: 60_000, uploadMs: 60_000, silenceMs: 60_000, connectionsMax: 1000 };
type Handler = HttpServerOptions["onRequest"];

/** A server that ends with the test. */
export async function startServer(onRequest: Handler, given: Partial<HttpServerOptions["limits"]> = {}) {
  const server = new HttpServer({
    turnEnd: new TurnEnd(),
    ...{ tls: null, limits: { ...limits, ...given }, now: Date.now, onRequest },
  });
  const { port } = await server.listen({ port: 0, host: "127.0.0.1" }, 100);
  const closed = { done: false };
  onTestFinished(async () => {
    server.destroy();
    if (!closed.done) await server.close();
  });
  return { server, port, closed };
}

/** Answers with what was asked and sent. */
export function echo(request: HttpRequest, response: HttpResponse): void {
  let body = "";
  request.takeBody({
    piece(bytes) {
      body += bytes.toString("latin1");
    },
    end: () => response.send(200, [], Buffer.from(`${request.method} ${request.url} ${body}`)),
  });
}

/** A request as a client writes it, with more header lines. */
export const get = (path: string, more = "", version = "1.1") =>
  `GET ${path} HTTP/${version}\r\nhost: a\r\n${more}\r\n`;

/** What was answered, without the heads. */
export const bodiesOf = (text: string) => text.split(/HTTP\/1\.1 [\s\S]*?\r\n\r\n/).slice(1);

/** Resolves with all that comes until the connection ends. */
export async function ask(port: number, text: string): Promise<string> {
  const client = await bareClient(port);
  client.socket.write(text, "latin1");
  return await client.closed();
}
