/** The server of the public port between real sockets: framing, order, limits and ends as a client sees them. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { eventually } from "../../../test/harness/until.ts";
import { bareClient } from "../test-rig.ts";
import { TurnEnd } from "../turn-end.ts";
import type { HttpRequest } from "./request.ts";
import type { HttpResponse } from "./response.ts";
import { HttpServer, type HttpServerOptions } from "./server.ts";

const limits = { idleMs: 60_000, headMs: 60_000, uploadMs: 60_000, silenceMs: 60_000, connectionsMax: 1000 };
type Handler = HttpServerOptions["onRequest"];

async function startServer(onRequest: Handler, given: Partial<HttpServerOptions["limits"]> = {}) {
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
function echo(request: HttpRequest, response: HttpResponse): void {
  let body = "";
  request.takeBody({
    piece(bytes) {
      body += bytes.toString("latin1");
    },
    end: () => response.send(200, [], Buffer.from(`${request.method} ${request.url} ${body}`)),
  });
}

const get = (path: string, more = "", version = "1.1") =>
  `GET ${path} HTTP/${version}\r\nhost: a\r\n${more}\r\n`;
const bodiesOf = (text: string) => text.split(/HTTP\/1\.1 [\s\S]*?\r\n\r\n/).slice(1);

/** Resolves with all that comes until the connection ends. */
async function ask(port: number, text: string): Promise<string> {
  const client = await bareClient(port);
  client.socket.write(text, "latin1");
  return await client.closed();
}

test("requests of one connection are answered in order, however they come", async () => {
  let underWay = 0;
  const { port } = await startServer((request, response) => {
    underWay += 1;
    expect(underWay).toBe(1);
    setImmediate(() => {
      underWay -= 1;
      echo(request, response);
    });
  });
  const post = (path: string, body: string) =>
    `POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n${body}`;
  const text = await ask(
    port,
    post("/1", "abc") + get("/2") + post("/3", "def") + get("/4", "connection: close\r\n"),
  );
  expect(bodiesOf(text)).toEqual(["POST /1 abc", "GET /2 ", "POST /3 def", "GET /4 "]);
});

test("what is pipelined beyond a bound waits in the kernel, and is answered", async () => {
  const waiting: (() => void)[] = [];
  const { port } = await startServer((request, response) => {
    if (request.url === "/first") waiting.push(() => echo(request, response));
    else echo(request, response);
  });
  const client = await bareClient(port);
  const more = `x: ${"x".repeat(8000)}\r\n`;
  client.socket.write(get("/first"));
  await eventually(() => expect(waiting).toHaveLength(1));
  for (let at = 0; at < 100; at += 1) client.socket.write(get(`/${at}`, more));
  client.socket.write(get("/last", "connection: close\r\n"));
  waiting[0]?.();
  const bodies = bodiesOf(await client.closed());
  expect(bodies).toEqual([
    "GET /first ",
    ...Array.from({ length: 100 }, (_, at) => `GET /${at} `),
    "GET /last ",
  ]);
});

test.each<[string, string, string, RegExp]>([
  [
    "a length",
    get("/", "connection: close\r\n"),
    "length",
    /^HTTP\/1\.1 200 OK\r\ndate: .* GMT\r\nconnection: close\r\ncontent-length: 5\r\n\r\nab\xe4cd$/,
  ],
  [
    "chunks",
    get("/", "connection: close\r\n"),
    "stream",
    /\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\n\xe4cd\r\n0\r\n\r\n$/,
  ],
  ["an end that comes alone", get("/", "connection: close\r\n"), "ended", /\r\n\r\n2\r\nab\r\n0\r\n\r\n$/],
  [
    "an old client",
    get("/", "", "1.0"),
    "stream",
    /^(?![\s\S]*chunked)[\s\S]*\r\nconnection: close\r\n\r\nab\xe4cd$/,
  ],
  [
    "an old client that would stay",
    get("/", "connection: keep-alive\r\n", "1.0"),
    "stream",
    /\r\nconnection: close\r\n\r\nab\xe4cd$/,
  ],
  [
    "HEAD",
    get("/", "connection: close\r\n").replace("GET", "HEAD"),
    "length",
    /\r\ncontent-length: 5\r\n\r\n$/,
  ],
  [
    "HEAD of a stream",
    get("/", "connection: close\r\n").replace("GET", "HEAD"),
    "stream",
    /connection: close\r\n\r\n$/,
  ],
  [
    "204",
    get("/", "connection: close\r\n"),
    "204",
    /^HTTP\/1\.1 204 No Content\r\n(?![\s\S]*content-length)[\s\S]*\r\n\r\n$/,
  ],
  [
    "304",
    get("/", "connection: close\r\n"),
    "304",
    /^HTTP\/1\.1 304 Not Modified\r\n(?![\s\S]*chunked)[\s\S]*\r\n\r\n$/,
  ],
])("%s", async (_name, text, kind, expected) => {
  const [ab, cd] = [Buffer.from("ab"), Buffer.from("\xe4cd", "latin1")];
  const { port } = await startServer((_request, response) => {
    if (kind === "length") response.send(200, [], Buffer.concat([ab, cd]));
    else if (kind === "204") response.send(204, []);
    else if (kind === "304") {
      response.begin(304, [], null);
      response.end();
    } else {
      response.begin(200, [], null);
      response.write(ab);
      response.write(Buffer.alloc(0));
      response.end(kind === "ended" ? undefined : cd);
    }
  });
  expect(await ask(port, text)).toMatch(expected);
});

test("an old client that asks to stay is told so, and stays", async () => {
  const { port } = await startServer(echo);
  const text = await ask(port, get("/1", "connection: keep-alive\r\n", "1.0") + get("/2", "", "1.0"));
  expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*connection: keep-alive\r\nkeep-alive: timeout=60\r\n/);
  expect(bodiesOf(text)).toEqual(["GET /1 ", "GET /2 "]);
});

test.each([
  ["of known length", 1_000_000],
  ["in chunks", null],
])("large bytes %s come through as they are", async (_name, length) => {
  const bytes = Buffer.from(Uint8Array.from({ length: 1_000_000 }, (_, at) => (at * 31) % 251));
  const { port } = await startServer((_request, response) => {
    response.begin(200, [], length);
    response.write(bytes.subarray(0, 100));
    response.write(bytes.subarray(100, 600_000));
    response.end(bytes.subarray(600_000));
  });
  const got = await fetch(`http://127.0.0.1:${port}/`);
  expect(Buffer.from(await got.arrayBuffer()).equals(bytes)).toBe(true);
});

test("a client that falls behind is waited for, and heard of when it has caught up", async () => {
  const piece = Buffer.alloc(1_000_000, "x");
  let written = 0;
  let drains = 0;
  const { port } = await startServer((_request, response) => {
    response.begin(200, [], 30 * piece.length);
    const go = () => {
      while (written < 30) {
        written += 1;
        if (written === 30) response.end(piece);
        else if (!response.write(piece)) return;
      }
    };
    response.onDrain = () => {
      drains += 1;
      go();
    };
    go();
  });
  const socket = connect(port, "127.0.0.1");
  onTestFinished(() => {
    socket.destroy();
  });
  socket.pause();
  socket.write(get("/", "connection: close\r\n"));
  await eventually(() => expect(written).toBeGreaterThan(0));
  expect(written).toBeLessThan(30);
  let bytes = 0;
  socket.on("data", (got) => {
    bytes += got.length;
  });
  socket.resume();
  await once(socket, "end");
  expect(bytes).toBeGreaterThan(30 * piece.length);
  expect(drains).toBeGreaterThan(0);
});

test("a body that nobody takes is not read into memory; one that is taken slowly waits", async () => {
  const seen: HttpRequest[] = [];
  const { port } = await startServer((request, response) => {
    seen.push(request);
    eventually(() => expect(client.writableLength).toBeGreaterThan(0))
      .then(() => echoLength(request, response))
      .catch(() => response.destroy());
  });
  const client = connect(port, "127.0.0.1");
  onTestFinished(() => {
    client.destroy();
  });
  const length = 30_000_000;
  client.write(`POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: ${length}\r\n\r\n`);
  client.write(Buffer.alloc(length));
  let text = "";
  client.setEncoding("latin1").on("data", (got: string) => {
    text += got;
  });
  await once(client, "end");
  expect(text).toMatch(/\r\n\r\n30000000$/);
});

function echoLength(request: HttpRequest, response: HttpResponse): void {
  let length = 0;
  request.takeBody({
    piece(bytes) {
      length += bytes.length;
      request.pause();
      setImmediate(() => request.resume());
    },
    end: () => response.send(200, [], Buffer.from(String(length))),
  });
}

test("a refusal says why in JSON, and is seen by a client that is still sending", async () => {
  const { port } = await startServer(echo);
  const client = await bareClient(port);
  client.socket.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n`);
  const large = Buffer.alloc(1_000_000);
  for (let at = 0; at < 20; at += 1) client.socket.write(large);
  const text = await client.closed();
  expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  const [body = ""] = bodiesOf(text);
  expect(JSON.parse(body)).toMatchObject({
    error: { code: "bad_request", message: expect.stringContaining("its length is not a number") },
  });
});

test("an answer before the body has come closes the connection, and the client sees it", async () => {
  const { port } = await startServer((_request, response) =>
    response.send(413, [], Buffer.from("too large")),
  );
  const client = await bareClient(port);
  client.socket.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 20000000\r\n\r\n");
  const large = Buffer.alloc(1_000_000);
  for (let at = 0; at < 20; at += 1) client.socket.write(large);
  expect(await client.closed()).toMatch(/^HTTP\/1\.1 413 [\s\S]*connection: close\r\n[\s\S]*too large$/);
});

test("a client that waits to be told is told to go on once, and not when it has not waited", async () => {
  const { port } = await startServer((request, response) => {
    if (request.expectsContinue) response.writeContinue();
    echo(request, response);
  });
  const head =
    "POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-Continue\r\nconnection: close\r\ncontent-length: 2\r\n\r\n";
  const client = await bareClient(port);
  client.socket.write(head);
  await client.until((got) => got === "HTTP/1.1 100 Continue\r\n\r\n");
  client.socket.write("hi");
  expect(bodiesOf(await client.closed()).at(-1)).toBe("POST /a hi");
  expect(await ask(port, `${head}hi`)).toMatch(/^HTTP\/1\.1 200 OK/);
});

test("a client that leaves ends its request, once, whether its connection is reset or closed; one that has its answer has not left", async () => {
  const ends: boolean[] = [];
  const open: HttpResponse[] = [];
  const { port } = await startServer((request, response) => {
    open.push(response);
    response.onClose = () => ends.push(response.isFinished);
    if (request.url === "/at-once") response.send(200, []);
  });
  const [reset, closed] = [await bareClient(port), await bareClient(port)];
  for (const client of [reset, closed]) client.socket.write(get("/"));
  await eventually(() => expect(open).toHaveLength(2));
  reset.socket.resetAndDestroy();
  closed.socket.destroy();
  await eventually(() => expect(ends).toEqual([false, false]));
  for (const response of open) response.send(200, []); // to nobody, which is no error
  await ask(port, get("/at-once", "connection: close\r\n"));
  expect(ends).toEqual([false, false, true]);
});

describe("a client that ends its side when it has asked", () => {
  const interims = /HTTP\/1\.1 100 Continue\r\n\r\n/g;

  test("has all its answers, at once and later, and then the end", async () => {
    const open: HttpResponse[] = [];
    const { port } = await startServer((request, response) => {
      if (request.url === "/later") open.push(response);
      else response.send(200, [], Buffer.from(request.url));
    });
    for (const asked of [["/a"], ["/a", "/b"], ["/later"], ["/a", "/later", "/later", "/b"]]) {
      const client = await bareClient(port);
      client.socket.end(asked.map((path) => get(path)).join(""));
      for (const _ of asked.filter((path) => path === "/later")) {
        await eventually(() => expect(open).toHaveLength(1));
        open.pop()?.send(200, [], Buffer.from("/later"));
      }
      const received = (await client.closed()).replaceAll(interims, "");
      expect(bodiesOf(received)).toEqual(asked);
    }
  });

  test("is asked by a few interim answers whether it is there, where it knows them", async () => {
    const open: HttpResponse[] = [];
    const { port } = await startServer((_request, response) => void open.push(response));
    const client = await bareClient(port);
    client.socket.end(get("/"));
    await client.until((text) => text.match(interims)?.length === 4);
    open.pop()?.send(200, []);
    expect((await client.closed()).match(/^HTTP\/1\.1 \d+/gm)).toEqual([
      ...Array.from({ length: 4 }, () => "HTTP/1.1 100"),
      "HTTP/1.1 200",
    ]);
  });

  test("counts as left within an answer, and where it is too old for interim ones", async () => {
    const ends: boolean[] = [];
    const { port } = await startServer((request, response) => {
      response.onClose = () => ends.push(response.isFinished);
      if (request.url !== "/begun") return;
      response.begin(200, [], null);
      response.write(Buffer.from("a"));
    });
    const [begun, old] = [await bareClient(port), await bareClient(port)];
    begun.socket.write(get("/begun"));
    await begun.until((text) => text.endsWith("a\r\n"));
    begun.socket.end();
    old.socket.end(get("/", "", "1.0"));
    await eventually(() => expect(ends).toEqual([false, false]));
  });
});

test("a body that is not as long as its head says is broken off, not taken for the next answer", async () => {
  const { port } = await startServer((request, response) => {
    response.begin(200, [], 5);
    response.end(Buffer.from(request.url === "/long" ? "too long" : "abc"));
  });
  for (const path of ["/long", "/short"]) expect(await ask(port, get(path) + get(path))).toBe("");
});

test("a header with a line end in it is a defect, never a second header", async () => {
  const thrown: unknown[] = [];
  const { port } = await startServer((_request, response) => {
    response.setHeader("x-a", "b\r\nx-evil: 1");
    try {
      response.send(200, []);
    } catch (error) {
      thrown.push(error);
      response.destroy();
    }
  });
  expect(await ask(port, get("/"))).toBe("");
  expect(thrown).toEqual([new Error("the header x-a has control characters in it")]);
});

test("connections that say nothing are closed without a word, slow heads and bodies with a 408", async () => {
  const { port } = await startServer(echo, { idleMs: 60, headMs: 20, uploadMs: 60 });
  const post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab";
  const [idle, head, body, used] = await Promise.all([
    ...["", "GET / HTTP", post].map((text) => ask(port, text)),
    ask(port, get("/")),
  ]);
  expect(idle).toBe("");
  expect(head).toMatch(/^HTTP\/1\.1 408 /);
  expect(body).toMatch(/^HTTP\/1\.1 408 /);
  expect(used).toMatch(/^HTTP\/1\.1 200 [\s\S]*GET \/ $/);
});

test("a server that has stood still reads what has come meanwhile before it calls anybody late", async () => {
  const headMs = 500;
  const { server, port } = await startServer(echo, { headMs });
  const nextSweep = async (after: number) =>
    await eventually(() => expect(server.sweeps).toBeGreaterThan(after));
  await nextSweep(0);
  const client = await bareClient(port);
  client.socket.write("GET / HTTP/1.1\r\n");
  await ask(port, get("/", "connection: close\r\n")); // by then the other one has been read, too
  // The sweep after the next one finds the head late.
  await nextSweep(server.sweeps);
  // Behind this turn's reading, so that the timers come before the next one.
  await new Promise((resolve) => setImmediate(resolve));
  client.socket.write("host: a\r\nconnection: close\r\n\r\n");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1.5 * headMs);
  expect(bodiesOf(await client.closed())).toEqual(["GET / "]);
});

test("a client that never takes its answer is cut", async () => {
  const ends: boolean[] = [];
  const { port } = await startServer(
    (_request, response) => {
      response.onClose = () => ends.push(response.isFinished);
      response.send(200, [], Buffer.alloc(30_000_000));
    },
    { silenceMs: 50 },
  );
  const socket: Socket = connect(port, "127.0.0.1");
  onTestFinished(() => {
    socket.destroy();
  });
  socket.pause();
  socket.write(get("/"));
  await eventually(() => expect(ends).toEqual([false]));
});

test("its end: no new connections; those that wait may still ask until they are closed, and streams finish", async () => {
  const open: HttpResponse[] = [];
  const { server, port, closed } = await startServer((request, response) => {
    if (request.url !== "/stream") {
      echo(request, response);
      return;
    }
    response.begin(200, [], null);
    response.write(Buffer.from("first"));
    open.push(response);
  });
  const [stream, waiting, idle] = [await bareClient(port), await bareClient(port), await bareClient(port)];
  stream.socket.write(get("/stream"));
  waiting.socket.write(get("/1"));
  await stream.until((got) => got.includes("first"));
  await waiting.until((got) => got.includes("GET /1"));
  const end = server.close().then(() => {
    closed.done = true;
  });
  const refused = connect(port, "127.0.0.1");
  const [error] = (await once(refused, "error")) as [Error];
  expect(error.message).toMatch(/ECONNREFUSED/);
  waiting.socket.write(get("/2"));
  await waiting.until((got) => got.includes("GET /2"));
  server.closeIdle();
  expect(bodiesOf(await waiting.closed())).toEqual(["GET /1 ", "GET /2 "]);
  expect(await idle.closed()).toBe("");
  expect(closed.done).toBe(false);
  open[0]?.end(Buffer.from("last"));
  expect(await stream.closed()).toMatch(/4\r\nlast\r\n0\r\n\r\n$/);
  await end;
});
