/** Clients that break the protocol, or use it up: a right answer or a clean refusal, and no engine hears twice. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import { annToken, bareClient, modelOf, requestText, startRig } from "./test-rig.ts";

const path = "/v1/chat/completions";
const body = '{"model":"ann/chat","messages":[]}';
const hex = body.length.toString(16);
const start = `POST ${path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer ${annToken}\r\n`;
const smuggled = requestText(path, body, ["x-request-id: smuggled"]);

async function rigWithEngine(limits: Parameters<typeof startRig>[0] = {}) {
  const rig = await startRig(limits);
  const { engine, instance } = await rig.engine();
  await rig.publish(modelOf([instance]));
  return { rig, engine };
}

describe("smuggling", () => {
  test.each<[string, string]>([
    ["both framings", `content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
    ["both, the other way", `transfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n0\r\n\r\n`],
    ["two lengths", `content-length: 0\r\ncontent-length: ${smuggled.length}\r\n\r\n`],
    ["a list of lengths", `content-length: 0, ${smuggled.length}\r\n\r\n`],
    ["a signed length", `content-length: +0\r\n\r\n`],
    ["a negative length", `content-length: -1\r\n\r\n`],
    ["a length in hex", `content-length: 0x0\r\n\r\n`],
    ["a length beyond any number", `content-length: ${"9".repeat(40)}\r\n\r\n`],
    ["a folded length", `content-length: 0\r\n 0\r\n\r\n`],
    ["a folded coding", `transfer-encoding:\r\n chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n`],
    ["a coding that is not known", `transfer-encoding: xchunked\r\n\r\n0\r\n\r\n`],
    ["chunked, but not last", `transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ["a space before the colon", `transfer-encoding : chunked\r\n\r\n0\r\n\r\n`],
    ["a NUL in a value", `x-a: a\u0000b\r\ncontent-length: 0\r\n\r\n`],
    ["bare CR between headers", `x-a: b\rcontent-length: 0\r\n\r\n`],
    ["bare LF between headers", `x-a: b\ncontent-length: 0\r\n\r\n`],
    ["bare LF after the head", `content-length: 0\r\n\n`],
    ["a chunk's size in hex clothes", `transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n`],
    ["a chunk of negative size", `transfer-encoding: chunked\r\n\r\n-1\r\n\r\n`],
    ["a chunk beyond any number", `transfer-encoding: chunked\r\n\r\n${"f".repeat(20)}\r\n\r\n`],
    ["bare LF after a chunk's size", `transfer-encoding: chunked\r\n\r\n0\n\r\n`],
    ["bare LF in a chunk's extension", `transfer-encoding: chunked\r\n\r\n0;a\nb\r\n\r\n`],
    [
      "a length among trailers",
      `transfer-encoding: chunked\r\n\r\n${hex}\r\n${body}\r\n0\r\ncontent-length: 9\r\n\r\n`,
    ],
    ["a chunk that is longer than it says", `transfer-encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n`],
  ])("%s: refused, and what follows is no request", async (_name, rest) => {
    const { rig, engine } = await rigWithEngine();
    const client = await bareClient(rig.port);
    client.socket.write(`${start}${rest}${smuggled}`, "latin1");
    const answer = await client.closed();
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(answer.match(/^HTTP\/1\.1 /gm)).toHaveLength(1);
    expect(engine.seen).toEqual([]);
  });

  test.each<[string, string]>([
    [
      "a chunk with an extension",
      `transfer-encoding: chunked\r\n\r\n${hex};a="b;c"\r\n${body}\r\n0;z\r\n\r\n`,
    ],
    ["chunks with leading zeros", `transfer-encoding: Chunked\r\n\r\n000${hex}\r\n${body}\r\n000\r\n\r\n`],
    ["trailers", `transfer-encoding: chunked\r\n\r\n${hex}\r\n${body}\r\n0\r\nx-a: 9\r\n\r\n`],
  ])("%s: answered, and the engine hears one body of known length", async (_name, rest) => {
    const { rig, engine } = await rigWithEngine();
    const client = await bareClient(rig.port);
    client.socket.write(`${start}connection: close\r\n${rest}`, "latin1");
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 200 /);
    expect(engine.seen.map((seen) => seen.body)).toEqual([body]);
    expect(engine.seen[0]?.headers).toMatchObject({ "content-length": String(body.length) });
    expect(engine.seen[0]?.headers).not.toHaveProperty("transfer-encoding");
  });
});

describe("bombs", () => {
  const many = (count: number) => Array.from({ length: count }, (_, at) => `x${at}: ${at}\r\n`).join("");

  test.each<[string, string]>([
    ["a head of many headers", `${many(20_000)}content-length: 0\r\n\r\n`],
    ["one endless header", `x: ${"a".repeat(1_000_000)}`],
    ["endless trailers", `transfer-encoding: chunked\r\n\r\n${hex}\r\n${body}\r\n0\r\n${many(20_000)}\r\n`],
    [
      "endless extensions",
      `transfer-encoding: chunked\r\n\r\n${hex};${"a".repeat(100_000)}\r\n${body}\r\n0\r\n\r\n`,
    ],
  ])("%s: refused", async (_name, rest) => {
    const { rig, engine } = await rigWithEngine();
    const client = await bareClient(rig.port);
    client.socket.write(`${start}${rest}`, "latin1");
    const answer = await client.closed();
    // The refusal may be lost where the client still sends; the connection's end is not.
    if (answer !== "") expect(answer).toMatch(/^HTTP\/1\.1 4(00|13|31) /);
    expect(engine.seen).toEqual([]);
    await rig.idle();
  });

  test("as many headers as fit are read, and none goes on", async () => {
    const { rig, engine } = await rigWithEngine();
    const client = await bareClient(rig.port);
    client.socket.write(
      requestText(path, body, ["connection: close", ...many(1000).trimEnd().split("\r\n")]),
    );
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 200 /);
    expect(Object.keys(engine.seen[0]?.headers ?? {})).toHaveLength(6);
  });
});

/** Writes a byte at a time until the connection is closed. */
function drip(socket: Socket, text: string): void {
  let at = 0;
  const timer = setInterval(() => {
    socket.write(text[at % text.length] ?? "");
    at += 1;
  }, 5);
  socket.once("close", () => clearInterval(timer));
}

describe("slow senders", () => {
  test("a head that never ends is ended", async () => {
    const { rig } = await rigWithEngine({ limits: { headMs: 100, uploadMs: 60_000 } });
    const client = await bareClient(rig.port);
    client.socket.write(start);
    drip(client.socket, "x-a: b\r\n");
    expect(await client.closed()).toMatch(/^(HTTP\/1\.1 408 |$)/);
  });

  test.each([
    ["of known length", "content-length: 100000\r\n\r\n", "a"],
    ["in chunks", "transfer-encoding: chunked\r\n\r\n", "1\r\na\r\n"],
  ])("a body %s that never ends is ended, and leaves nothing", async (_name, framing, piece) => {
    const { rig, engine } = await rigWithEngine({ limits: { headMs: 100, uploadMs: 300 } });
    const client = await bareClient(rig.port);
    client.socket.write(`${start}${framing}`);
    drip(client.socket, piece);
    expect(await client.closed()).toMatch(/^(HTTP\/1\.1 408 |$)/);
    await eventually(() => expect(rig.records).toHaveLength(1));
    expect(engine.seen).toEqual([]);
    expect(rig.gateway.load()).toEqual({ running: 0, queued: 0 });
  });

  test("a slow answer is no slow request", async () => {
    const rig = await startRig({ limits: { headMs: 50, uploadMs: 50 } });
    const { instance } = await rig.engine({ tokens: 40, delayMs: 10 });
    await rig.publish(modelOf([instance]));
    expect(await (await rig.chat({ stream: true })).text()).toMatch(/\[DONE\]\n\n$/);
  });

  test("a request that comes byte by byte is answered", async () => {
    const { rig, engine } = await rigWithEngine();
    const client = await bareClient(rig.port);
    client.socket.setNoDelay(true);
    for (const byte of requestText(path, body, ["connection: close"])) {
      await new Promise((resolve) => client.socket.write(byte, resolve));
    }
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 200 /);
    expect(engine.seen.map((seen) => seen.body)).toEqual([body]);
  });
});

describe("half-closed connections", () => {
  test("a client that closes has left: nothing goes on for it, at an engine or in the line", async () => {
    const rig = await startRig();
    const { engine, instance } = await rig.engine({ slots: 1 });
    engine.fault = { kind: "hang" };
    await rig.publish(modelOf([instance]));
    const [running, waiting] = [await bareClient(rig.port), await bareClient(rig.port)];
    running.socket.write(requestText(path, body));
    await eventually(() => expect(rig.gateway.load()).toEqual({ running: 1, queued: 0 }));
    waiting.socket.write(requestText(path, body));
    await eventually(() => expect(rig.gateway.load()).toEqual({ running: 1, queued: 1 }));
    waiting.socket.destroy();
    await eventually(() => expect(rig.gateway.load()).toEqual({ running: 1, queued: 0 }));
    running.socket.destroy();
    await eventually(() => expect([rig.gateway.load().running, engine.busy]).toEqual([0, 0]));
  });

  test("one that only ends its side has its answer", async () => {
    const { rig, engine } = await rigWithEngine();
    const client = await bareClient(rig.port);
    client.socket.end(requestText(path, body));
    expect(await client.closed()).toMatch(/^(HTTP\/1\.1 100 Continue\r\n\r\n)*HTTP\/1\.1 200 /);
    expect(engine.seen).toHaveLength(1);
  });

  test("one that ends within its body is refused, and nothing waits for the rest", async () => {
    const { rig, engine } = await rigWithEngine();
    const client = await bareClient(rig.port);
    client.socket.end(requestText(path, body).slice(0, -5));
    expect(await client.closed()).toMatch(/^(HTTP\/1\.1 400 |$)/);
    expect(engine.seen).toEqual([]);
    expect(rig.gateway.load()).toEqual({ running: 0, queued: 0 });
  });
});

test("a flood of pipelined requests is answered in order", async () => {
  const rig = await startRig();
  await rig.publish(modelOf([]));
  const client = await bareClient(rig.port);
  const count = 2000;
  const ask = (at: number, more = "") =>
    `GET /v1/models HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${annToken}\r\nx-request-id: n${at}\r\n${more}\r\n`;
  client.socket.write(Array.from({ length: count - 1 }, (_, at) => ask(at)).join(""));
  client.socket.write(ask(count - 1, "connection: close\r\n"));
  const ids = [...(await client.closed()).matchAll(/^x-request-id: n(\d+)/gim)].map((match) =>
    Number(match[1]),
  );
  expect(ids).toEqual(Array.from({ length: count }, (_, at) => at));
});

test("thousands of connections that say nothing, or half a head: little memory, and others are served", async () => {
  const { rig } = await rigWithEngine();
  const count = 2000;
  const sockets: Socket[] = [];
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  const open = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const socket = connect(rig.port, "127.0.0.1", () => {
        if (text !== "") socket.write(text);
        resolve();
      });
      socket.on("error", reject);
      sockets.push(socket);
    });
  // The first ones warm up what every process needs once.
  for (let at = 0; at < 100; at += 1) await open("");
  const before = process.memoryUsage().rss;
  for (let at = 0; at < count; at += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, nth) => open(nth % 2 === 0 ? "" : start)));
  }
  expect((await rig.chat()).status).toBe(200);
  // Both ends are in this process, and the runner's own memory too: far above what they take, far below a leak.
  expect((process.memoryUsage().rss - before) / count).toBeLessThan(100_000);
});

test("connections above the limit are closed; those within it, idle ones among them, are served", async () => {
  const rig = await startRig({ limits: { connectionsMax: 3 } });
  const health = () => "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
  const within = await Promise.all([bareClient(rig.port), bareClient(rig.port), bareClient(rig.port)]);
  for (const { socket } of within) {
    socket.write(health());
    expect(String((await once(socket, "data"))[0])).toMatch(/^HTTP\/1.1 200/);
  }
  const above = await bareClient(rig.port);
  await above.closed();
  const [first, ...others] = within;
  first?.socket.destroy();
  for (const { socket } of others) {
    socket.write(health());
    expect(String((await once(socket, "data"))[0])).toMatch(/^HTTP\/1.1 200/);
  }
});
