import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import { bareClient, modelOf, requestText, startRig } from "./test-rig.ts";

const chatBody = JSON.stringify({ model: "ann/chat", messages: [] });

/** An engine that answers every request with these bytes, then keeps or ends the connection. */
async function scriptedEngine(
  respond: (socket: Socket, count: number) => void,
): Promise<{ port: number; server: Server }> {
  let count = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let text = "";
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      if (!text.endsWith("}")) return;
      text = "";
      count += 1;
      respond(socket, count);
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const address = server.address();
  return { port: typeof address === "object" && address !== null ? address.port : 0, server };
}

async function rigWith(respond: (socket: Socket, count: number) => void, limits = {}) {
  const rig = await startRig({ limits });
  const { port } = await scriptedEngine(respond);
  const endpoint = { kind: "tcp", host: "127.0.0.1", port } as const;
  await rig.publish(modelOf([{ id: "i1", endpoint, secret: "s", slots: 4, isDraining: false }]));
  return rig;
}

const head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
const sse = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";

test.each([
  ["a length", `${head}content-length: 4\r\n\r\n{  }`, false],
  [
    "chunks with an extension and trailers",
    `${head}transfer-encoding: Chunked\r\n\r\n2;a=b\r\n{ \r\n2\r\n }\r\n0\r\nx: y\r\n\r\n`,
    false,
  ],
  ["the end of the connection", `${head}\r\n{  }`, true],
  [
    "interim answers first",
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n${head}content-length: 4\r\n\r\n{  }`,
    false,
  ],
  ["an old version", `HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\n{  }`, false],
])("a body framed by %s, also byte by byte", async (_name, bytes, ends) => {
  const rig = await rigWith((socket, count) => {
    if (count === 1) socket.write(bytes);
    else for (const byte of bytes) socket.write(byte);
    if (ends) socket.end();
  });
  for (let i = 0; i < 2; i += 1) {
    const response = await rig.chat();
    expect([response.status, await response.text()]).toEqual([200, "{  }"]);
  }
  await rig.idle();
});

test("headers pass on, except those of one connection; a status without body stays without", async () => {
  const rig = await rigWith((socket) =>
    socket.write(
      "HTTP/1.1 204 No Content\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: a\r\nX-Kept: b\r\nServer: engine\r\n\r\n",
    ),
  );
  const response = await rig.chat();
  expect(response.status).toBe(204);
  expect(response.headers.get("x-kept")).toBe("a, b");
  for (const name of ["x-hop", "server"]) expect(response.headers.get(name)).toBeNull();
});

test.each([
  [
    "a length beside chunks",
    `${head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{  }\r\n0\r\n\r\n`,
  ],
  ["two lengths", `${head}content-length: 4\r\ncontent-length: 5\r\n\r\n{  }`],
  ["a length that is no number", `${head}content-length: 4x\r\n\r\n{  }`],
  ["a folded header", `${head}x-a: b\r\n c\r\ncontent-length: 4\r\n\r\n{  }`],
  ["a space before the colon", `${head}content-length : 4\r\n\r\n{  }`],
  ["a bare line feed", `${head}x-a: b\ncontent-length: 4\r\n\r\n{  }`],
  ["another coding", `${head}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
  ["no HTTP", "SSH-2.0-OpenSSH\r\n\r\n"],
  ["an endless head", `${head}x-a: ${"a".repeat(20_000)}`],
  ["a changed protocol", "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
  ["a chunk size that is none", `${head}transfer-encoding: chunked\r\n\r\nzz\r\n`],
  ["a chunk that is longer than it said", `${head}transfer-encoding: chunked\r\n\r\n2\r\n{  }\r\n0\r\n\r\n`],
  ["bytes after the end", `${head}content-length: 4\r\n\r\n{  }more`],
])("%s is refused as 502", async (_name, bytes) => {
  const rig = await rigWith((socket) => socket.write(bytes));
  const response = await rig.chat();
  expect(response.status).toBe(502);
  expect(await response.json()).toMatchObject({ error: { code: "engine_failed", type: "server_error" } });
  await rig.idle();
});

test("an engine that hangs up before it answers: once more, then 502", async () => {
  const rig = await rigWith((socket, count) => {
    if (count < 4 && count !== 2) socket.destroy();
    else socket.end(`${head}content-length: ${count === 2 ? 4 : 400}\r\nconnection: close\r\n\r\n{  }`);
  });
  expect((await rig.chat()).status).toBe(200);
  // Once more dropped, then broken off in the middle of a whole answer.
  const response = await rig.chat();
  expect([response.status, await response.json()]).toMatchObject([502, { error: { code: "engine_failed" } }]);
  await rig.idle();
});

test("a request that two engines died with is not given to a third", async () => {
  let asked = 0;
  const rig = await rigWith((socket) => {
    asked += 1;
    socket.destroy();
  });
  expect((await rig.chat()).status).toBe(502);
  expect(asked).toBe(2);
});

test("an engine that breaks off within a stream: whole events, then a typed error event, no [DONE]", async () => {
  const rig = await rigWith((socket) => {
    socket.write(`${sse}transfer-encoding: chunked\r\n\r\n14\r\ndata: {"a":1}\n\ndata:\r\n`, () =>
      socket.resetAndDestroy(),
    );
  });
  const response = await rig.chat({ stream: true });
  const text = await response.text();
  const [first, second, rest] = text.split("\n\n");
  expect([response.status, first, rest]).toEqual([200, 'data: {"a":1}', ""]);
  expect(JSON.parse(second?.slice("data: ".length) ?? "")).toMatchObject({
    error: { code: "engine_failed" },
  });
  await rig.idle();
  await eventually(() => expect(rig.records.at(-1)).toMatchObject({ status: 200, error: "engine_failed" }));
});

test("events cut anywhere arrive whole and equal, with either line end", async () => {
  const events = 'data: {"a":"é"}\n\ndata: {"b":2}\r\n\r\n: note\n\ndata: [DONE]\n\n';
  const rig = await rigWith((socket) => {
    socket.write(`${sse}\r\n`);
    for (const byte of Buffer.from(events)) socket.write(Buffer.of(byte));
    socket.end();
  });
  expect(await (await rig.chat({ stream: true })).text()).toBe(events);
});

test("silence before the first token and within a stream ends in time", async () => {
  const rig = await rigWith(
    (socket, count) => {
      if (count === 2) socket.write(`${sse}transfer-encoding: chunked\r\n\r\nb\r\ndata: {}\n\n\n\r\n`);
    },
    { firstTokenMs: 60, silenceMs: 40 },
  );
  const silent = await rig.chat({ stream: true });
  expect(silent.status).toBe(504);
  expect(await silent.json()).toMatchObject({ error: { code: "timeout" } });
  const text = await (await rig.chat({ stream: true })).text();
  expect(text).toMatch(/^data: \{\}\n\n\ndata: \{"error":\{.*"code":"timeout"/);
  await rig.idle();
});

test("a whole answer may take as long as a whole request, and no longer", async () => {
  const rig = await rigWith(() => undefined, { firstTokenMs: 1, totalMs: 60 });
  const response = await rig.chat();
  expect([response.status, await response.json()]).toMatchObject([504, { error: { code: "timeout" } }]);
  await rig.idle();
});

test("a request that takes too long in all is cut, also while tokens come", async () => {
  const rig = await startRig({ limits: { totalMs: 100 } });
  const { engine, instance } = await rig.engine({ tokens: 100_000, delayMs: 1 });
  await rig.publish(modelOf([instance]));
  expect(await (await rig.chat({ stream: true })).text()).toMatch(
    /data: \{"error":\{.*BERTH_TOTAL_S.*\}\n\n$/,
  );
  await eventually(() => expect(engine.cancelled).toBe(1));
});

test("an engine that closes idle connections under our feet is asked again on a new one", async () => {
  const rig = await rigWith((socket, count) => {
    // Every even request comes in on a reused connection, which is closed without an answer.
    if (count % 2 === 0) socket.destroy();
    else socket.write(`${head}content-length: 4\r\n\r\n{  }`);
  });
  for (let i = 0; i < 6; i += 1) expect((await rig.chat()).status).toBe(200);
});

test("an instance that refuses connections: another serves, or its successor", async () => {
  const rig = await startRig();
  const dead = await rig.engine();
  const live = await rig.engine();
  await dead.engine.kill();
  await rig.publish(modelOf([dead.instance, live.instance]));
  for (let i = 0; i < 3; i += 1) expect((await rig.chat()).status).toBe(200);
  await rig.publish(modelOf([dead.instance]));
  const asked = rig.chat();
  await eventually(() => expect(rig.gateway.load().queued).toBe(1));
  await rig.publish(modelOf([live.instance]));
  expect((await asked).status).toBe(200);
});

test("a request that no instance takes waits as for one that starts; one that will not wait hears so", async () => {
  const rig = await startRig();
  const [dead, live] = [await rig.engine(), await rig.engine()];
  await dead.engine.kill();
  const other = modelOf([dead.instance], { deploymentId: "d2", name: "ann/other" });
  await rig.publish(modelOf([dead.instance]), other);
  const patient = rig.chat();
  // One after the other they are refused more often than the patient one may be.
  for (const _ of [1, 2]) {
    const failed = await rig.chat({ model: "ann/other", fail_fast: true });
    expect([failed.status, failed.headers.get("retry-after")]).toEqual([502, "2"]);
    await rig.publish(modelOf([dead.instance]));
    await rig.publish(modelOf([dead.instance]), other);
  }
  await rig.publish(modelOf([live.instance]));
  expect((await patient).status).toBe(200);
});

test("nobody waits longer than for a model that starts", async () => {
  const rig = await startRig({ limits: { waitMs: 600 } });
  const dead = await rig.engine();
  await dead.engine.kill();
  await rig.publish(modelOf([dead.instance]));
  const failed = await rig.chat();
  expect(failed.status).toBe(502);
  expect(failed.headers.get("retry-after")).toBe("2");
  await rig.idle();
});

test("a client that does not read makes the engine wait, and is cut when it never reads", async () => {
  const rig = await startRig({ limits: { silenceMs: 300 } });
  const { engine, instance } = await rig.engine({ tokens: 3000, tokenText: "x".repeat(20_000) });
  await rig.publish(modelOf([instance]));
  const client = await bareClient(rig.port);
  client.socket.pause();
  client.socket.write(
    requestText("/v1/chat/completions", JSON.stringify({ model: "chat", messages: [], stream: true })),
  );
  await eventually(() => expect(engine.busy).toBe(1));
  await rig.idle();
  await eventually(() => expect(engine.cancelled).toBe(1));
  await eventually(() => expect(rig.records.at(-1)).toMatchObject({ error: "timeout", isClientGone: true }));
});

test("a slow reader gets every byte", async () => {
  const rig = await startRig();
  const { instance } = await rig.engine({ tokens: 200, tokenText: "y".repeat(50_000) });
  await rig.publish(modelOf([instance]));
  const response = await rig.chat({ stream: true });
  let bytes = 0;
  for await (const piece of response.body ?? []) {
    bytes += piece.length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(bytes).toBeGreaterThan(200 * 50_000);
  await rig.idle();
});

test("an answer that is large and broken after it began to go out is cut, not completed", async () => {
  const rig = await rigWith((socket) => {
    socket.write(`${head}content-length: 3000000\r\n\r\n${" ".repeat(2_000_000)}`, () => socket.destroy());
  });
  const response = await rig.chat();
  await expect(response.text()).rejects.toThrow();
  await rig.idle();
});

test("an HTTP/1.0 client is never sent chunks", async () => {
  const rig = await startRig();
  const { instance } = await rig.engine({ tokens: 2 });
  await rig.publish(modelOf([instance]));
  const client = await bareClient(rig.port);
  const body = JSON.stringify({ model: "chat", messages: [], stream: true });
  client.socket.write(requestText("", body, [], "POST /v1/chat/completions HTTP/1.0"));
  const text = await client.closed();
  expect(text).not.toMatch(/transfer-encoding/i);
  expect(text.split("\r\n\r\n")[1]).toMatch(/^data: .*\n\ndata: .*\n\ndata: \[DONE\]\n\n$/);
});

test("pipelined requests are answered in order; a pipelining client that leaves frees everything", async () => {
  const rig = await startRig();
  const { engine, instance } = await rig.engine({ delayMs: 1 });
  await rig.publish(modelOf([instance]));
  const client = await bareClient(rig.port);
  client.socket.write(
    requestText("/v1/chat/completions", chatBody, ["x-request-id: one"]) +
      requestText("/v1/chat/completions", "{", ["x-request-id: two"]) +
      requestText("/v1/chat/completions", chatBody, ["x-request-id: three"]),
  );
  const text = await client.until((got) => got.match(/HTTP\/1.1/g)?.length === 3 && got.endsWith("}"));
  expect(text.match(/x-request-id: \w+/gi)?.map((line) => line.slice(14))).toEqual(["one", "two", "three"]);
  engine.fault = { kind: "hang" };
  client.socket.write(requestText("/v1/chat/completions", chatBody).repeat(3));
  // The next one is read when the one before it is answered.
  await eventually(() => expect(engine.busy).toBe(1));
  client.socket.destroy();
  await rig.idle();
  await eventually(() => expect(engine.busy).toBe(0));
});

test.each(["empty", "page"] as const)(
  "an answer that is none (%s) is an error, and its engine a suspect after three",
  async (kind) => {
    const rig = await startRig();
    const { engine, instance } = await rig.engine();
    await rig.publish(modelOf([instance]));
    engine.fault = { kind };
    for (let i = 0; i < 3; i += 1) {
      const response = await rig.chat();
      expect([response.status, await response.json()]).toMatchObject([
        502,
        { error: { code: "engine_failed" } },
      ]);
    }
    await eventually(() => expect(rig.control.loads.at(-1)?.models.d1?.suspects).toEqual([instance.id]));
    engine.fault = null;
    expect((await rig.chat()).status).toBe(200);
    await eventually(() => expect(rig.control.loads.at(-1)?.models.d1?.suspects).toBeUndefined());
  },
);

describe("a process that has stood still", () => {
  /** Nothing runs here meanwhile, as when the process is stopped by a signal. */
  const standStill = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  const event = (text: string) => {
    const line = `data: ${text}\n\n`;
    return `${line.length.toString(16)}\r\n${line}\r\n`;
  };
  const first = `${sse}transfer-encoding: chunked\r\n\r\n${event("{}")}`;
  const last = `${event("[DONE]")}0\r\n\r\n`;
  const silenceMs = 200;

  async function answerOf(goOn: (socket: Socket) => void): Promise<string> {
    let engine: Socket | null = null;
    const rig = await rigWith(
      (socket) => {
        engine = socket;
        socket.write(first);
      },
      { silenceMs },
    );
    const client = await bareClient(rig.port);
    client.socket.write(requestText("/v1/chat/completions", chatBody.replace("{", '{"stream":true,')));
    await client.until((text) => text.includes("data: {"));
    if (engine !== null) goOn(engine);
    return await client.until((text) => text.endsWith("0\r\n\r\n"));
  }

  test("reads what has come meanwhile before it calls anybody silent", async () => {
    const answer = await answerOf((engine) => {
      engine.write(last);
      standStill(2 * silenceMs);
    });
    expect(answer).toContain("[DONE]");
    expect(answer).not.toContain("error");
  });

  test("waits as long as before for what stood still with it", async () => {
    const answer = await answerOf((engine) => {
      standStill(1000 + 2 * silenceMs);
      setTimeout(() => engine.write(last), silenceMs / 4);
    });
    expect(answer).toContain("[DONE]");
    expect(answer).not.toContain("error");
  });
});
