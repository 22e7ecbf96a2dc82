import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { bareClient, modelOf, requestText, startRig } from "./test-rig.ts";

const body = JSON.stringify({ model: "chat", messages: [{ role: "user", content: "hello ".repeat(100) }] });

async function bodyRig() {
  const rig = await startRig({ limits: { bodyBytes: 100_000 } });
  const { engine, instance } = await rig.engine();
  await rig.publish(modelOf([instance]));
  return { rig, engine };
}

test("gzip is inflated, other codings and broken gzip are refused", async () => {
  const { rig, engine } = await bodyRig();
  const send = (bytes: Buffer<ArrayBuffer>, coding: string) =>
    rig.chat({}, { body: bytes, headers: { "content-encoding": coding } });
  expect((await send(gzipSync(body), "GZIP")).status).toBe(200);
  expect(engine.seen[0]?.body).toBe(body);
  expect(engine.seen[0]?.headers["content-encoding"]).toBeUndefined();
  expect((await send(Buffer.from(body), "gzip")).status).toBe(400);
  expect((await send(Buffer.from(body), "br")).status).toBe(400);
  expect((await send(Buffer.from(body), "identity")).status).toBe(200);
});

test("a body above the limit is 413: announced, chunked, or inflated; the client sees the answer", async () => {
  const { rig, engine } = await bodyRig();
  const large = JSON.stringify({ model: "chat", prompt: "x".repeat(50_000_000) });
  const chunked = new ReadableStream({
    start(controller) {
      controller.enqueue(Buffer.from(large));
      controller.close();
    },
  });
  const bombs: RequestInit[] = [
    { body: large },
    { body: chunked, duplex: "half" },
    { body: gzipSync(large), headers: { "content-encoding": "gzip" } },
  ];
  for (const init of bombs) {
    const response = await rig.chat({}, init);
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({ error: { code: "body_too_large" } });
  }
  expect(engine.seen).toEqual([]);
  expect((await rig.chat()).status).toBe(200);
});

test("a client that asks first is told to go on, or refused before it sends", async () => {
  const { rig } = await bodyRig();
  const client = await bareClient(rig.port);
  const [start = ""] = requestText("/v1/chat/completions", body, ["expect: 100-continue"]).split("\r\n\r\n");
  client.socket.write(`${start}\r\n\r\n`);
  await client.until((got) => got === "HTTP/1.1 100 Continue\r\n\r\n");
  client.socket.write(body);
  await client.until((got) => got.includes("HTTP/1.1 200 OK"));
  const refused = await bareClient(rig.port);
  refused.socket.write(`${start.replace("Bearer", "Bearer not")}\r\n\r\n`);
  expect(await refused.until((got) => got.endsWith("}"))).toMatch(
    /^HTTP\/1\.1 401 (?:.|\s)*connection: close/,
  );
});

test("a client that breaks off within its body leaves nothing behind", async () => {
  const { rig } = await bodyRig();
  const client = await bareClient(rig.port);
  client.socket.write(requestText("/v1/chat/completions", body).slice(0, -10));
  client.socket.destroy();
  await rig.idle();
  expect((await rig.chat()).status).toBe(200);
});
