/** How connections of the public port end: clients that leave, limits of time, and the server's own end. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { eventually } from "../../../test/harness/until.ts";
import { bareClient } from "../test-rig.ts";
import type { HttpResponse } from "./response.ts";
import { ask, bodiesOf, echo, get, startServer } from "./server-rig.ts";

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
