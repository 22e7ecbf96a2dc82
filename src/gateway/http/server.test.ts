/** The server of the public port between real sockets: framing, order and backpressure as a client sees them. */
import { once } from "node:events";
import { connect } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { eventually } from "../../../test/harness/until.ts";
import { bareClient } from "../test-rig.ts";
import type { HttpRequest } from "./request.ts";
import type { HttpResponse } from "./response.ts";
import { ask, bodiesOf, echo, get, startServer } from "./server-rig.ts";

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
